"""Runs one build in a child process and explains its failure."""

import threading
from collections.abc import Callable, Sequence

from trtzoo.builder.messages import GRACE, BuildJob, BuildOutput, BuildProgress
from trtzoo.core.errors import BuildError
from trtzoo.core.subprocesses import ChildError, module_command, run_child

COMMAND = module_command("trtzoo.builder.tensorrt_worker")


def run_build(
    job: BuildJob,
    *,
    stop: threading.Event,
    timeout: float,
    on_progress: Callable[[BuildProgress], None],
    command: Sequence[str] = COMMAND,
) -> BuildOutput:
    """Build one engine; `timeout` in seconds. Raises BuildError with the child's own reason, or with how the child ended."""
    try:
        return run_child(
            list(command),
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
