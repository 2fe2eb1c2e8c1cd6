"""Stage 1: model + weights + precision → a checked ONNX file, its golden sample and its sidecar.

No framework is imported here: an export that is up to date costs two hashes.
"""

import hashlib
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import msgspec

from trtzoo.artifacts.graphs import ExportOrder, OnnxSidecar
from trtzoo.core.errors import StoreError, TrtzooError
from trtzoo.core.files import read_sidecar, replacing, sha256_file
from trtzoo.core.modules import resolve
from trtzoo.core.records import Record
from trtzoo.models.sources import Checkpoint
from trtzoo.models.table import Model

PACKAGES = ("trtzoo", "torch", "onnx", "numpy")
"""Packages that decide an export's bytes."""
CODE = ("exporter", "artifacts/golden.py", "core/precisions.py", "models")
"""Our own files that decide an export's bytes: a change of theirs makes every export out of date."""


class ExportResult(Record, frozen=True, kw_only=True):
    """How one order went."""

    order: ExportOrder
    path: Path
    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: OnnxSidecar | None = None
    error: str = ""


def export(
    model: Model, checkpoint: Checkpoint, orders: list[ExportOrder], folder: Path, *, force: bool = False
) -> Iterator[ExportResult]:
    """Make the orders, all of one model, one after another; a failed one stops nothing. Nothing half-written is left.

    An order whose inputs have not changed is not made again unless `force`.
    """
    source = resolve("trtzoo.exporter.make:ModelExporter")(model, checkpoint)
    for order in orders:
        path, start = folder / order.file_name, time.perf_counter()
        try:
            with replacing(path) as work:
                inputs = inputs_sha256(order, checkpoint)
                done = None if force else _up_to_date(path, inputs)
                sidecar = done or source.make(order, work / path.name, inputs=inputs, packages=PACKAGES)
            seconds = time.perf_counter() - start
            yield ExportResult(order=order, path=path, seconds=seconds, up_to_date=done is not None, sidecar=sidecar)
        except TrtzooError as error:
            yield ExportResult(order=order, path=path, seconds=time.perf_counter() - start, error=str(error))


def inputs_sha256(order: ExportOrder, checkpoint: Checkpoint) -> str:
    """A hash of all that decides an export: the order, the weights, our own code and the packages' versions."""
    package = Path(__file__).parent.parent
    code = hashlib.sha256()
    for name in CODE:
        for path in sorted((package / name).rglob("*.py")) or [package / name]:
            code.update(path.read_bytes())
    weights = checkpoint.source if checkpoint.path is None else sha256_file(checkpoint.path)
    versions = [version(name) for name in PACKAGES]
    inputs = [msgspec.to_builtins(order), weights, checkpoint.source, bool(checkpoint.fallback), code.hexdigest(), versions]
    return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()


def _up_to_date(path: Path, inputs: str) -> OnnxSidecar | None:
    try:
        sidecar = read_sidecar(path, OnnxSidecar, remedy="")
        whole = sha256_file(path.with_name(sidecar.golden)) == sidecar.golden_sha256
    except (StoreError, OSError):
        return None
    return sidecar if whole and sidecar.inputs_sha256 == inputs else None
