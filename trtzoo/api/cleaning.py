"""Find what of trtzoo's files is damaged, stale or left over, and delete it.

Only files that trtzoo made are found: by their sidecar, by the lock that their writer left, or by the name of a work folder.
Links are never followed. What is deleted is examined once more under the artifact's lock, so that a file which another process
has just made again is kept.
"""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec
from filelock import Timeout

from trtzoo.accuracy.records import Evaluation
from trtzoo.artifacts.engines import EngineSidecar
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.builder import plan as builder
from trtzoo.core.decoding import read_file
from trtzoo.core.errors import StoreError
from trtzoo.core.files import cache_folder, has_lock, locked, read_record, sha256_file, sidecar_path, work_folders
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import EVALUATIONS, RUNS, VERDICTS, Record, Result
from trtzoo.exporter import plan as exporter
from trtzoo.hardware.devices import cpu_device
from trtzoo.hardware.gpus import FLAVOURS, identify_gpu
from trtzoo.models.download import Download
from trtzoo.models.transfer import version_path
from trtzoo.report.results import parse_result
from trtzoo.report.verdict import Verdict
from trtzoo.runtimes.registry import RUNTIMES

R = TypeVar("R", bound=Record)


class Item(Record, frozen=True, kw_only=True):
    """Files to delete together, in bytes, and why. `artifact` is the file whose lock their writers hold."""

    kind: Literal["damaged", "stale", "orphan"]
    why: str
    artifact: str
    paths: tuple[str, ...]
    bytes: int


Examiner = Callable[[], Item | None]
Made = dict[tuple[object, ...], set[str]]


class Cleaner(msgspec.Struct, frozen=True, kw_only=True):
    """The folders to clean. With `verify` every file is hashed; otherwise sizes are compared where they are known."""

    onnx: Path
    engines: Path
    results: Path
    verify: bool = False

    def find(self) -> list[tuple[Item, Examiner]]:
        """What can be deleted, each with the function that examines it again."""
        examiners = [*self._graphs(), *self._engines(), *self._results(), *self._downloads()]
        return [(item, examine) for examine in examiners if (item := examine()) and _is_free(Path(item.artifact))]

    # --- folders ---

    def _graphs(self) -> Iterator[Examiner]:
        yield from _leftovers(self.onnx)
        for path in _files(self.onnx):
            if path.suffix == ".json":
                yield partial(self._graph, path)
            elif path.suffix == ".npz" and has_lock(path.with_suffix(".onnx")):
                yield partial(_golden, path, OnnxSidecar, path.with_suffix(".onnx"))

    def _engines(self) -> Iterator[Examiner]:
        for folder in (inner for gpu in _folders(self.engines) for inner in _folders(gpu)):
            yield from _leftovers(folder)
            for path in _files(folder):
                stem = path.name.removesuffix(".layers.json").removesuffix(".kernels")
                if stem != path.name:
                    yield partial(_companion, path, folder / f"{stem}.engine")
                elif path.suffix == ".json":
                    yield partial(self._engine, path)
                elif path.suffix == ".npz" and (folder / ".locks").is_dir():
                    yield partial(_golden, path, EngineSidecar, path)
                elif path.suffix == ".engine" and has_lock(path):
                    yield partial(_without_sidecar, path)
                elif path.name.startswith("timing") and path.suffix == ".cache":
                    yield partial(_timing, path)

    def _results(self) -> Iterator[Examiner]:
        made = cache(self._made)
        for device in _folders(self.results):
            for folder in (device, device / RUNS, device / EVALUATIONS, device / VERDICTS):
                yield from _leftovers(folder)
                for path in _files(folder):
                    if path.suffix == ".json" and has_lock(path):
                        yield partial(_result, path, made)

    def _downloads(self) -> Iterator[Examiner]:
        for folder in _folders(cache_folder()):
            yield from _leftovers(folder)
            for path in _files(folder):
                if path.name.startswith(".") and path.suffix == ".partial":
                    yield partial(_part, path)
                elif path.suffix == ".json":
                    yield partial(self._download, path)

    # --- files ---

    def _graph(self, path: Path) -> Item | None:
        graph = path.with_suffix(".onnx")
        sidecar = _read(path, OnnxSidecar)
        if sidecar is None:
            return _item("damaged", "its sidecar cannot be read", graph, [path, graph]) if has_lock(graph) else None
        golden = path.with_name(sidecar.golden)
        alone = [] if _is_named(golden, OnnxSidecar, but=path) else [golden]
        ours = [graph] if sidecar.network != "" else []  # a foreign file is the user's
        if not graph.is_file():
            return _item("orphan", "a sidecar without its file", graph, [path, *alone])
        if graph.stat().st_size != sidecar.bytes or (self.verify and sha256_file(graph) != sidecar.sha256):
            return _item("damaged", "it is not the file that its sidecar describes", graph, [*ours, path, *alone])
        if not golden.is_file() or (self.verify and sha256_file(golden) != sidecar.golden_sha256):
            return _item("damaged", "its golden sample is missing or another", graph, [*ours, path, *alone])
        if ours and (reason := exporter.stale_reason(sidecar)):
            return _item("stale", reason, graph, [*ours, path, *alone])
        return None

    def _engine(self, path: Path) -> Item | None:
        engine, sidecar = path.with_suffix(".engine"), _read(path, EngineSidecar)
        beside = [engine.with_suffix(suffix) for suffix in (".layers.json", ".kernels")]
        if sidecar is None:
            why = "its sidecar cannot be read"
            return _item("damaged", why, engine, [engine, path, *beside]) if has_lock(engine) else None
        golden = path.with_name(sidecar.golden) if sidecar.golden else path
        own = [engine, path, *beside, *([] if golden == path or _is_named(golden, EngineSidecar, but=path) else [golden])]
        if not engine.is_file():
            return _item("orphan", "a sidecar without its file", engine, own)
        if engine.stat().st_size != sidecar.bytes or (self.verify and sha256_file(engine) != sidecar.sha256):
            return _item("damaged", "it is not the file that its sidecar describes", engine, own)
        if golden != path and (not golden.is_file() or (self.verify and sha256_file(golden) != sidecar.golden_sha256)):
            return _item("damaged", "its golden sample is missing or another", engine, own)
        if reason := self._outdated(sidecar):
            return _item("stale", reason, engine, own)
        return None

    def _outdated(self, sidecar: EngineSidecar) -> str:
        """Why an intact engine would be built again; empty if it would not."""
        flavour = FLAVOURS.get(sidecar.flavour)
        installed = _version(flavour.module) if flavour else ""
        if flavour and installed and installed != sidecar.version:
            return f"built by {flavour.title} {sidecar.version}; {installed} is installed"
        graph = _read(sidecar_path(self.onnx / sidecar.onnx.name), OnnxSidecar)
        if graph and graph.sha256 != sidecar.onnx.sha256:
            return f"built from an earlier {sidecar.onnx.name}"
        return "" if builder.is_current(sidecar) else "built by other code"

    def _made(self) -> Made:
        """The hashes of the files here, by what they are."""
        made = defaultdict[tuple[object, ...], set[str]](set)
        for path in _files(self.onnx):
            if path.suffix == ".json" and (graph := _read(path, OnnxSidecar)):
                made["graph", graph.identity.row, graph.identity.tag, graph.precision].add(graph.sha256)
        for path in (path for gpu in _folders(self.engines) for inner in _folders(gpu) for path in _files(inner)):
            if path.suffix == ".json" and (engine := _read(path, EngineSidecar)) and engine.identity:
                kind = (engine.flavour, engine.gpu, engine.batch)
                made[kind, engine.identity.row, engine.identity.tag, engine.precision].add(engine.sha256)
        return made

    def _download(self, path: Path) -> Item | None:
        """A download is damaged if its file has another hash than its sidecar says; its own name is that of the address."""
        known = _read(path, Download)
        if known is None:
            return None
        target = path.with_name(Path(urlsplit(known.url).path).name)
        if sidecar_path(target) != path or not has_lock(target):
            return None
        if not target.is_file():
            return _item("orphan", "a sidecar without its file", target, [path])
        if self.verify and sha256_file(target) != known.sha256:
            return _item("damaged", "it is not the file that was downloaded", target, [target, path])
        return None


def _result(path: Path, made: Callable[[], Made]) -> Item | None:
    try:
        found = _record(path)
    except StoreError:
        return _item("damaged", "it cannot be read as a result", path, [path])
    first = path.with_name(f"{path.stem.rpartition('.')[0]}.json")
    if path.parent.name == RUNS and not (path.parent.parent / first.name).is_file():
        return _item("orphan", "a further run without its first", path, [path])
    known = made().get(_key(found), set())
    if known and found.artifact_sha256 and found.artifact_sha256 not in known:
        return _item("stale", "of a file that was made again since", path, [path])
    return None


def delete(item: Item, examine: Examiner) -> str:
    """Delete an item's files if they are still what was found. Returns why not, if so."""
    try:
        with locked(Path(item.artifact), timeout=0):
            now = examine()
            if now is None or now.why != item.why or not set(item.paths) <= set(now.paths):
                return "it has changed since"
            for path in map(Path, item.paths):  # a sidecar last: what is left of a half-deleted file is found again
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
    except Timeout:
        return "another process uses it"
    except OSError as error:
        return f"it cannot be deleted: {error.strerror}"
    return ""


# --- what is left over ---


def _leftovers(folder: Path) -> Iterator[Examiner]:
    for work, artifact in work_folders(folder):
        if has_lock(artifact):
            yield partial(_work, work, artifact)


def _work(path: Path, artifact: Path) -> Item | None:
    return _item("orphan", "the work folder of a process that was killed", artifact, [path]) if path.is_dir() else None


def _golden(path: Path, kind: type[OnnxSidecar | EngineSidecar], artifact: Path) -> Item | None:
    return None if _is_named(path, kind) else _item("orphan", "a golden sample of no file", artifact, [path])


def _companion(path: Path, engine: Path) -> Item | None:
    if engine.exists() or not (has_lock(engine) or has_lock(path)):
        return None
    return _item("orphan", f"it belongs to {engine.name}, which is missing", engine, [path])


def _without_sidecar(engine: Path) -> Item | None:
    if sidecar_path(engine).exists():
        return None
    beside = [engine.with_suffix(suffix) for suffix in (".layers.json", ".kernels")]
    return _item("orphan", "an engine without its sidecar, which nothing opens", engine, [engine, *beside])


def _timing(path: Path) -> Item | None:
    if any(path.parent.glob("*.engine")):
        return None
    return _item("orphan", "a timing cache without engines", path, [path])


def _part(path: Path) -> Item | None:
    target = path.with_name(path.name[1:].removesuffix(".partial"))
    return _item("orphan", "a part of an interrupted download", target, [path, version_path(path)]) if path.is_file() else None


# --- files and records ---


def _item(kind: Literal["damaged", "stale", "orphan"], why: str, artifact: Path, paths: Iterable[Path]) -> Item | None:
    """An item of those of the files that exist, sidecars last; None if there is none."""
    here = sorted((path for path in dict.fromkeys(paths) if os.path.lexists(path)), key=lambda path: path.suffix == ".json")
    if not here or any(path.is_symlink() for path in here):
        return None
    inner = [each for path in here for each in ([path] if path.is_file() else path.rglob("*"))]
    size = sum(path.lstat().st_size for path in inner)
    return Item(kind=kind, why=why, artifact=str(artifact), paths=tuple(map(str, here)), bytes=size)


def _files(folder: Path) -> list[Path]:
    """The regular files of a folder; no links."""
    with suppress(OSError):
        return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False))
    return []


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder; no links, and none that is hidden."""
    with suppress(OSError):
        entries = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
        return sorted(Path(entry) for entry in entries if not entry.name.startswith("."))
    return []


def _read(path: Path, kind: type[R]) -> R | None:
    try:
        return read_record(path, kind)
    except (OSError, StoreError):
        return None


def _is_named(golden: Path, kind: type[OnnxSidecar | EngineSidecar], *, but: Path | None = None) -> bool:
    """Whether a sidecar beside a golden sample, other than `but`, names it."""
    beside = [path for path in _files(golden.parent) if path.suffix == ".json" and path != but]
    return any(sidecar.golden == golden.name for path in beside if (sidecar := _read(path, kind)))


def _record(path: Path) -> Result | Evaluation | Verdict:
    """Raises StoreError for a file that is none of them."""
    try:
        if path.parent.name == EVALUATIONS:
            return read_record(path, Evaluation)
        if path.parent.name == VERDICTS:
            return read_record(path, Verdict)
    except OSError as error:
        raise StoreError(str(error)) from error
    return parse_result(partial(read_file, path), source=str(path))


def _key(found: Result | Evaluation | Verdict) -> tuple[object, ...]:
    """What a result is of, as in `_made`: a graph on this processor, or an engine for its GPU; else nothing that is here."""
    about, subject = (found if isinstance(found, Evaluation) else found.case), found.subject
    runtime = RUNTIMES.get(about.runtime)
    gpu = identify_gpu(found.device.name, found.device.sm) if found.device.kind == "gpu" else None
    graph = PRECISIONS[about.precision].graph if about.precision in PRECISIONS else about.precision
    if runtime and runtime.reads == "engine" and gpu:
        return (about.runtime, gpu.name, about.batch), subject.row, subject.tag, about.precision
    here = found.device.key == cpu_device().key
    return ("graph" if here else "elsewhere"), subject.row, subject.tag, graph


def _is_free(artifact: Path) -> bool:
    """Whether no process is writing it."""
    if not has_lock(artifact):
        return True
    try:
        with locked(artifact, timeout=0):
            return True
    except (OSError, Timeout):
        return False


@cache
def _version(module: str) -> str:
    """The installed version of TensorRT; empty if there is none."""
    for name in (module, *(f"{module}-cu{release}".replace("_", "-") for release in (13, 12, 11))):
        with suppress(PackageNotFoundError):
            return version(name)
    return ""
