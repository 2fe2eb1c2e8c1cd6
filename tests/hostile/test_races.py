"""Races: many processes at once make the same files, while others read them; each is made once, and nobody sees half of one."""

from __future__ import annotations

from functools import partial

import pytest

from tests.hostile.calls import write_again_and_again
from tests.hostile.processes import Started
from tests.hostile.works import BODY, WORKS, leftovers
from tests.models.raw_server import honest, serving

TOGETHER = {"build": 8, "export": 6, "bench": 4, "eval": 4, "report": 4, "figures": 3, "download": 8}
TRIALS = {"build": (1, 6), "export": (0, 4), "bench": (0, 3), "eval": (0, 4), "report": (0, 6), "figures": (0, 3)}
TRIALS |= {"download": (1, 20)}
FEW = 2
"""Processes at once in a trial of `make test`."""


@pytest.fixture(autouse=True)
def mirror(monkeypatch):
    with serving(honest(BODY)) as server:
        monkeypatch.setenv("TRTZOO_MIRROR", server.url)
        yield server


@pytest.mark.parametrize("name", TOGETHER)
def test_processes_that_make_the_same_files_take_turns(trials, tmp_path, mirror, name, request):
    work, folder = WORKS[name], tmp_path / "here"
    few, full = TRIALS[name]
    number = FEW if request.config.getoption("--trials") == "few" else TOGETHER[name]
    for trial in trials("race", f"{number} at once: {name}", few=few, full=full, hang=300):
        with trial:
            work.rehearse(folder)
            work.ready(folder)
            mirror.requests.clear()
            started = [work.start(folder) for _ in range(number)]
            ended = [each.wait(number * work.seconds) for each in started]
            assert not [pid for each in started for pid in each.orphans()]
            for each in ended:  # a second evaluation of the same images is refused
                refused = name == "eval" and "already running" in each.out
                assert each.code == (1 if refused else 0), str(each)
            assert any(each.code == 0 for each in ended)
            assert work.found(folder) == work.usual and not leftovers(folder)
            assert name != "download" or len(mirror.requests) == 1


def test_a_reader_never_sees_half_a_file(trials, tmp_path):
    for trial in trials("race", "table while results are replaced", few=1, full=20, hang=300):
        with trial:
            folder = tmp_path / str(trial.index)
            folder.mkdir()
            writer = Started(folder, call=partial(write_again_and_again, folder / "benchmarks"))
            reads = 0
            while reads < 2 or (writer.process.is_alive() and reads < 10):
                done = Started(folder, "table", "--format", "json").wait()
                assert "damaged" not in done.err and "cannot be read" not in done.err, str(done)
                reads += 1
            assert writer.wait().code == 0
            assert not leftovers(folder)
