"""Runs the command line in children forked from one process that has imported the frameworks.

Importing PyTorch takes seconds, and the tests run the command line hundreds of times. A forked child is a process of its own:
its arguments, folder, variables, files, signals and exit code are as a shell's. `python -m tests.forkserver` is the server:
each line of its input is a call, and each line of its output the answer, both in JSON.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMPORTED = ("trtzoo.cli.commands", "numpy", "onnx.checker", "onnx.shape_inference", "onnxruntime", "scipy.special", "torch.fx")
READ_LATE = ("TRTZOO_", "PYTEST_", "CUDA_VISIBLE_DEVICES", "COLUMNS", "NO_COLOR", "NO_PROXY", "XDG_")
"""Variables that nothing reads while it is imported: a forked child may have other values of them than the server."""


class CommandLine:
    """`run(words, cwd=…)` is `trtzoo words` in a folder."""

    def __init__(self) -> None:
        self._env = dict(os.environ)
        self._server: subprocess.Popen[str] | None = None

    def run(self, *words: object, cwd: Path, timeout: float = 240, **more: Any) -> subprocess.CompletedProcess[str]:
        """The finished command. Raises TimeoutExpired. `more` is as in `start`."""
        child = self.start(*words, cwd=cwd, **more)
        out, err = child.communicate(timeout=timeout)
        return subprocess.CompletedProcess(words, child.returncode or 0, out, err)

    def start(
        self, *words: object, cwd: Path, env: dict[str, str] | None = None, before: str = ""
    ) -> subprocess.Popen[str] | Child:
        """The running command, with further variables `env`; it first runs the Python code `before`.

        It is a new Python process if a variable is another one that is read early.
        """
        arguments, variables = [*map(str, words)], os.environ | (env or {})
        if _early(variables) == _early(self._env):
            return Child(self, words=arguments, cwd=str(cwd), env=variables, before=before)
        assert not before
        command, pipe = [sys.executable, "-m", "trtzoo.cli", *arguments], subprocess.PIPE
        return subprocess.Popen(command, cwd=cwd, env=variables, stdout=pipe, stderr=pipe, text=True)

    def call(self, name: str, **arguments: Any) -> Any:
        """Call a function of the server."""
        if self._server is None:
            command, pipe = [sys.executable, "-m", "tests.forkserver"], subprocess.PIPE
            self._server = subprocess.Popen(command, cwd=ROOT, env=self._env, stdin=pipe, stdout=pipe, text=True)
        assert self._server.stdin and self._server.stdout
        print(json.dumps([name, arguments]), file=self._server.stdin, flush=True)
        answer = self._server.stdout.readline()
        assert answer, "the server of forked children ended"
        return json.loads(answer)

    def close(self) -> None:
        if self._server:
            self._server.communicate()


def _early(variables: Any) -> dict[str, str]:
    return {name: value for name, value in variables.items() if not name.startswith(READ_LATE)}


class Child:
    """A forked command, with the methods of Popen that the tests use."""

    def __init__(self, server: CommandLine, **job: Any) -> None:
        self._server, self.returncode = server, None
        self._folder = tempfile.TemporaryDirectory()
        self.pid: int = server.call("fork", folder=self._folder.name, **job)

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode: int | None = self._server.call("ended", child=self.pid)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 240) -> tuple[str, str]:
        """Its stdout and stderr, when it has ended. Raises TimeoutExpired after killing it."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > until:
                self.kill()
                raise subprocess.TimeoutExpired("trtzoo", timeout)
            time.sleep(0.01)
        out, err = ((Path(self._folder.name) / name).read_text() for name in ("out", "err"))
        self._folder.cleanup()
        return out, err


# --- the server ---


def serve() -> None:
    for name in IMPORTED:
        with suppress(ImportError):
            importlib.import_module(name)
    gc.freeze()  # its objects are not copied by a child's garbage collector
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps({"fork": fork, "ended": ended}[name](**arguments)), file=answers, flush=True)


def fork(**job: Any) -> int:
    """The process id of a new child."""
    if child := os.fork():
        return child
    _be_the_command(**job)
    os._exit(1)


def ended(child: int) -> int | None:
    """A child's exit code; None while it runs."""
    pid, status = os.waitpid(child, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if pid else None


def _be_the_command(words: list[str], cwd: str, env: dict[str, str], before: str, folder: str) -> None:
    for number, name in enumerate((os.devnull, f"{folder}/out", f"{folder}/err")):
        os.dup2(os.open(name, os.O_RDWR | os.O_CREAT, 0o600), number)
    os.closerange(3, 64)  # the server's
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["trtzoo", *words]
    code = 1
    try:
        exec(before, {})
        from trtzoo.cli import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    serve()
