"""Adoption of the user's ONNX files, in a process of its own, and where the adopted copies are.

A damaged file may crash ONNX's libraries, which then end that process only.
"""

from pathlib import Path

import msgspec

from trtzoo.artifacts.foreign import ForeignFile
from trtzoo.artifacts.graphs import AdoptionOrder, OnnxSidecar
from trtzoo.core.records import Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.exporter.plan import ExportResult, exported


class Request(msgspec.Struct):
    """What the worker's `adopt` takes; paths are texts on the way."""

    file: ForeignFile
    orders: list[AdoptionOrder]
    folder: Path
    force: bool


class Outcome(Record, frozen=True, kw_only=True):
    """An ExportResult without its order and path."""

    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: OnnxSidecar | None = None
    note: str = ""
    error: str = ""


def adopt(file: ForeignFile, orders: list[AdoptionOrder], folder: Path, *, force: bool = False) -> list[ExportResult]:
    """The results of one file's orders; one that fails has an error, and if the process dies, those that are left."""
    request = msgspec.to_builtins(Request(file, orders, folder, force), enc_hook=str)
    found: list[Outcome] = []
    command = module_command("trtzoo.exporter.adoption_worker")
    try:
        run_child(command, request, answer=int, progress=Outcome, on_progress=found.append, name="the process that read it")
    except ChildError as error:
        left = orders[len(found) :]
        found += [Outcome(error=f"{file.path} cannot be read: {error}") for _ in left]
    return [
        ExportResult(order=order, path=folder / order.file_name, **msgspec.structs.asdict(outcome))
        for order, outcome in zip(orders, found, strict=True)
    ]


def find_adopted(folder: Path, sha256: str, graph: str, *, name: str | None = None) -> tuple[Path, OnnxSidecar] | None:
    """The intact copy of the user's file with this hash, in types `graph`, under this name, or whatever it was given."""
    for path in sorted(folder.glob(f"*-{sha256[:8]}-{graph}.onnx")):
        sidecar = exported(path)
        if sidecar and sidecar.identity.is_foreign and sidecar.weights.sha256 == sha256 and name in (None, sidecar.model):
            return path, sidecar
    return None


def facts(sidecar: OnnxSidecar) -> list[str]:
    """What a user should know of an adopted file, in phrases."""
    return [f"reference: {sidecar.reference}", *sidecar.rewrites]
