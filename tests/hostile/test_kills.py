"""Kills: whatever is killed at whatever moment, nothing torn is taken for whole, the next run works, and nobody lives on."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.hostile.processes import Started
from tests.hostile.works import BODY, WORKS, Work
from tests.models.raw_server import honest, serving

CHANGES = {"export": (0, 14), "build": (1, 24), "bench": (0, 6), "eval": (0, 14), "report": (0, 10), "figures": (0, 34)}
CHANGES |= {"download": (2, 40)}
MOMENTS = {"export": (0, 6), "build": (0, 12), "bench": (0, 4), "eval": (0, 10), "report": (0, 8), "figures": (0, 6)}
MOMENTS |= {"download": (1, 20)}
"""How many trials of each command: few and full. All renames have four each, and the others are at random."""


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    with serving(honest(BODY)) as server:
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield server


def kill(work: Work, index: int, random: Random, folder: str) -> dict[str, object]:
    """The trial's kill: first those before and after each rename, of the process and of its group, then any."""
    roles = [role for role in work.changes if work.changes[role]]
    renames = [(role, at) for role in roles for at in range(1, work.changes[role].count("os.rename") + 1)]
    each = [(role, at, after, do) for role, at in renames for after in (False, True) for do in ("kill", "kill group")]
    if index < len(each):
        role, at, after, do = each[index]
        return {"do": do, "roles": [role], "at": at, "renames": True, "after": after, "folder": folder}
    role = random.choice(roles)
    at = random.randint(1, len(work.changes[role]))
    return {
        "do": random.choice(["kill", "kill group"]),
        "roles": [role],
        "at": at,
        "after": random.random() < 0.5,
        "folder": folder,
    }


def check_after(work: Work, folder: Path, started: Started) -> None:
    """The killed command's processes are gone, nothing torn passes for whole, and the next run works."""
    ended = started.wait(work.seconds)
    assert not started.orphans(), str(ended)
    work.check_partly(folder)
    work.check_again(folder)


@pytest.mark.parametrize("name", WORKS)
def test_after_a_kill_at_a_change_of_a_file_the_next_run_works(trials, tmp_path, name):
    work, folder = WORKS[name], tmp_path / "here"
    few, full = CHANGES[name]
    for trial in trials("kill", f"{name}, at a rename or another change of a file", few=few, full=full, hang=300):
        with trial:
            work.rehearse(folder)
            work.ready(folder)
            check_after(work, folder, work.start(folder, trouble=kill(work, trial.index, trial.random, str(folder))))


@pytest.mark.parametrize("name", WORKS)
def test_after_a_kill_at_any_moment_the_next_run_works(trials, tmp_path, name):
    work, folder = WORKS[name], tmp_path / "here"
    few, full = MOMENTS[name]
    for trial in trials("kill", f"{name}, at any moment", few=few, full=full, hang=300):
        with trial:
            work.rehearse(folder)
            work.ready(folder)
            started = work.start(folder)
            started.process.join(trial.random.random() * work.seconds)
            started.kill(group=trial.random.random() < 0.5)
            check_after(work, folder, started)
