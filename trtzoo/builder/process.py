"""A build's child process: the messages between it and its parent, and why it failed."""

import threading
from collections.abc import Callable

from trtzoo.artifacts.engines import LayerTypes, Recipe, TensorSpec
from trtzoo.core.errors import BuildError
from trtzoo.core.records import Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child

COMMAND = module_command("trtzoo.builder.tensorrt_worker")
GRACE = 3.0
"""Seconds that a cancelled build has to stop."""


class BuildJob(Record, frozen=True, kw_only=True):
    """The request: build `recipe` from the file `onnx` into the file `engine`.

    `visible` is the build's CUDA_VISIBLE_DEVICES, or empty if the target GPU is not in this machine.
    """

    recipe: Recipe
    onnx: str
    engine: str
    visible: str = ""
    timing_cache: str = ""


class BuildProgress(Record, frozen=True, kw_only=True):
    """The phase of a build, and the fraction of the build that is done, from 0 to 1."""

    phase: str
    done: float


class BuildOutput(Record, frozen=True, kw_only=True):
    """The answer: the engine's hash and what TensorRT reports about it, as in EngineSidecar."""

    sha256: str
    version: str
    flags: dict[str, bool | int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: LayerTypes
    build_seconds: float
    peak_memory: int


def run_build(
    job: BuildJob,
    *,
    stop: threading.Event,
    timeout: float,
    on_progress: Callable[[BuildProgress], None],
    command: list[str] = COMMAND,
) -> BuildOutput:
    """Build one engine; `timeout` in seconds. Raises BuildError with the child's own reason, or with how the child ended."""
    try:
        return run_child(
            command,
            job,
            answer=BuildOutput,
            progress=BuildProgress,
            on_progress=on_progress,
            timeout=timeout,
            stop=stop,
            grace=GRACE,
            name="the builder's process",
        )
    except ChildError as error:
        reasons = {
            "memory": f"{error}. Try --jobs 1",
            "timeout": f"the build timed out after {timeout:g} s. Allow more with --timeout",
        }
        raise BuildError(reasons.get(error.failure.kind, str(error))) from error
