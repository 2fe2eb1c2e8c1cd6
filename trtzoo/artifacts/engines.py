"""Engines on disk: their folder, their sidecar, and the checks before one is opened. A TensorRT plan is executable code."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any, Literal

import msgspec

from trtzoo.artifacts.graphs import OnnxSidecar, is_sidecar
from trtzoo.core.errors import StoreError
from trtzoo.core.files import encode, read_record, sha256_file, sidecar_path
from trtzoo.core.precisions import GRAPHS, precision_of
from trtzoo.core.records import MAX_BATCH, SCHEMA, Identity, Record, Weights, are_not_negative, check, is_plain
from trtzoo.hardware.gpus import FLAVOURS, GPUS, Gpu, card_title


class Stamp(Record, frozen=True, kw_only=True):
    """A file when it was hashed. The hash stays valid while size (bytes) and modification time (ns) are unchanged."""

    name: str
    sha256: str
    bytes: int
    modified: int

    def __post_init__(self) -> None:
        check(self, name=is_plain(self.name), **are_not_negative(self, "bytes", "modified"))


class TensorSpec(Record, frozen=True, kw_only=True):
    """An input or output of an engine. `dtype` is TensorRT's name of the type, such as "HALF"."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def is_known(self) -> bool:
        """Whether its last side is known, and the others are possible; -1 is one that varies."""
        return all(-1 <= side < 1 << 31 for side in self.shape) and self.shape[-1:] > (0,)


class OptimizationProfile(Record, frozen=True, kw_only=True):
    """The input shapes that an engine was optimised for."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class LayerTypes(Record, frozen=True, kw_only=True):
    """The number of layers by floating-point output type. `compute` counts only convolutions and matrix products.

    `source` is "inspector" if the types come from the finished engine, "network" if they come from the typed graph.
    """

    source: Literal["inspector", "network"]
    types: dict[str, int]
    compute: dict[str, int]

    def __post_init__(self) -> None:
        check(self, **{name: all(count >= 0 for count in getattr(self, name).values()) for name in ("types", "compute")})

    def share(self, dtype: str) -> float:
        """The fraction of layers whose output is `dtype`, 0 to 1."""
        return self.types.get(dtype, 0) / max(sum(self.types.values()), 1)


class EngineSidecar(Record, frozen=True, kw_only=True):
    """The JSON file beside an engine: its inputs, its precision by layer, and the software and GPU that can open it.

    `card` is the GPU whose kernels were timed (`card_title`), empty if none was: TensorRT-RTX builds for all of an SM.
    `options` are the builder's, as in builder/options.py; empty for TensorRT's own.
    `peak_memory` and `bytes` are in bytes, `modified` in nanoseconds.
    """

    schema: int = SCHEMA
    kind: Literal["engine"] = "engine"
    model: str
    identity: Identity | None = None
    precision: str
    batch: int
    gpu: str
    sm: int
    card: str = ""
    flavour: str
    version: str
    flags: dict[str, bool | int]
    options: dict[str, int] = msgspec.field(default_factory=dict)
    onnx: Stamp
    weights: Weights | None
    golden: str
    golden_sha256: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    profile: dict[str, OptimizationProfile]
    layers: LayerTypes
    build_seconds: float
    peak_memory: int
    host: str
    driver: str
    inputs_sha256: str
    sha256: str
    bytes: int
    modified: int
    versions: dict[str, str]

    def __post_init__(self) -> None:
        names = {name: is_plain(getattr(self, name)) for name in ("model", "precision", "gpu", "flavour", "version")}
        tensors = {name: any(each.is_known for each in getattr(self, name)[:1]) for name in ("inputs", "outputs")}
        amounts = are_not_negative(self, "sm", "build_seconds", "peak_memory", "bytes", "modified")
        golden = not self.golden or is_plain(self.golden)
        check(self, golden=golden, batch=0 < self.batch <= MAX_BATCH, **names, **tensors, **amounts)

    @property
    def size(self) -> int:
        """Height of an image in pixels."""
        return self.inputs[0].shape[-2]

    @property
    def classes(self) -> int:
        return self.outputs[0].shape[-1]

    @property
    def io(self) -> str:
        """The type of input and output, by our names."""
        return "fp16" if self.inputs[0].dtype == "HALF" else "fp32"


class Recipe(Record, frozen=True, kw_only=True):
    """Everything that determines an engine. An engine is up to date if its sidecar has the hash of its recipe."""

    onnx_sha256: str
    precision: str
    tf32: bool
    batch: int
    gpu: str
    sm: int
    card: str
    flavour: str
    version: str
    workspace: int
    detailed: bool
    options: dict[str, int]
    code: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(encode(self)).hexdigest()


def engine_name(identity: Identity, precision: str, batch: int) -> str:
    """The file name of an engine: two networks, or two forms of one, never share it."""
    what = (identity.shape, identity.sha256[:8]) if identity.is_foreign else (identity.form,)
    parts = (identity.model, *what, precision, f"b{batch}")
    return "-".join(filter(None, parts)) + ".engine"


def engine_folder(root: Path, gpu: Gpu, flavour: str, version: str) -> Path:
    """The folder of the engines that one TensorRT version built for one GPU."""
    return root / gpu.name / f"{flavour}-{version}"


def switch(option: str) -> str:
    """A builder option on the command line: "--opt-level"."""
    return f"--{option.replace('_', '-')}"


def options_text(options: Mapping[str, int]) -> str:
    """Builder options as on the command line: "--opt-level 5 --tiling 2"; empty if there are none."""
    return " ".join(f"{switch(name)} {value}" for name, value in options.items())


def layers_path(engine: Path) -> Path:
    """The file with the engine inspector's JSON, which `trtzoo build --dump-layers` writes."""
    return engine.with_suffix(".layers.json")


def build_command(engine: Path, sidecar: EngineSidecar | None = None, *, options: str = "") -> str:
    """The command that builds an engine, from its file name: `trtzoo build densenet121 --precision fp16 --batch 1`."""
    name = re.fullmatch(r"(.+?)(?:-c\d+)?(?:-s\d+(?:x\d+)?)?(?:-io16)?(?:-fixed)?-([a-z0-9]+)-b(\d+)", engine.stem)
    if name is None:
        return "trtzoo build"
    about = sidecar.identity if sidecar else None
    own_name = sidecar and (sidecar.weights is None or (about and about.model != about.network))
    subject = f"--onnx {quote(sidecar.onnx.name)}" if sidecar and own_name else quote(name[1])
    return f"trtzoo build {subject} --precision {name[2]} --batch {name[3]}{options}"


def stamp_file(path: Path, known: Stamp | None = None) -> Stamp:
    """Hash a file, unless its size and modification time are those of `known`. Raises StoreError if it cannot be read."""
    try:
        status = path.stat()
        if known and (known.bytes, known.modified) == (status.st_size, status.st_mtime_ns):
            return known
        digest = _sha256(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    return Stamp(name=path.name, sha256=digest, bytes=status.st_size, modified=status.st_mtime_ns)


@cache
def _sha256(path: Path, size: int, modified: int) -> str:
    return sha256_file(path)


def read_source(onnx: Path, known: Stamp | None) -> tuple[Stamp, OnnxSidecar | None]:
    """The stamp of an ONNX file, and its sidecar if it has one; `known` saves hashing, as in `stamp_file`.

    The stamp's hash includes the files with external data that the ONNX file names. Raises StoreError if a file is missing, if
    external data is not in the ONNX file's folder, or if the file differs from the one that its sidecar describes.
    """
    if not onnx.is_file():
        name = re.fullmatch(rf"(.+?)-({'|'.join(sorted(GRAPHS, key=len, reverse=True))})", onnx.stem)
        remedy = f" Run: trtzoo export {quote(name[1])} --precision {precision_of(name[2])}" if name else ""
        raise StoreError(f"There is no {onnx}.{remedy}")
    path = sidecar_path(onnx)
    if not is_sidecar(path):
        external = [f"{name} {sha256_file(onnx.parent / name)}" for name in external_data(onnx)]
        stamp = stamp_file(onnx, None if external else known)
        if external:
            digest = hashlib.sha256("\n".join([stamp.sha256, *external]).encode()).hexdigest()
            stamp = msgspec.structs.replace(stamp, sha256=digest)
        return stamp, None
    stamp = stamp_file(onnx, known)
    sidecar = read_record(path, OnnxSidecar)
    if sidecar.sha256 != stamp.sha256:
        remedy = f"trtzoo export {quote(sidecar.model)} --precision {precision_of(quote(sidecar.precision))} --force"
        raise StoreError(f"{onnx} is not the file that {path.name} describes: it was changed or truncated. Run: {remedy}")
    return stamp, sidecar


def external_data(path: Path) -> list[str]:
    """The names of the files with external data of an ONNX file; empty also if the file cannot be parsed.

    Raises StoreError if one is missing or outside the ONNX file's folder.
    """
    import onnx

    try:
        graph = onnx.load(path, load_external_data=False).graph
    except Exception:  # the builder, which parses it too, says what is wrong
        return []
    found = (entry.value for tensor in _tensors(graph) for entry in tensor.external_data if entry.key == "location")
    names = {os.fsdecode(name) for name in found}  # Protobuf gives bytes for what is not UTF-8
    for name in names:
        outside = Path(name).is_absolute() or ".." in Path(name).parts
        if outside or not (path.parent / name).is_file():
            raise StoreError(f"{path} has external data in {name!r}, which is not a file in its folder.")
    return sorted(names)


def _tensors(graph: Any) -> Iterator[Any]:
    """The tensors of a graph and of the graphs in its nodes' attributes."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)


def read_sidecar_unchecked(engine: Path) -> EngineSidecar | None:
    """The sidecar of an engine, without a look at the engine; None if it is missing or damaged."""
    try:
        return read_record(sidecar_path(engine), EngineSidecar)
    except (OSError, StoreError):
        return None


def is_intact(engine: Path, sidecar: EngineSidecar) -> bool:
    """Whether the engine is the file that its sidecar describes, by size and modification time or else by hash."""
    known = Stamp(name=engine.name, sha256=sidecar.sha256, bytes=sidecar.bytes, modified=sidecar.modified)
    try:
        found = stamp_file(engine, known)
    except StoreError:
        return False
    return (found.bytes, found.sha256) == (sidecar.bytes, sidecar.sha256)


def has_golden(engine: Path, sidecar: EngineSidecar) -> bool:
    """Whether the golden sample beside the engine is the one that its sidecar names; an engine may have none."""
    golden = engine.parent / sidecar.golden
    return not sidecar.golden or (golden.is_file() and sha256_file(golden) == sidecar.golden_sha256)


def load_plan(engine: Path, *, flavour: str, version: str, sm: int, device: str, memory: int) -> tuple[bytes, EngineSidecar]:
    """Read an engine's plan, if this flavour and version of TensorRT can open it on this GPU, named `device`; memory in bytes.

    Raises StoreError, with the command that helps, if the sidecar is missing, if the engine was changed after it was built,
    or if it was built for another compute capability, on another card, or by another flavour or version.
    """
    path = sidecar_path(engine)
    if not engine.is_file():
        raise StoreError(f"There is no {engine}. Run: {build_command(engine)}")
    if not path.is_file():
        raise StoreError(f"{engine} has no sidecar, so its content is unknown. It was not opened. Run: {build_command(engine)}")
    sidecar = read_record(path, EngineSidecar)
    gpu = f" --gpu {sidecar.gpu}" if sidecar.gpu in GPUS else ""
    plan = engine.read_bytes()
    if hashlib.sha256(plan).hexdigest() != sidecar.sha256:
        remedy = build_command(engine, sidecar, options=f"{gpu} --force")
        raise StoreError(f"{engine} was changed since it was built, or truncated. It was not opened. Run: {remedy}")
    built_by = FLAVOURS[sidecar.flavour].title if sidecar.flavour in FLAVOURS else sidecar.flavour
    built = f"{engine} was built by {built_by} {sidecar.version} for SM{sidecar.sm} ({sidecar.gpu})"
    if sidecar.sm != sm:
        raise StoreError(f"{built}; this GPU is SM{sm} ({device}). Run: {build_command(engine, sidecar)}")
    if sidecar.card and sidecar.card != (here := card_title(device, memory)):
        raise StoreError(
            f"{engine} was built on {sidecar.card}; this GPU is {here}. TensorRT timed its kernels on that card. "
            f"Run: {build_command(engine, sidecar)}"
        )
    if (sidecar.flavour, sidecar.version) != (flavour, version):
        remedy = build_command(engine, sidecar, options=f"{gpu} --flavour {flavour}")
        raise StoreError(f"{built}; this machine has {FLAVOURS[flavour].title} {version}. Run: {remedy}")
    return plan, sidecar
