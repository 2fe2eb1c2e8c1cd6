"""The user's own ONNX files: adopted by `export`, or by the command that first uses one."""

import os
from collections.abc import Callable
from pathlib import Path
from shlex import quote

from trtzoo.api.selection import Files
from trtzoo.artifacts.engines import read_source
from trtzoo.artifacts.foreign import ForeignFile, read_foreign
from trtzoo.artifacts.graphs import AdoptionOrder, OnnxSidecar
from trtzoo.core.console import log
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Preprocessing
from trtzoo.exporter.adoption import adopt, facts, find_adopted
from trtzoo.exporter.plan import ExportResult
from trtzoo.models.preprocessing import DEFAULT, find_preprocessing, preprocessing_title


def open_foreign(path: Path) -> ForeignFile:
    """A raw file of the user. Raises StoreError if it is none, or no classifier that trtzoo takes."""
    if not path.is_file():
        raise StoreError(f"There is no {path}.")
    stamp, sidecar = read_source(path, None)
    if sidecar:
        raise UsageError(f"{path} is trtzoo's own export already, as {sidecar.precision}: use it as it is.")
    return read_foreign(path, stamp.sha256)


def adoption_orders(
    file: ForeignFile, graphs: list[str], *, io: str | None = None, name: str | None = None, how: Preprocessing | None = None
) -> list[AdoptionOrder]:
    """An order for each type of `graphs`. Raises UsageError for a conversion that trtzoo does not make."""
    narrow = [graph for graph in graphs if graph in ("fp16", "bf16") and file.precision == "fp32"]  # graphs that trtzoo makes
    if io and io != file.identity.io and "fp16" not in narrow:
        raise UsageError(f"--io {io} is for FP16 graphs that trtzoo makes; {file.path} keeps its types.")
    orders = []
    for graph in graphs:
        if graph != file.precision and graph not in narrow:
            raise UsageError(f"{file.path} is {file.precision}: it cannot be used as {graph}.")
        converted = graph != file.precision
        orders.append(
            AdoptionOrder(
                source=file.path,
                identity=file.identity,
                precision=graph,
                io=(io if io and graph == "fp16" else "fp32") if converted else file.identity.io,
                preprocessing=how or find_preprocessing(DEFAULT, file.identity.height, file.identity.width),
                name=name or file.identity.model,
            )
        )
    return orders


def adopted(file: ForeignFile, precision: str, folder: Path, *, name: str | None = None) -> tuple[Path, OnnxSidecar]:
    """The file's copy in `folder` with this precision's types, made on first use. Raises StoreError if it cannot be made."""
    graph = PRECISIONS[precision].graph
    (order,) = adoption_orders(file, [graph], name=name)
    if found := find_adopted(folder, file.identity.sha256, graph, name=name):
        return found
    (result,) = adopt(file, [order], folder)
    if result.sidecar is None:
        raise StoreError(f"{file.path} cannot be used: {result.error}")
    how = preprocessing_title(result.sidecar.weights.preprocessing)
    told = "; ".join([*facts(result.sidecar), f"preprocessing: {how}"])
    log.info("Adopted %s as %s (%s).", file.path, result.path, told)
    return result.path, result.sidecar


def converted(path: Path, sidecar: OnnxSidecar, precision: str, folder: Path) -> tuple[Path, OnnxSidecar]:
    """An adopted file with another precision's types: from the user's file, if it is still what it was.

    Raises UsageError for a file that cannot be converted.
    """
    graph = PRECISIONS[precision].graph
    if found := find_adopted(folder, sidecar.weights.sha256, graph):
        return found
    source = Path(sidecar.checkpoint)
    if not sidecar.identity.is_foreign or not sidecar.checkpoint or not source.is_file():
        raise UsageError(f"{path} is {sidecar.precision}: it cannot be used as {precision}.")
    file = open_foreign(source)
    if file.identity.sha256 != sidecar.weights.sha256:
        raise UsageError(
            f"{path} is {sidecar.precision}, and {source}, of which it was made, has changed. "
            f"Run: trtzoo export --onnx {quote(str(source))} --precision {graph}"
        )
    return adopted(file, precision, folder)


def export_files(
    onnx: Files,
    graphs: list[str],
    folder: Path,
    *,
    unused: list[str],
    io: str | None,
    name: str | None,
    preprocessing: str | None,
    force: bool,
    on_result: Callable[[ExportResult], None] | None,
) -> list[ExportResult]:
    """Adopt files one after the other, as `export` does; `unused` are options that were given and say nothing here.

    Raises UsageError and StoreError before anything is made.
    """
    if unused:
        raise UsageError(f"{', '.join(unused)} cannot be combined with --onnx: the file decides it.")
    files = [open_foreign(Path(path)) for path in ([onnx] if isinstance(onnx, str | os.PathLike) else onnx)]
    if name and len(files) > 1:
        raise UsageError(f"--name is for one file, and these are {len(files)}.")
    wanted = []
    for file in files:
        how = preprocessing and find_preprocessing(preprocessing, file.identity.height, file.identity.width)
        wanted.append(adoption_orders(file, graphs or [file.precision], io=io, name=name, how=how or None))
    records = []
    for file, orders in zip(files, wanted, strict=True):
        for record in adopt(file, orders, folder, force=force):
            records.append(record)
            if on_result:
                on_result(record)
    return records
