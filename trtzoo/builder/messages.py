"""What a builder's process and its parent say to each other."""

from trtzoo.artifacts.engines import LayerTypes, Tensor
from trtzoo.core.records import Record

GRACE = 3.0
"""Seconds that a cancelled build has to end by itself."""


class BuildJob(Record, frozen=True, kw_only=True):
    """One engine. `graph` is the ONNX file's floating type; `workspace` bytes; `opens`: the target GPU is in this machine.

    `visible` is CUDA_VISIBLE_DEVICES for the build, where it is not empty.
    """

    onnx: str
    engine: str
    module: str
    sm: int
    graph: str
    tf32: bool
    batch: int
    workspace: int
    detailed: bool
    opens: bool
    visible: str = ""
    timing_cache: str = ""


class BuildProgress(Record, frozen=True, kw_only=True, tag=True):
    """How far a build is: `done` from 0 to 1."""

    phase: str
    done: float


class Finished(Record, frozen=True, kw_only=True, tag=True):
    """A plan that is written: its hash, and what TensorRT says it holds. Seconds and bytes."""

    sha256: str
    version: str
    flags: dict[str, bool | int]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    layers: LayerTypes
    seconds: float
    peak_memory: int


class Failed(Record, frozen=True, kw_only=True, tag=True):
    """Why there is no plan."""

    reason: str


Message = BuildProgress | Finished | Failed
