"""Machines that lack something: memory, descriptors, cores, a terminal's encoding, shared memory, a clock that is right."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.hostile.campaigns import HANG
from tests.hostile.processes import LOAD, session, trtzoo_environment
from tests.hostile.works import BODY, WORKS, Work
from tests.models.raw_server import honest, serving


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    with serving(honest(BODY)) as server:
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield


@dataclass
class Machine:
    """What is missing. `harmless`: a command works all the same."""

    before: Callable[[Random], None] = lambda random: None
    """Called in the new process."""
    trouble: Callable[[Random], dict[str, Any]] = lambda random: {}
    environment: dict[str, str] = field(default_factory=dict)
    harmless: bool = True


def limit(name: str, *values: int) -> Callable[[Random], None]:
    def before(random: Random) -> None:
        value = random.choice(values)
        resource.setrlimit(getattr(resource, name), (value, value))

    return before


def close(*numbers: int) -> Callable[[Random], None]:
    return lambda random: [os.close(number) for number in numbers][:0] and None


MEGABYTES = (100, 200, 300, 400, 500, 700, 1000, 1500, 2000, 3000)
C = {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
MACHINES = {
    "little memory (RLIMIT_AS)": Machine(limit("RLIMIT_AS", *(size << 20 for size in MEGABYTES)), harmless=False),
    "64 open files": Machine(limit("RLIMIT_NOFILE", 64)),
    "few open files": Machine(limit("RLIMIT_NOFILE", 8, 12, 16, 24, 32), harmless=False),
    "one core": Machine(lambda random: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])),
    "no stdin": Machine(close(0)),
    "no stdout": Machine(close(1)),
    "no stderr": Machine(close(2)),
    "no descriptors": Machine(close(0, 1, 2)),
    "the C locale": Machine(environment=C),
    "ASCII output": Machine(environment={"PYTHONIOENCODING": "ascii"}),
    "a locale that does not exist": Machine(environment={"LC_ALL": "xx_XX.UTF-9", "PYTHONCOERCECLOCALE": "0"}),
    "no shared memory": Machine(trouble=lambda random: {"semaphores": False}),
    "a clock that jumps": Machine(trouble=lambda random: {"clock": 1 + random.randrange(1000)}),
}
FEW = ("little memory (RLIMIT_AS)", "64 open files", "no descriptors", "the C locale", "a clock that jumps")
"""Those of which `make test` tries the first of the commands."""
ORDER = ("download", "report", "build", "eval", "figures", "export", "bench")


@pytest.mark.parametrize("name", MACHINES)
def test_a_poor_machine_is_enough_or_a_sentence_says_what_is_missing(trials, tmp_path, name):
    few = 1 if name in FEW else 0
    for trial in trials("resources", name, few=few, full=len(ORDER), hang=300):
        with trial:
            work = WORKS[ORDER[trial.index % len(ORDER)]]
            folder = tmp_path / work.name
            work.rehearse(folder)
            work.ready(folder)
            code, out, err = poor(work, folder, MACHINES[name], trial.random)
            report = f"{work.words} ended with {code}\n{out[-500:]}\n{err[-3000:]}"
            assert "Traceback" not in err + out, report
            assert code in ((0,) if MACHINES[name].harmless else (0, 1, 3)), report
            work.check_partly(folder)
            if code == 0:
                assert work.found(folder) == work.usual, report


def test_an_evaluation_needs_no_shared_memory(tmp_path):
    work, folder = WORKS["eval"], tmp_path / "here"
    ended = work.run(work.ready(folder), trouble={"semaphores": False})
    assert ended.code == 0, str(ended)


def test_an_evaluation_without_standard_streams_decodes_every_image(tmp_path):
    work, folder = WORKS["eval"], tmp_path / "here"
    work.ready(folder)
    code, _, _ = poor(work, folder, MACHINES["no descriptors"], Random(0))
    (found,) = work.found(folder).values()
    assert code == 0 and found.startswith("20 ") and found.endswith(" {}")


def test_figures_end_where_openblas_gets_no_memory_for_threads(tmp_path):
    work, folder = WORKS["figures"], tmp_path / "here"
    work.ready(folder)
    code, _, err = poor(work, folder, Machine(limit("RLIMIT_AS", 300 << 20)), Random(0))
    assert (code, "Traceback" in err) == (3, False), err
    assert "may not use more memory, or no more threads" in err


def poor(work: Work, folder: Path, machine: Machine, random: Random) -> tuple[int, str, str]:
    """The command's exit code, output and messages on such a machine."""
    call = [f"{work.call.__module__}", work.call.__name__] if work.call else []
    code = f"from {call[0]} import {call[1]}; {call[1]}()" if call else "from trtzoo.cli import main; main()"
    files = [folder.with_name(f"{folder.name}.{name}") for name in ("out", "err")]
    environment = trtzoo_environment(machine.trouble(random), machine.environment | {"TRTZOO_CACHE": str(folder / "cache")})
    seed = random.random()

    def before() -> None:
        machine.before(Random(seed))

    with files[0].open("wb") as out, files[1].open("wb") as err:
        command = [sys.executable, "-c", code, *work.words]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=before,  # noqa: PLW1509 - this process has one thread that forks
            start_new_session=True,
        )
        try:
            process.wait(HANG + LOAD * work.seconds)
        finally:
            for pid in session(process.pid) if process.returncode is None else ():
                os.kill(pid, 9)
    deadline = time.monotonic() + 10
    while (left := list(session(process.pid))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left
    found = [path.read_text(errors="replace") for path in files]
    return process.returncode, found[0], found[1]
