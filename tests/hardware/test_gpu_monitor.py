"""Summaries of GPU readings, and monitors that cannot start. Monitors that run: tests/cuda/test_gpu_monitor.py."""

import pytest

from trtzoo.core.records import Device, GpuSettings, GpuState, Span
from trtzoo.hardware.gpu_monitor import GpuMonitor, Reading, summarise_readings
from trtzoo.hardware.nvml import REASONS

GPU = Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id="0000:01:00.0")


def test_readings_become_minimum_median_and_maximum_of_each_quantity():
    state = summarise_readings([
        Reading(),
        Reading(settings=GpuSettings(ecc="on")),
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
def test_idle_and_application_clocks_are_no_slowdown(bits):
    assert summarise_readings([Reading(sm_clock=1590e6, reasons=bits)] * 3).reasons == {}


@pytest.mark.parametrize(("name", "bit"), REASONS.items(), ids=REASONS)
def test_each_reason_has_a_name(name, bit):
    assert summarise_readings([Reading(reasons=bit | 0x3), Reading(reasons=0x3)]).reasons == {name: 1}


def test_other_processes_are_unknown_if_not_even_ours_is_listed():
    assert summarise_readings([Reading(sm_clock=1590e6, processes=0)] * 3).others is None
    assert summarise_readings([Reading(sm_clock=1590e6)] * 3).others is None
    assert summarise_readings([Reading(sm_clock=1590e6, processes=1)] * 3).others == 0


def test_the_first_error_is_kept():
    readings = [Reading(), Reading(power=60.0), Reading(error="NVML: GPU is lost")]
    assert summarise_readings(readings, "NVML's process ended with status 1").error == "NVML: GPU is lost"
    assert summarise_readings(readings[:2], "NVML's process ended with status 1").error == "NVML's process ended with status 1"
    assert summarise_readings([], "NVML does not respond") == GpuState(error="NVML does not respond")


def test_a_processor_is_not_monitored():
    with GpuMonitor(Device(key="a-cpu", name="A CPU", kind="cpu")) as monitor:
        pass
    assert monitor.state is None


def test_without_bindings_the_state_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    with GpuMonitor(GPU) as monitor:
        pass
    assert monitor.state == GpuState(error="the GPU monitor needs pynvml, which is not installed. Run: trtzoo setup")


def test_a_monitor_that_cannot_start_reports_it(tmp_path, monkeypatch):
    (tmp_path / "pynvml.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-python"))
    with GpuMonitor(GPU) as monitor:
        pass
    assert monitor.state.error.startswith("[Errno 2] No such file or directory")
