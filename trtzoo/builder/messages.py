"""The messages between a build's child process and its parent."""

from trtzoo.artifacts.engines import LayerTypes, Recipe, TensorSpec
from trtzoo.core.records import Record

GRACE = 3.0
"""Seconds that a cancelled build has to stop."""


class BuildJob(Record, frozen=True, kw_only=True):
    """The request: build `recipe` from the file `onnx` into the file `engine`.

    `opens` says whether the target GPU is in this machine. `visible` is the build's CUDA_VISIBLE_DEVICES, unless empty.
    """

    recipe: Recipe
    onnx: str
    engine: str
    opens: bool
    visible: str = ""
    timing_cache: str = ""


class BuildProgress(Record, frozen=True, kw_only=True):
    """The phase of a build, and the fraction of the build that is done, from 0 to 1."""

    phase: str
    done: float


class BuildOutput(Record, frozen=True, kw_only=True):
    """The answer: the engine's hash and what TensorRT reports about it; `seconds`, and `peak_memory` in bytes."""

    sha256: str
    version: str
    flags: dict[str, bool | int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: LayerTypes
    seconds: float
    peak_memory: int
