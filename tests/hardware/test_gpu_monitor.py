"""What a watch's readings come to, and a watch that cannot be kept. Watches that are kept: tests/cuda/test_watch.py."""

import pytest

from trtzoo.core.records import Device, GpuState, Span
from trtzoo.hardware.gpu_monitor import REASONS, GpuMonitor, Reading, summary

GPU = Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id="0000:01:00.0")


def test_readings_become_the_least_middle_and_most_of_each_quantity():
    state = summary([
        Reading(),
        Reading(sm_clock=1590e6, memory_clock=5001e6, power=60.0, temperature=50, reasons=0, processes=1),
        Reading(sm_clock=900e6, memory_clock=5001e6, power=70.5, temperature=80, reasons=0x24, processes=3),
        Reading(sm_clock=1200e6, memory_clock=5001e6, power=70.0, temperature=70, reasons=0x4, processes=1),
    ])  # fmt: skip
    assert state == GpuState(
        sm_clock=Span(low=900e6, median=1200e6, high=1590e6),
        memory_clock=Span(low=5001e6, median=5001e6, high=5001e6),
        power=Span(low=60.0, median=70.0, high=70.5),
        temperature=Span(low=50, median=70, high=80),
        reasons={"software power cap": 2, "software thermal slowdown": 1},
        others=2,
        readings=3,
    )


@pytest.mark.parametrize("bits", [0x0, 0x1, 0x2, 0x3], ids=["none", "idle", "application clocks", "both"])
def test_an_idle_gpu_and_a_users_own_clocks_are_no_slowdown(bits):
    assert summary([Reading(sm_clock=1590e6, reasons=bits)] * 3).reasons == {}


@pytest.mark.parametrize(("bit", "name"), REASONS.items(), ids=REASONS.values())
def test_each_reason_is_told_by_name(bit, name):
    assert summary([Reading(reasons=bit | 0x3), Reading(reasons=0x3)]).reasons == {name: 1}


def test_a_gpu_that_lists_no_process_not_even_ours_tells_nothing_of_others():
    assert summary([Reading(sm_clock=1590e6, processes=0)] * 3).others is None
    assert summary([Reading(sm_clock=1590e6)] * 3).others is None
    assert summary([Reading(sm_clock=1590e6, processes=1)] * 3).others == 0


def test_the_first_error_is_the_cause():
    readings = [Reading(), Reading(power=60.0), Reading(error="NVML: GPU is lost")]
    assert summary(readings, "NVML's process ended with status 1").error == "NVML: GPU is lost"
    assert summary(readings[:2], "NVML's process ended with status 1").error == "NVML's process ended with status 1"
    assert summary([], "NVML does not answer any more") == GpuState(error="NVML does not answer any more")


def test_a_processor_is_not_watched():
    with GpuMonitor(Device(key="a-cpu", name="A CPU", kind="cpu")) as watch:
        pass
    assert watch.state is None


def test_without_its_bindings_the_watch_says_what_to_install_and_the_work_is_done(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with GpuMonitor(GPU) as watch:
        done = True
    assert done
    assert watch.state == GpuState(
        error="a watch on the GPU needs pynvml, which is not installed. Run: pip install 'trtzoo[gpu]'"
    )


def test_a_watch_that_cannot_start_says_so_and_the_work_is_done(tmp_path, monkeypatch):
    (tmp_path / "pynvml.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with GpuMonitor(GPU) as watch:
        done = True
    assert done
    assert watch.state.error.startswith("[Errno 2] No such file or directory")
