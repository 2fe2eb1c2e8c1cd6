"""`make table` on a machine with and without a GPU, with a stand-in for trtzoo that records its calls."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def make_table(tmp_path):
    """`make_table(gpu=…, fails=…)`: the exit status, and the commands that ran; the command `fails` ends with status 1."""

    def run(*words, gpu, fails=""):
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, tmp_path)
        _script(tmp_path / "bin" / "nvidia-smi", f"exit {0 if gpu else 9}")
        failure = f'[ "$1" != "{fails}" ] || exit 1'
        _script(tmp_path / ".venv" / "bin" / "trtzoo", f'echo "$* $TRTZOO_ZOO" >> {tmp_path}/calls\n{failure}\necho output')
        (tmp_path / "benchmarks").mkdir()
        for extra in ("cpu", "gpu"):
            (tmp_path / ".venv" / f"ready-{extra}").touch()
        env = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        done = subprocess.run(["make", "table", *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
        assert all((line[-1] == "my.toml") is bool(words) for line in calls)
        return done.returncode, [line[0] for line in calls]

    return run


def _script(path, body):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


REST = ["bench", "table", "table", "figures", "report"]


def test_a_processor_exports_measures_and_shows(make_table):
    assert make_table(gpu=False) == (0, ["export", *REST])


def test_a_gpu_builds_engines_too(make_table):
    assert make_table(gpu=True) == (0, ["export", "build", *REST])


@pytest.mark.parametrize("fails", ["export", "build", "bench", "figures", "report"])
def test_a_failed_step_stops_nothing_and_is_the_exit_status(make_table, fails):
    status, calls = make_table(gpu=True, fails=fails)
    assert status != 0 and calls == ["export", "build", *REST]


def test_another_zoo_reaches_every_step(make_table):
    assert make_table("ZOO=my.toml", gpu=False) == (0, ["export", *REST])
