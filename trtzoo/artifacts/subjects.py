"""What is measured or evaluated: a graph or engine by its path, what its sidecar tells, and the golden sample it must give."""

from pathlib import Path

import msgspec

from trtzoo.artifacts.engines import build_command, read_sidecar_unchecked
from trtzoo.artifacts.golden import Golden, load
from trtzoo.artifacts.graphs import Batch, OnnxSidecar
from trtzoo.core.errors import StoreError
from trtzoo.core.files import read_sidecar, sha256_file
from trtzoo.core.records import Weights


class Subject(msgspec.Struct, frozen=True):
    """`batch` is the only one it takes, or "dynamic"; images are (batch, 3, size, size), logits (batch, classes)."""

    path: Path
    model: str
    precision: str
    batch: Batch
    size: int
    classes: int
    io: str
    sha256: str
    weights: Weights | None
    golden: Golden


def open_subject(path: Path, *, remedy: str) -> Subject:
    """Raises StoreError for a file without a sidecar, a graph that is not its sidecar's, and a golden sample of another file.

    `remedy` is the command that makes a graph. An engine's own hash is checked when the session opens it.
    """
    if path.suffix == ".engine":
        return _engine(path)
    graph = read_sidecar(path, OnnxSidecar, remedy=remedy)
    return Subject(
        path=path,
        model=graph.model,
        precision=graph.precision,
        batch=graph.batch,
        size=graph.size,
        classes=graph.classes,
        io=graph.io,
        sha256=graph.sha256,
        weights=graph.weights,
        golden=_golden(path.with_name(graph.golden), graph.golden_sha256),
    )


def _engine(path: Path) -> Subject:
    engine = read_sidecar_unchecked(path)
    if engine is None:
        raise StoreError(f"There is no {path} with a sidecar. Run: {build_command(path)}")
    images, logits = engine.inputs[0], engine.outputs[0]
    return Subject(
        path=path,
        model=engine.model,
        precision=engine.precision,
        batch=engine.batch,
        size=images.shape[-1],
        classes=logits.shape[-1],
        io="fp16" if images.dtype == "HALF" else "fp32",
        sha256=engine.sha256,
        weights=engine.weights,
        golden=_golden(path.with_name(engine.golden), engine.golden_sha256),
    )


def _golden(path: Path, sha256: str) -> Golden:
    if not path.is_file() or sha256_file(path) != sha256:
        raise StoreError(
            f"{path} is not the golden sample that was made with this file. Bring it along, or export and build again."
        )
    return load(path)
