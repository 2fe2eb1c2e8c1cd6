"""One build or measurement at a time on each GPU, in any process."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from trtzoo.core.errors import StoreError, TrtzooError
from trtzoo.core.records import Device
from trtzoo.hardware.gpu_lock import exclusive_gpu

T4 = Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id="0000:01:00.0", uuid="GPU-1")
SECOND = Device(key="tesla-t4-device1", name="Tesla T4", kind="gpu", bus_id="0000:02:00.0", uuid="GPU-2", index=1)
HOLDER = """
import signal
from trtzoo.core.records import Device
from trtzoo.hardware.gpu_lock import exclusive_gpu
with exclusive_gpu(Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id="0000:01:00.0", uuid="GPU-1")):
    print("held", flush=True)
    signal.pause()
"""


@pytest.fixture
def holder():
    """Another process that holds the first T4's lock."""
    command = [sys.executable, "-c", HOLDER, "bench", "dpn68"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate()


def waiting(device, stop=None):
    """A thread that wants the lock, and what it finds in the end: "held", or the error."""
    found = []

    def work():
        try:
            with exclusive_gpu(device, stop):
                found.append("held")
        except TrtzooError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, found


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="the system does not list locks")
def test_a_second_process_waits_names_the_holder_and_starts_when_that_dies(holder, caplog):
    caplog.set_level(logging.INFO, logger="trtzoo")
    thread, found = waiting(T4)
    thread.join(timeout=1.5)
    assert thread.is_alive() and not found
    (message,) = caplog.messages
    assert message.startswith(f"Waiting for Tesla T4: process {holder.pid} ({sys.executable} -c import signal from")
    assert message.endswith(") is using it.")
    holder.kill()
    thread.join(timeout=10)
    assert found == ["held"]


def test_another_gpu_and_a_processor_do_not_wait(holder):
    cpu = Device(key="a-cpu", name="A CPU", kind="cpu")
    for device in (SECOND, cpu, None):
        thread, found = waiting(device)
        thread.join(timeout=10)
        assert found == ["held"]


def test_a_wait_can_be_cancelled(holder):
    stop = threading.Event()
    thread, found = waiting(T4, stop)
    time.sleep(0.2)
    stop.set()
    thread.join(timeout=10)
    assert found == ["cancelled"]


def test_builds_of_one_process_take_turns_without_a_message(caplog):
    caplog.set_level(logging.INFO, logger="trtzoo")
    with exclusive_gpu(T4):
        thread, found = waiting(T4)
        thread.join(timeout=1)
        assert not found
    thread.join(timeout=10)
    assert found == ["held"] and not caplog.messages


def test_a_driver_without_uuids_locks_by_bus_id():
    old = [Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id=f"0000:0{number}:00.0") for number in (1, 2)]
    with exclusive_gpu(old[0]), exclusive_gpu(old[1]):
        names = sorted(path.name for path in Path(os.environ["TRTZOO_CACHE"], "gpus", ".locks").iterdir())
    assert names == ["0000-01-00.0.lock", "0000-02-00.0.lock"]


def test_a_cache_that_cannot_be_written_is_a_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTZOO_CACHE", str(tmp_path / "file"))
    with (
        pytest.raises(StoreError, match=r"^The lock of Tesla T4 cannot be made in .*/file/gpus: .*Set TRTZOO_CACHE to"),
        exclusive_gpu(T4),
    ):
        pass
