"""Which files a command works on: models' exported graphs or the user's files, and the engines that were built of them."""

import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from msgspec.structs import replace

from trtzoo.accuracy.records import DEFAULT_BATCH
from trtzoo.api.adopting import adopted, converted
from trtzoo.api.selection import Files, Names, engines_folder, select_models, select_precisions
from trtzoo.artifacts import engines
from trtzoo.artifacts.foreign import read_foreign
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.subjects import Candidate
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.precisions import PRECISIONS, precision_of
from trtzoo.core.records import Device, Identity, Record
from trtzoo.models.table import Model, find_model
from trtzoo.runtimes.registry import Runtime

FORMS = r"(-b\d+)?(-io16)?(-opset\d+)?(-c\d+)?(-s\d+)?"  # the settings in the name of an exported file


class Source(Record, frozen=True, kw_only=True):
    """What is built or measured: an ONNX file, or an engine, and what it computes; `precision` is the one asked for.

    The file may not exist. `batch` is the only batch size of an engine; `subject` names the file's network in commands: a
    model, or "--onnx FILE"; `kind` is a graph's, in GRAPHS. `given` is the file that the user named, if `path` is its copy.
    """

    path: Path
    identity: Identity
    precision: str
    subject: str
    batch: int | None = None
    kind: str = ""
    given: Path | None = None

    @property
    def remedy(self) -> str:
        """The command that makes the file."""
        if self.path.suffix == ".engine":
            return f"trtzoo build {self.subject} --precision {self.precision} --batch {self.batch}"
        return f"trtzoo export {self.subject} --precision {precision_of(PRECISIONS[self.precision].graph)}"


def find_graph(folder: Path, model: str, precision: str) -> Path:
    """The model's exported graph: the usual file, or the only one of another form. `precision` is its kind, in GRAPHS.

    Raises UsageError for several of other forms.
    """
    usual = folder / f"{model}-{precision}.onnx"
    pattern = rf"{re.escape(usual.stem)}{FORMS}"
    others = [path for path in folder.glob(f"{glob.escape(usual.stem)}-*.onnx") if re.fullmatch(pattern, path.stem)]
    if usual.exists() or not others:
        return usual
    if len(others) > 1:
        raise UsageError(
            f"{folder} has several exports of {model}: {', '.join(sorted(path.name for path in others))}. Choose: --onnx FILE"
        )
    return others[0]


def model_sources(
    models: Iterable[str], precisions: list[str] | None, folder: Path, *, for_engines: bool = False
) -> list[Source]:
    """The graphs of models, model by model, at these precisions, or at FP32 and a file's own; exported ones may not exist.

    `for_engines` selects those that TensorRT takes.

    Raises UsageError for the export of another network than the zoo's, and as `file_sources` does for a file of the zoo.
    """
    found = []
    for row in map(find_model, models):
        if row.file:
            found += _named(row.file, precisions, folder, name=row.name)
        else:
            found += [_exported(row, precision, folder, for_engines=for_engines) for precision in precisions or ["fp32"]]
    return found


def _exported(model: Model, precision: str, folder: Path, *, for_engines: bool) -> Source:
    kind = PRECISIONS[precision].graphs[-1 if for_engines else 0]
    path = find_graph(folder, model.stem, kind)
    identity = Identity(model=model.stem, network=model.network)
    if sidecar_path(path).is_file():
        identity = read_record(sidecar_path(path), OnnxSidecar).identity
    if identity.network != model.network:
        raise UsageError(
            f"{path} is {identity.network or 'a file from elsewhere'}, and this zoo's {model.name} is {model.network}. "
            f"Use another --onnx-dir, or run: trtzoo export {model.name} --force"
        )
    return Source(path=path, identity=identity, precision=precision, subject=model.name, kind=kind)


def file_sources(files: Iterable[Path], precisions: list[str] | None, folder: Path) -> list[Source]:
    """The files that the user names, at these precisions or their own; `folder` has the copies of those that are adopted.

    Raises StoreError or UsageError for an unusable one.
    """
    return [source for path in dict.fromkeys(files) for source in _named(path, precisions, folder)]


def _named(path: Path, precisions: list[str] | None, folder: Path, *, name: str | None = None) -> list[Source]:
    """The file at these precisions; one that is adopted is called `name`, or as the file."""
    if not path.is_file():
        raise StoreError(f"There is no {path}.")
    if path.suffix == ".engine":
        engine = engines.read_sidecar_unchecked(path)
        if engine is None:
            raise StoreError(f"{path} has no readable sidecar, so its content is unknown. Run: {engines.build_command(path)}")
        if precisions and precisions != [engine.precision]:
            raise UsageError(f"{path} is {engine.precision}: leave out --precision.")
        identity = engine.identity or Identity(model=engine.model, network=engine.model, weights=engine.weights)
        subject = f"--onnx {quote(engine.onnx.name)}"
        return [Source(path=path, identity=identity, precision=engine.precision, batch=engine.batch, subject=subject)]
    stamp, sidecar = engines.read_source(path, None)
    file = read_foreign(path, stamp.sha256) if sidecar is None else None
    found = []
    for precision in precisions or [precision_of((sidecar or file).precision)]:  # type: ignore[union-attr] # it is one of the two
        graph, facts = path, sidecar
        if file:
            graph, facts = adopted(file, precision, folder, name=name)
        elif sidecar and sidecar.precision not in PRECISIONS[precision].graphs:
            graph, facts = converted(path, sidecar, precision, path.parent)
        assert facts is not None
        subject = f"--onnx {quote(str(path))}"
        found.append(
            Source(path=graph, identity=facts.identity, precision=precision, subject=subject, kind=facts.precision, given=path)
        )
    return found


def pairs(sources: Iterable[Source], batches: list[int] | None, usual: Iterable[int]) -> list[tuple[Source, int]]:
    """Each source with each batch size; None means the file's own, or the `usual` ones where it takes any.

    Raises UsageError for a size that a file does not take.
    """
    found = []
    for source in sources:
        fixed = source.batch or (None if source.identity.batch == "dynamic" else source.identity.batch)
        if fixed and batches and batches != [fixed]:
            raise UsageError(f"{source.given or source.path} takes batches of {fixed} only. Say --batch {fixed}.")
        found += [(source, size) for size in batches or ([fixed] if fixed else usual)]
    return found


def select_sources(
    models: Names | None, onnx: Files | None, precision: Names | None, folder: Path, *, for_engines: bool = False
) -> tuple[list[Source], list[str]]:
    """The sources of models (None: all), or of the files `onnx`, and their precisions; None means fp32, or a file's own.

    `for_engines` if engines will be built of them. Raises UsageError for both models and files, and StoreError for a file that
    cannot be used.
    """
    given = None if precision is None else select_precisions(precision)
    if onnx is None:
        sources = model_sources(select_models(models), given, folder, for_engines=for_engines)
    elif models is not None:
        raise UsageError("Give either model names or --onnx FILE, not both.")
    else:
        files = [onnx] if isinstance(onnx, str | os.PathLike) else onnx
        sources = file_sources(map(Path, files), given, folder)
    for source in sources if for_engines else ():
        check_kind(source, for_engines=True)
    return sources, list(dict.fromkeys(source.precision for source in sources))


def check_kind(source: Source, *, for_engines: bool) -> None:
    """Raise UsageError for a quantized graph that is for processors where TensorRT takes it, or the other way round.

    A user's own file is for both: what TensorRT does not take of it is its builder's to say.
    """
    if source.identity.is_foreign:
        return
    graphs = PRECISIONS[source.precision].graphs
    wanted = graphs[-1 if for_engines else 0]
    if source.kind and source.kind in graphs and source.kind != wanted:
        place = "TensorRT" if for_engines else "processors"
        raise UsageError(f"{source.path} is {source.kind}, which is not for {place}: take the export that is {wanted}.")


class ArtifactPaths(Record, frozen=True, kw_only=True):
    """The files that a runtime runs on a device: graphs, or the engines in the folder `engines`, None if it runs graphs."""

    device: Device
    runtime: Runtime
    engines: Path | None

    @classmethod
    def find(cls, device: Device, runtime: Runtime, engines_root: Path) -> "ArtifactPaths":
        """Raises MachineError if the runtime runs engines and its TensorRT cannot be loaded."""
        folder = engines_folder(engines_root, device, runtime) if runtime.reads == "engine" else None
        return cls(device=device, runtime=runtime, engines=folder)

    def artifact(self, source: Source, batch: int) -> Source:
        """The file that the runtime runs: the source's graph, or the engine that was built of it. It may not exist.

        Raises UsageError for an engine where graphs are run.
        """
        self.check(source)
        if source.path.suffix == ".engine":
            if self.engines is None:
                raise UsageError(
                    f"{source.path} is an engine, and {self.runtime.name} on {self.device.name} runs exported graphs. "
                    "Give its graph."
                )
            return source
        if self.engines is None:
            check_kind(source, for_engines=False)
            return source
        engine = self.engines / engines.engine_name(source.identity, source.precision, batch)
        identity = source.identity
        if not source.path.is_file() and (built := engines.read_sidecar_unchecked(engine)):
            identity = built.identity or identity  # the engine came here without its graph
        return replace(source, path=engine, identity=identity, batch=batch)

    def check(self, source: Source) -> None:
        """Raise UsageError for PyTorch on a network that it has not: of an ONNX file it does not know the modules."""
        if self.runtime.module == "torch" and source.identity.is_foreign:
            raise UsageError(
                f"{self.runtime.name} runs networks of trtzoo's own, and {source.given or source.path} is of another program. "
                "Use --runtime onnxruntime or openvino"
            )

    def candidate(self, source: Source, batch: int | None) -> Candidate:
        """The file to evaluate or compare, and the runtime's options. `batch` None means the file's, or a usual one."""
        options: dict[str, bool | int] = {"device": self.device.index} if self.device.kind == "gpu" else {}
        if self.engines is None and self.device.kind == "gpu":
            options["tf32"] = PRECISIONS[source.precision].tf32
        self.check(source)
        fixed = source.identity.batch if source.identity.batch != "dynamic" else DEFAULT_BATCH
        file = source
        if self.engines is not None or source.path.suffix == ".engine":
            file = self.artifact(source, batch or source.batch or fixed)
        return Candidate(
            artifact=str(file.path),
            model=source.identity.model,
            precision=source.precision,
            runtime=self.runtime.name,
            device=self.device,
            batch=batch,
            options=options,
            remedy=file.remedy,
            graph=str(source.path),
        )


def require_some(files: list[Source]) -> None:
    """Raise StoreError, with the command that makes them, if none of the files exists."""
    missing = list(dict.fromkeys(file.path for file in files))
    if not missing or any(path.is_file() for path in missing):
        return
    subjects = list(dict.fromkeys(file.subject for file in files))
    wanted = subjects if len(subjects) < 4 else ["--all"]
    engines_missing = missing[0].suffix == ".engine"
    kinds = [file.precision if engines_missing else PRECISIONS[file.precision].graph for file in files]
    words = ["trtzoo", "build" if engines_missing else "export", *wanted, "--precision", ",".join(dict.fromkeys(kinds))]
    if engines_missing:
        words += ["--batch", ",".join(dict.fromkeys(str(file.batch) for file in files))]
    what = f"{missing[0]} and {len(missing) - 1} more do" if len(missing) > 1 else f"{missing[0]} does"
    made = "built" if engines_missing else "exported"
    raise StoreError(f"Nothing is {made}: {what} not exist. Run: {' '.join(words)}")
