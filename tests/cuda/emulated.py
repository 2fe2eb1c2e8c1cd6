"""Runs tests on the emulated driver in one child process per module, and takes over its reports.

A test with the fixture `driver`, or with `gpu` and the parameter "emulated", runs in the child, with real PyCUDA, real
cuda-bindings, our libcuda.so.1 and the double of TensorRT. With "real" it runs in this process, on this machine's GPU and
TensorRT. Each test on the emulated driver must free everything: memory, streams, events, graphs and contexts.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cuda import install
from tests.cuda.engines import built, emulated

CHILD = "TRTZOO_EMULATED"
SECONDS = 900
REPORTS = pytest.StashKey()
DOUBLE = Path(__file__).with_name("double")
ROOT = Path(__file__).parents[2]


class Driver:
    """Controls the emulated driver in this process."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libcuda.so.1")
        self._library.emulated_log.restype = self._library.emulated_counts.restype = ctypes.c_char_p

    def reset(self) -> None:
        """Restore the initial state, so that a failed test does not affect the next one."""
        self._library.emulated_reset()

    def log(self) -> list[str]:
        """The calls since the last `log()`: copies and allocations with their sizes, streams and captures with their kind."""
        return self._library.emulated_log().decode().splitlines()

    def counts(self) -> dict[str, int]:
        """The counts of live objects that are not zero; `busy` counts objects freed while pending work may use them."""
        return {name: count for name, count in json.loads(self._library.emulated_counts()).items() if count}

    def fail(self, *faults: str) -> None:
        """Inject faults: with "cuMemAlloc:2:999" the second call from now fails with 999, with "…:lasting" all later ones too.

        A name is that of a call, or "allocation" for either kind of memory, "call" for any call, "work" for work on streams.
        """
        self._library.emulated_faults(",".join(faults).encode())


@pytest.fixture
def driver():
    """The emulated driver. The test must free everything."""
    control = Driver()
    control.reset()
    yield control
    control.fail()
    left = control.counts()
    assert not left, f"left after the test: {left}"


@pytest.fixture
def script(driver):
    """The script of the double of TensorRT."""
    import emulated_tensorrt  # only the child process has it

    emulated_tensorrt.script.__dict__.update(fails="", allocates=False)
    yield emulated_tensorrt.script
    emulated_tensorrt.script.__dict__.update(fails="", allocates=False)


@pytest.fixture(params=["emulated", pytest.param("real", marks=pytest.mark.gpu)])
def gpu(request, tmp_path):
    """`gpu(onnx, batch=…, precision=…, flavour=…)`: an engine for the GPU that the test runs on."""
    if request.param == "emulated":
        request.getfixturevalue("driver")
        yield lambda onnx, **settings: emulated(tmp_path, onnx, **settings)
    else:
        yield lambda onnx, **settings: built(tmp_path, onnx, **settings)


def runs_in_child(item: pytest.Item) -> bool:
    parameters = getattr(item, "callspec", None)
    return "driver" in item.fixturenames or (parameters is not None and parameters.params.get("gpu") == "emulated")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark the tests that need the emulated driver and PyCUDA, which are made from packages of the index."""
    for item in items:
        if runs_in_child(item):
            item.add_marker(pytest.mark.network)


def pytest_runtest_protocol(item, nextitem):
    """Take the item's reports from the child, which runs all items of a module when the first one is due."""
    if CHILD in os.environ or not runs_in_child(item):
        return None
    reports = item.config.stash.setdefault(REPORTS, {})
    if item.path not in reports:
        own = [each for each in item.session.items if each.path == item.path and runs_in_child(each)]
        reports[item.path] = _reports([each.nodeid for each in own], item.config)
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in reports[item.path](item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.session._setupstate.teardown_exact(nextitem)  # of the folder's other tests, which ran here
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _reports(names, config):
    """Run the named tests in the child; return a function from an item to its reports, or to a failure if it has none."""
    try:
        done, lines = _child(names)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        done, lines = str(error), []
    found = {}
    for line in lines:
        report = config.hook.pytest_report_from_serializable(config=config, data=json.loads(line))
        found.setdefault(report.nodeid, []).append(report)

    def reports(item):
        whole = found.get(item.nodeid, [])
        if whole and whole[-1].when == "teardown":
            return whole
        words = f"the child process on the emulated driver did not finish this test:\n{done[-4000:]}"
        return [pytest.TestReport(item.nodeid, item.location, {}, "failed", words, "call")]

    return reports


def _child(names: list[str]) -> tuple[str, list[str]]:
    """The child's output, and its reports, one per line."""
    installed = install.install()
    reports = installed.driver.parent / f"reports-{os.getpid()}.jsonl"
    env = install.ENVIRONMENT | {
        CHILD: str(reports),
        "LD_LIBRARY_PATH": str(installed.driver),
        "PYTHONPATH": os.pathsep.join([str(DOUBLE), str(installed.site), str(ROOT)]),
        "TRTZOO_EMULATED_GPUS": "t4,a10",
        "TRTZOO_EMULATED_PLAIN_NAMES": "1",  # results stay in the tests' folders, and rows of known cards are tested
    }
    command = [sys.executable, "-m", "pytest", "-p", "tests.cuda.reporter", "-p", "no:cacheprovider", *names]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
        return done.stdout + done.stderr, reports.read_text().splitlines() if reports.exists() else []
    finally:
        reports.unlink(missing_ok=True)
