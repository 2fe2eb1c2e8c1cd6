"""The command line as a process in trouble: started, killed, waited for, and what it leaves.

A process is forked from a server that has the command line loaded, so it starts at once; what it starts itself is new.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile.campaigns import HANG
from tests.hostile.inject import trouble as injected

INJECT = Path(injected.__file__).parent
REPOSITORY = INJECT.parents[2]
PRELOADED = ("pytest", "trtzoo.cli.commands", "tests.hostile.inject.trouble")
LOAD = 4
"""A busy machine may be this many times slower than when the campaign's first run was timed."""
ORPHANS = 10
"""Seconds that children may take to notice that their parent was killed."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(list(PRELOADED))


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code (negative: a signal), output, messages and seconds."""

    words: tuple[str, ...]
    code: int | None
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        head = f"trtzoo {' '.join(self.words)} ended with {self.code} after {self.seconds:.1f} s"
        return "\n".join((head, self.out[-500:], self.err[-3000:]))


class Started:
    """A command that runs in `folder`, in a session of its own; its output goes beside the folder."""

    def __init__(
        self,
        folder: Path,
        *words: object,
        trouble: dict[str, Any] | None = None,
        call: Callable[[], None] | None = None,
        **environment: str,
    ) -> None:
        self.words = tuple(map(str, words))
        self.start = time.monotonic()
        self.files = [folder.with_name(f"{folder.name}-{self.start}.{name}") for name in ("out", "err")]
        variables = os.environ | trtzoo_environment(trouble or {}, environment)
        arguments = (self.words, str(folder), [str(path) for path in self.files], trouble or {}, call, variables)
        self.process = context.Process(target=main, args=arguments)
        self.process.start()
        self.pid = self.process.pid or 0

    def kill(self, *, group: bool = False) -> None:
        """Kill the process, or all of its session."""
        while group and self.process.is_alive() and not self.own_group():
            time.sleep(0.001)
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, signal.SIGKILL)

    def own_group(self) -> bool:
        with suppress(ProcessLookupError):
            return os.getpgid(self.pid) == self.pid
        return True

    def wait(self, usual: float = HANG) -> Ended:
        """Wait for its end. Raises TimeoutError after 30 s more than a slow machine takes for what usually takes `usual`."""
        self.process.join(HANG + LOAD * usual)
        if self.process.is_alive():
            self.kill(group=True)
            self.process.join()
            raise TimeoutError(f"no end in time: {self.words} {self.files[1].read_text(errors='replace')[-2000:]}")
        out, err = (path.read_text(errors="replace") if path.exists() else "" for path in self.files)
        for path in self.files:
            path.unlink(missing_ok=True)
        ended = Ended(self.words, self.process.exitcode, out, err, time.monotonic() - self.start)
        assert "Traceback" not in err + out, str(ended)
        return ended

    def orphans(self) -> list[int]:
        """The processes of its session that live on `ORPHANS` seconds after its end, which are killed then."""
        deadline = time.monotonic() + ORPHANS
        while (found := list(session(self.pid))) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found


def session(leader: int) -> Iterator[int]:
    """The living processes of a session."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, _, found, *_ = path.read_text().rpartition(")")[2].split()
            if int(found) == leader and state != "Z":
                yield int(path.parent.name)


def main(
    words: tuple[str, ...],
    folder: str,
    files: list[str],
    trouble: dict[str, Any],
    call: Callable[[], None] | None,
    environment: dict[str, str],
) -> None:
    """What the forked process does: the command line, or `call`."""
    os.setsid()
    for number, path in enumerate(files, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.modules["__main__"] = types.ModuleType("__main__")  # what it starts need not import pytest
    sys.argv = ["trtzoo", *words]
    for name, value in trouble.get("limits", {}).items():
        import resource

        resource.setrlimit(getattr(resource, name), (value, value))
    injected.install(trouble, "parent")
    from trtzoo.cli import main as trtzoo

    (call or trtzoo)()


def trtzoo_environment(trouble: dict[str, Any], environment: dict[str, str]) -> dict[str, str]:
    """The variables of a command in trouble, which its Python children find."""
    path = os.pathsep.join([str(INJECT), str(REPOSITORY)])
    return {"PYTHONPATH": path, "TROUBLE": json.dumps(trouble) if trouble else "", "OMP_WAIT_POLICY": "PASSIVE"} | environment


def run(folder: Path, *words: object, usual: float = HANG, **how: Any) -> Ended:
    """A command's end, after which none of its children lives; `how` is Started's."""
    started = Started(folder, *words, **how)
    ended = started.wait(usual)
    assert not started.orphans(), str(ended)
    return ended
