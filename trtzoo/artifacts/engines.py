"""The engine store: where an engine lies, whether it is up to date, and what must hold before it is opened. A plan is code."""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Literal

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import StoreError
from trtzoo.core.files import decode, encode, sha256_file, sidecar_path
from trtzoo.core.records import SCHEMA, Record, Weights
from trtzoo.hardware.gpus import FLAVOURS, GPUS, Gpu


class Stamp(Record, frozen=True, kw_only=True):
    """A file as it was when it was hashed: the same size and time of change (ns) spare hashing it again."""

    name: str
    sha256: str
    bytes: int
    modified: int


class TensorSpec(Record, frozen=True, kw_only=True):
    """An input or output of an engine; `dtype` in TensorRT's words."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class OptimizationProfile(Record, frozen=True, kw_only=True):
    """The shapes of an input that an engine was optimised for."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class LayerTypes(Record, frozen=True, kw_only=True):
    """How many layers give which floating type; `compute` counts convolutions and matrix products alone.

    `source`: "inspector" where the plan was opened and asked, else "network", the parsed and strongly typed graph.
    """

    source: Literal["inspector", "network"]
    types: dict[str, int]
    compute: dict[str, int]

    def share(self, dtype: str) -> float:
        """The part of all layers that gives `dtype`, 0 to 1."""
        return self.types.get(dtype, 0) / max(sum(self.types.values()), 1)


class EngineSidecar(Record, frozen=True, kw_only=True):
    """What stands beside an engine: all that made it, what proves its precision, and what it may be opened by."""

    schema: int = SCHEMA
    kind: Literal["engine"] = "engine"
    model: str
    precision: str
    batch: int
    gpu: str
    sm: int
    flavour: str
    version: str
    flags: dict[str, bool | int]
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


class Recipe(Record, frozen=True, kw_only=True):
    """All that decides an engine. An engine is up to date while its recipe's hash is the one in its sidecar."""

    onnx_sha256: str
    precision: str
    tf32: bool
    batch: int
    gpu: str
    sm: int
    flavour: str
    version: str
    workspace: int
    detailed: bool
    code: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(encode(self)).hexdigest()


@cache
def builder_code() -> str:
    """A hash of the code that drives TensorRT: a change of it makes every engine out of date."""
    return sha256_file(Path(__file__).parent.parent / "builder" / "tensorrt_worker.py")


def engine_folder(root: Path, gpu: Gpu, flavour: str, version: str) -> Path:
    return root / gpu.name / f"{flavour}-{version}"


def build_command(engine: Path, sidecar: EngineSidecar | None = None, *, options: str = "") -> str:
    """What makes this engine, by its name: `trtzoo build densenet121 --precision fp16 --batch 1`."""
    named = re.fullmatch(r"(.+)-([a-z0-9]+)-b(\d+)", engine.stem)
    if named is None:
        return "trtzoo build"
    subject = f"--onnx {sidecar.onnx.name}" if sidecar and sidecar.weights is None else named[1]
    return f"trtzoo build {subject} --precision {named[2]} --batch {named[3]}{options}"


def stamp_file(path: Path, known: Stamp | None = None) -> Stamp:
    """A file's hash; `known` is believed while size and time of change are its own. Raises StoreError for an unreadable one."""
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
    """An ONNX file and what its sidecar tells. Raises StoreError for a file that is not the one its sidecar describes."""
    if not onnx.is_file():
        named = re.fullmatch(r"(.+)-(fp32|fp16)", onnx.stem)
        remedy = f" Run: trtzoo export {named[1]} --precision {named[2]}" if named else ""
        raise StoreError(f"There is no {onnx}.{remedy}")
    found = stamp_file(onnx, known)
    path = sidecar_path(onnx)
    if not path.is_file():
        return found, None
    sidecar = decode(path.read_bytes(), OnnxSidecar, where=str(path))
    if sidecar.sha256 != found.sha256:
        remedy = f"trtzoo export {sidecar.model} --precision {sidecar.precision} --force"
        raise StoreError(f"{onnx} is not the file that {path.name} describes: it was changed or truncated. Run: {remedy}")
    return found, sidecar


def read_sidecar_unchecked(engine: Path) -> EngineSidecar | None:
    """The sidecar of an engine as it stands, unchecked; None where there is none that can be read."""
    try:
        return decode(sidecar_path(engine).read_bytes(), EngineSidecar, where="")
    except (OSError, StoreError):
        return None


def is_intact(engine: Path, sidecar: EngineSidecar) -> bool:
    """Whether the engine is the file that its sidecar describes: by size and time of change, else by hash."""
    try:
        status = engine.stat()
        if status.st_size != sidecar.bytes:
            return False
        return status.st_mtime_ns == sidecar.modified or sha256_file(engine) == sidecar.sha256
    except OSError:
        return False


def load_plan(engine: Path, *, flavour: str, version: str, sm: int, device: str) -> tuple[bytes, EngineSidecar]:
    """The plan's bytes, fit to be opened by this flavour and version on this GPU (`device` is its name).

    Raises StoreError that names the mismatch and the command that mends it: no sidecar, changed since, or another flavour,
    version or compute capability.
    """
    path = sidecar_path(engine)
    if not engine.is_file():
        raise StoreError(f"There is no {engine}. Run: {build_command(engine)}")
    if not path.is_file():
        raise StoreError(
            f"{engine} has no sidecar, so nobody knows what is in it; it is not opened. Run: {build_command(engine)}"
        )
    sidecar = decode(path.read_bytes(), EngineSidecar, where=str(path))
    plan = engine.read_bytes()
    if hashlib.sha256(plan).hexdigest() != sidecar.sha256:
        remedy = build_command(engine, sidecar, options=f"{_gpu(sidecar)} --force")
        raise StoreError(f"{engine} was changed since it was built, or truncated; it is not opened. Run: {remedy}")
    built = f"{engine} was built by {flavour_title(sidecar.flavour)} {sidecar.version} for SM{sidecar.sm} ({sidecar.gpu})"
    if sidecar.sm != sm:
        raise StoreError(f"{built}; this GPU is SM{sm} ({device}). Run: {build_command(engine, sidecar)}")
    if (sidecar.flavour, sidecar.version) != (flavour, version):
        remedy = build_command(engine, sidecar, options=f"{_gpu(sidecar)} --flavour {flavour}")
        raise StoreError(f"{built}; here is {flavour_title(flavour)} {version}. Run: {remedy}")
    return plan, sidecar


def flavour_title(flavour: str) -> str:
    return FLAVOURS[flavour].title if flavour in FLAVOURS else flavour


def _gpu(sidecar: EngineSidecar) -> str:
    return f" --gpu {sidecar.gpu}" if sidecar.gpu in GPUS else ""


def estimate_bytes(onnx_bytes: int) -> int:
    """About what an engine takes: the weights and the kernels, which are 5 to 23 MB in the ten networks."""
    return onnx_bytes + 20_000_000
