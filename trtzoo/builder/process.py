"""One child process that builds one engine: started, listened to, cancelled, and its death explained."""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import IO

import msgspec

from trtzoo.builder.messages import GRACE, BuildJob, BuildProgress, Failed, Finished, Message
from trtzoo.core.errors import BuildError
from trtzoo.core.subprocesses import exit_failure

COMMAND = (sys.executable, "-m", "trtzoo.builder.tensorrt_worker")


def run(
    job: BuildJob,
    *,
    stop: threading.Event,
    timeout: float,
    watch: Callable[[str, float], None],
    command: tuple[str, ...] = COMMAND,
) -> Finished:
    """Build one engine in a child process. Raises BuildError with the child's reason, or with how the child died."""
    with tempfile.TemporaryFile() as talk:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=talk)
        late = threading.Event()
        guard = threading.Thread(target=_guard, args=(child, stop, late, timeout), daemon=True)
        try:
            guard.start()
            answer = _listen(child, job, watch)
        finally:
            _hang_up(child)
            guard.join()
        if isinstance(answer, Finished):
            return answer
        if stop.is_set():
            raise BuildError("cancelled")
        if late.is_set():
            raise BuildError(f"the build was given up after {timeout:g} s. Allow more with --timeout")
        raise BuildError(answer.reason if answer else _death(child.returncode, talk))


def _listen(child: subprocess.Popen[bytes], job: BuildJob, watch: Callable[[str, float], None]) -> Finished | Failed | None:
    """Give the job and follow the child to its last word; None when it dies without one. Its stdin stays open."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(msgspec.json.encode(job) + b"\n")
        child.stdin.flush()
    except (OSError, ValueError):  # it is gone, or was cancelled before it had its job
        return None
    for line in child.stdout:
        try:
            message: Message = msgspec.json.decode(line, type=Message)
        except msgspec.MsgspecError:
            return None  # cut short: the child died in the middle of it
        if not isinstance(message, BuildProgress):
            return message
        watch(message.phase, message.done)
    return None


def _guard(child: subprocess.Popen[bytes], stop: threading.Event, late: threading.Event, timeout: float) -> None:
    """Cancel the child when told to or when it is late; end it when it does not listen."""
    deadline = time.monotonic() + timeout
    while child.poll() is None:
        if time.monotonic() > deadline:
            late.set()
        if stop.wait(0.05) or late.is_set():
            _hang_up(child)
            return


def _hang_up(child: subprocess.Popen[bytes]) -> None:
    """Close the child's stdin, which cancels a build that still runs, and wait for its end."""
    assert child.stdin is not None
    with suppress(OSError):  # it may be gone already
        child.stdin.close()
    try:
        child.wait(timeout=GRACE + 2)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _death(code: int, talk: IO[bytes]) -> str:
    """How a child ended that had no last word."""
    talk.seek(0)
    failure = exit_failure(code, talk.read()[-4000:].decode(errors="replace"), name="the builder's process")
    return failure.reason + (". Try --jobs 1" if failure.kind == "memory" else "")
