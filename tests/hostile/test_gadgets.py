"""Checkpoints and golden samples of strangers: none runs code, and none takes memory or time that its size does not explain."""

import copyreg
import pickle
import resource
import sys
from contextlib import contextmanager, suppress
from random import Random

import pytest

from tests.hostile.gadgets import COMMAND, FILES, archive_bomb, bomb, called, header_bomb, program, text
from trtzoo.artifacts import golden
from trtzoo.core.errors import StoreError
from trtzoo.models import pdparams
from trtzoo.models.weights import read_state

EVENTS = []
"""What the interpreter's audit hook saw while a file was read."""
HARMLESS = ("object.", "os.fstat", "sys._getframe", "cpython.", "gc.", "time.")
SMALL = 400 << 20
"""Bytes by which this process may grow because of a file of up to 500 kB."""
watching = False


def _hook(event, arguments):
    if watching and not event.startswith(HARMLESS):
        EVENTS.append((event, str(arguments)[:200]))


@pytest.fixture(scope="module", autouse=True)
def audited():
    """Python cannot remove an audit hook: it stays, and sees nothing after these tests."""
    sys.addaudithook(_hook)
    copyreg.add_extension("os", "system", 0x7B)
    copyreg._extension_cache[0x7B] = print  # as if another library had unpickled it
    yield
    copyreg._extension_cache.pop(0x7B)
    copyreg.remove_extension("os", "system", 0x7B)


@contextmanager
def nothing_else_happens(path):
    """The interpreter opens this file, and imports, compiles, runs, opens and connects nothing."""
    global watching  # noqa: PLW0603 - one hook sees the whole process
    EVENTS.clear()
    watching = True
    try:
        yield
    finally:
        watching = False
        assert [event for event in EVENTS if event[0] != "open" or str(path) not in event[1] or "'r" not in event[1]] == []


@contextmanager
def little_memory_is_used():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        yield
    finally:
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        assert grown < SMALL, f"{grown >> 20} MB"


def read(path):
    """Read a file, and what it holds by its suffix."""
    readers = {".pdparams": pdparams.read, ".npz": golden.load}
    return readers.get(path.suffix, lambda path: read_state(path).tensors)(path)


@pytest.mark.parametrize("suffix", FILES)
def test_no_gadget_runs(suffix, trials, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where gadgets make CANARY
    path = tmp_path / f"w{suffix}"
    path.write_bytes(FILES[suffix](b"\x80\x02}."))
    assert read(path) == {}
    for trial in trials("gadgets", f"{suffix} files", few=200, full=8_000):
        path.write_bytes(FILES[suffix](program(trial.random)))
        with trial, nothing_else_happens(path):
            read(path)
        assert not (tmp_path / "CANARY").exists()


def test_gadgets_do_run_in_pythons_unpickler(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran, canary = 0, tmp_path / "CANARY"
    for seed in range(20):
        with suppress(Exception):  # of what comes after the call
            pickle.loads(b"\x80\x04" + called("os.system", text(COMMAND), Random(seed)) + b".")
        ran += canary.exists()
        canary.unlink(missing_ok=True)
    assert ran >= 10


@pytest.mark.parametrize("suffix", FILES)
def test_no_small_file_makes_gigabytes_or_takes_minutes(suffix, trials, tmp_path):
    path = tmp_path / f"w{suffix}"
    for trial in trials("bombs", f"{suffix} files", few=6, full=1_200):
        path.write_bytes(FILES[suffix](bomb(suffix, trial.random)))
        with trial, little_memory_is_used():
            read(path)


def test_no_archive_makes_gigabytes(trials, tmp_path):
    for trial in trials("bombs", "zip archives", few=30, full=2_400):
        data = archive_bomb(trial.random)
        for name in ("w.pth", "w.npz"):
            (tmp_path / name).write_bytes(data)
        with trial, little_memory_is_used():
            try:
                read(tmp_path / "w.npz")
            except StoreError:
                read(tmp_path / "w.pth")


def test_no_safetensors_file_makes_gigabytes(trials, tmp_path):
    path = tmp_path / "w.safetensors"
    for trial in trials("bombs", "safetensors files", few=60, full=2_400):
        path.write_bytes(header_bomb(trial.random))
        with trial, little_memory_is_used():
            read(path)
