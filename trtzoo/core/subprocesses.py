"""Child processes of trtzoo: one request, JSON messages back, and an end that is always explained.

The parent writes one line of JSON to the child's stdin and keeps stdin open. The child writes lines of JSON to stdout: any
number of progress messages, then one answer or one error. When stdin closes, the child stops, so it never outlives its
parent; where the system can, it kills a child that a library keeps from noticing. stderr holds the reason if the child dies.
"""

import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, TypeVar

import msgspec

from trtzoo.core.errors import TrtzooError
from trtzoo.core.records import Failure
from trtzoo.core.system import die_with_parent

A = TypeVar("A")
Report = Callable[[Any], None]
LONGEST_REASON = 10_000  # characters; some libraries' errors have pages


class ChildError(Exception):
    """The child gave no answer. `failure.kind` is error, crash, signal, memory, timeout or cancelled."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.failure = Failure(kind=kind, reason=reason[:LONGEST_REASON])


class _Message(msgspec.Struct):
    """One line from the child; `content` is a progress message, the answer, or the error's text."""

    kind: Literal["progress", "answer", "error"]
    content: msgspec.Raw


def module_command(module: str, *arguments: str) -> list[str]:
    """The command that runs one of our modules."""
    return [sys.executable, "-m", module, *arguments]


def run_child(
    command: list[str],
    request: object,
    *,
    answer: type[A],
    progress: Any = None,
    on_progress: Report = lambda message: None,
    timeout: float | None = None,
    stop: threading.Event | None = None,
    grace: float = 0.0,
    name: str = "the process",
) -> A:
    """Run a child to its answer and return it; `on_progress` receives each message, decoded as `progress`.

    `timeout` is in seconds; `stop` cancels the child from another thread. A child has `grace` seconds to stop. Raises
    ChildError if it reports an error, dies, is late or is cancelled.
    """
    why, ended, found = "", threading.Event(), None

    def guard() -> None:
        """End the child when it is late or cancelled. Without `stop` nothing is polled: a measurement must not be disturbed."""
        nonlocal why
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while not why and not ended.wait(timeout if stop is None else 0.05):
            if stop is not None and stop.is_set():
                why = "cancelled"
            elif time.monotonic() >= deadline:
                why = "timeout"
        if why:
            end_child(child, grace)

    with tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        assert child.stdin is not None and child.stdout is not None
        watcher = threading.Thread(target=guard, daemon=True)
        try:
            watcher.start()
            with suppress(OSError, ValueError):  # it is dead, or was cancelled before it got its request
                child.stdin.write(msgspec.json.encode(request) + b"\n")
                child.stdin.flush()
            for line in child.stdout:
                with suppress(msgspec.MsgspecError):  # cut short: the child died while writing
                    found = msgspec.json.decode(line, type=_Message)
                if found is None or found.kind != "progress":
                    break
                on_progress(msgspec.json.decode(found.content, type=progress))
                found = None
        finally:
            ended.set()
            end_child(child, grace)
            watcher.join()
            child.stdout.close()
        if found and found.kind == "answer":
            try:
                return msgspec.json.decode(found.content, type=answer)
            except msgspec.ValidationError as error:
                raise ChildError("error", f"{name} answered what cannot be: {error}") from error
        if why:
            raise ChildError(why, f"no result after {timeout:g} s" if why == "timeout" else why)
        if found:
            raise ChildError("error", msgspec.json.decode(found.content, type=str))
        errors.seek(max(0, errors.seek(0, os.SEEK_END) - 4000))  # its last line is enough
        raise _exit_error(child.returncode, errors.read().decode(errors="replace"), name)


def run_tool(command: list[str], **options: Any) -> Any:
    """What subprocess.run returns for a program that is not ours. On Linux it dies with this process."""
    if sys.platform == "linux":
        options["preexec_fn"] = die_with_parent
    return subprocess.run(command, check=False, **options)


def end_child(child: subprocess.Popen[bytes], grace: float = 0.0) -> None:
    """Close the child's stdin, which stops it, and wait for its end; kill it two seconds after its `grace`.

    A process that hangs in the kernel, on a lost GPU for example, survives even that: its `returncode` is None.
    """
    assert child.stdin is not None
    with suppress(OSError):  # it may be dead already
        child.stdin.close()
    try:
        child.wait(timeout=grace + 2)
    except subprocess.TimeoutExpired:
        child.kill()
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=2)


def _exit_error(code: int | None, stderr: str, name: str) -> ChildError:
    """Why a child ended without an answer, from its exit status (negative: a signal) and its stderr."""
    if code == -signal.SIGKILL:
        return ChildError("memory", f"{name} was killed, most likely because the machine ran out of memory")
    (last,) = stderr.strip().splitlines()[-1:] or ["it printed nothing"]
    if code and code < 0:
        return ChildError("signal", f"{name} died of {signal.Signals(-code).name}: {last}")
    return ChildError("crash", f"{name} ended with status {code}: {last}")


def serve(request: Any, handle: Callable[[Any, Report, threading.Event], object], *, grace: float = 0.0) -> None:
    """The main function of a child: read one request of type `request` and send what `handle` returns as the answer.

    `handle(request, report, stopped)` may `report` progress. A TrtzooError becomes the error; any other exception ends the
    process with its traceback. When stdin closes, `stopped` is set and the process ends `grace` seconds later. Output of
    libraries goes to stderr; stdout carries messages only.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent closes stdin
    messages = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    received = msgspec.json.decode(sys.stdin.buffer.readline(), type=request)
    stopped = end_with_parent(grace)

    def send(kind: Literal["progress", "answer", "error"], content: object) -> None:
        message = _Message(kind, msgspec.Raw(msgspec.json.encode(content)))
        try:
            messages.write(msgspec.json.encode(message) + b"\n")
        except OSError:  # the parent is gone
            stopped.set()

    try:
        send("answer", handle(received, lambda progress: send("progress", progress), stopped))
    except TrtzooError as error:
        send("error", str(error))
    os._exit(0)  # the answer is out; a library's tear-down adds nothing


def end_with_parent(grace: float) -> threading.Event:
    """Set the event that is returned when stdin closes, and end this process `grace` seconds later.

    If the parent dies, Linux ends this process at once.
    """
    die_with_parent()
    stopped = threading.Event()

    def watch() -> None:
        while os.read(0, 1 << 16):  # not sys.stdin, whose lock would hang the interpreter's end
            pass
        stopped.set()
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return stopped
