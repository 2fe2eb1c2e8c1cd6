"""Stage 1: model + weights + precision → a checked ONNX file, its golden sample and its sidecar.

No framework is imported here: an export that is up to date costs two hashes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from trtzoo import golden
from trtzoo.errors import StoreError, TrtzooError
from trtzoo.models.sources import Checkpoint
from trtzoo.precision import PRECISIONS
from trtzoo.runtimes import RUNTIMES
from trtzoo.spec import Batch, GoldenCheck, Model, OnnxSidecar, Record, Weights, resolve
from trtzoo.store import encode, read_sidecar, replacing, sha256_file, sidecar_path

PACKAGES = ("trtzoo", "torch", "onnx", "numpy")
CODE = ("graph.py", "onnxfile.py", "golden.py", "export.py", "precision.py", "models")
"""Packages and files of ours that decide an export's bytes: a change of theirs makes every export out of date."""


class Order(Record, frozen=True, kw_only=True):
    """One file to be made."""

    model: str
    precision: str
    io: str = "fp32"
    batch: Batch = "dynamic"
    opset: int = 17
    classes: int = 1000
    size: int = 224

    @property
    def file_name(self) -> str:
        """The model and precision, and whatever else is not the default."""
        extras = {
            f"b{self.batch}": self.batch != "dynamic",
            "io16": self.io == "fp16",
            f"opset{self.opset}": self.opset != 17,
            f"c{self.classes}": self.classes != 1000,
            f"s{self.size}": self.size != 224,
        }
        return "-".join([self.model, self.precision, *(text for text, said in extras.items() if said)]) + ".onnx"


class Exported(Record, frozen=True, kw_only=True):
    """How one order went."""

    order: Order
    path: Path
    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: OnnxSidecar | None = None
    error: str = ""


def export(
    model: Model, checkpoint: Checkpoint, orders: list[Order], folder: Path, *, force: bool = False
) -> Iterator[Exported]:
    """Make the orders, all of one model, one after another; a failed one stops nothing. Nothing half-written is left.

    An order whose inputs have not changed is not made again unless `force`.
    """
    source = _Source(model, checkpoint)
    for order in orders:
        path, start = folder / order.file_name, time.perf_counter()
        try:
            with replacing(path) as work:
                inputs = inputs_sha256(order, checkpoint)
                done = None if force else _up_to_date(path, inputs)
                sidecar = done or _make(order, source, work / path.name, inputs)
            seconds = time.perf_counter() - start
            yield Exported(order=order, path=path, seconds=seconds, up_to_date=done is not None, sidecar=sidecar)
        except TrtzooError as error:
            yield Exported(order=order, path=path, seconds=time.perf_counter() - start, error=str(error))


def inputs_sha256(order: Order, checkpoint: Checkpoint) -> str:
    """A hash of all that decides an export: the order, the weights, our own code and the packages' versions."""
    package = Path(__file__).parent
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


class _Source:
    """A model's network and golden samples, each made when first asked for and shared by all precisions."""

    def __init__(self, model: Model, checkpoint: Checkpoint) -> None:
        self.model, self.checkpoint = model, checkpoint
        self.network = cache(self._network)
        self.golden = cache(self._golden)

    def _network(self, classes: int) -> tuple[Any, Weights]:
        loaded: tuple[Any, Weights] = resolve("trtzoo.models.weights:load")(self.model, self.checkpoint, classes=classes)
        return loaded

    def _golden(self, classes: int, size: int) -> golden.Golden:
        images = golden.images(size)
        network, _ = self.network(classes)
        return golden.Golden(images, resolve("trtzoo.models.reference:logits")(network, images))


def _make(order: Order, source: _Source, path: Path, inputs: str) -> OnnxSidecar:
    """Write the graph, its golden sample and its sidecar into `path`'s folder, and prove the graph before the sidecar."""
    network, weights = source.network(order.classes)
    precision = PRECISIONS[order.precision]
    digest = resolve("trtzoo.graph:write")(
        path,
        network,
        name=order.model,
        precision=precision.graph,
        io=order.io,
        size=order.size,
        batch=None if order.batch == "dynamic" else order.batch,
        opset=order.opset,
    )
    sample = source.golden(order.classes, order.size)
    sample_path = path.with_suffix(".npz")
    sample.save(sample_path)
    check, runtime = _prove(order, path, sample, precision.tolerance)
    sidecar = OnnxSidecar(
        model=order.model,
        precision=order.precision,
        io=order.io,
        batch=order.batch,
        opset=order.opset,
        classes=order.classes,
        size=order.size,
        weights=weights,
        inputs_sha256=inputs,
        sha256=digest,
        bytes=path.stat().st_size,
        golden=sample_path.name,
        golden_sha256=sha256_file(sample_path),
        check=check,
        versions={name: version(name) for name in PACKAGES} | runtime,
    )
    sidecar_path(path).write_bytes(encode(sidecar))
    return sidecar


def _prove(order: Order, path: Path, sample: golden.Golden, tolerance: float) -> tuple[GoldenCheck, dict[str, str]]:
    """ONNX Runtime's logits against the float64 reference's."""
    batch = golden.IMAGES if order.batch == "dynamic" else order.batch
    session = resolve(RUNTIMES["onnxruntime"].opener)(path, batch=batch)
    try:
        images, reference = sample.batch(batch)
        return golden.compare(session.infer(images), reference, tolerance=tolerance), session.versions
    finally:
        session.close()
