"""What all tests share: no test uses the network, the user's cache or a folder other than its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.forkserver import CommandLine
from tests.goldens import fill

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it, and so would the children
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: spinning threads of two processes slow each other tenfold
GPUS = os.environ.get("CUDA_VISIBLE_DEVICES")
if "TRTZOO_EMULATED" not in os.environ:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # tests run alike on a machine with a GPU; those marked gpu see it

pytest_plugins = ["tests.hostile.campaigns"]
NOWHERE = "http://127.0.0.1:9"
"""A server that refuses connections at once: nothing listens on the discard port."""

Run = Callable[..., subprocess.CompletedProcess[str]]

SLOW = (
    "rehearsal/test_t4.py",
    "accuracy/test_digits.py",
    "rehearsal/test_boxes.py",
    "cuda/test_bench.py",
    "docs/test_architecture.py",
)
"""The slowest files. They come first, so that the processes of `make test`, which take a file at a time, end together."""

settings.register_profile(
    "trtzoo",
    deadline=None,
    max_examples=60,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("trtzoo")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next((rank for rank, name in enumerate(SLOW) if item.path.match(name)), len(SLOW)))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """An empty cache, no server, no proxy, no GPU, the zoo that ships, and no memory of earlier tests."""
    if request.node.get_closest_marker("gpu"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES") if GPUS is None else monkeypatch.setenv("CUDA_VISIBLE_DEVICES", GPUS)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("TRTZOO_MIRROR", NOWHERE)
    monkeypatch.setenv("TRTZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TRTZOO_ZOO", raising=False)
    if download := sys.modules.get("trtzoo.models.download"):
        download._unreachable.clear()


@pytest.fixture
def known_peak(alone: None) -> None:
    """A peak of this processor in the cache, so that `bench` does not measure it."""
    from trtzoo.core.files import write_record
    from trtzoo.core.records import CpuPeak
    from trtzoo.hardware import cpu_peak
    from trtzoo.hardware.devices import cpu_device

    threads = cpu_device().cores
    peak = CpuPeak(rate=1e12, low=1e12, kernel="a test's", turns=5, threads=threads)
    write_record(cpu_peak.peak_path(threads), cpu_peak.KeptPeak(peak=peak))


@pytest.fixture(scope="session")
def command_line() -> Iterator[CommandLine]:
    made = CommandLine()
    yield made
    made.close()


@pytest.fixture
def trtzoo(tmp_path: Path, command_line: CommandLine, known_peak: None) -> Run:
    """A function that runs the command line in the test's folder."""
    return partial(command_line.run, cwd=tmp_path)


@pytest.fixture(scope="session")
def filled() -> Iterator[Callable[[str], dict[str, np.ndarray]]]:
    """Golden weights of the two small models, made once; tests must not write to them."""
    state = cache(fill.state)
    yield state
    state.cache_clear()


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with dpn68 of ten classes at 32x32, seeded, FP32 and FP16. Tests must not write to it."""
    from trtzoo.artifacts.graphs import ExportOrder
    from trtzoo.exporter.plan import export
    from trtzoo.models.sources import Checkpoint
    from trtzoo.models.table import find_model

    folder = tmp_path_factory.mktemp("exported")
    orders = [ExportOrder(model="dpn68", precision=kind, classes=10, size=32) for kind in ("fp32", "fp16")]
    assert not any(done.error for done in export(find_model("dpn68"), Checkpoint("seeded", origin="seeded"), orders, folder))
    return folder
