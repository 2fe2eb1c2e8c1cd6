"""The GPU monitor with the real nvidia-ml-py on an emulated NVML. A failing NVML does not stop the measurement."""

import os
import time
from pathlib import Path

import pytest

from trtzoo.core.records import GpuSettings, GpuState, Span
from trtzoo.hardware import gpu_monitor
from trtzoo.hardware.devices import choose_device
from trtzoo.hardware.gpu_monitor import GpuMonitor

OLD = (
    "nvmlDeviceGetMemoryInfo_v2",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetCurrentClocksEventReasons",
    "nvmlDeviceGetComputeRunningProcesses_v3",
)


@pytest.fixture
def seen(driver, monkeypatch):
    """`seen(script, …)`: the T4's state after some readings from an NVML that follows the script."""

    def look(*script, seconds=0.75, settle=0.0, gpu="t4"):
        device = choose_device(gpu)
        monkeypatch.setenv("TRTZOO_EMULATED_NVML", " ".join(script))
        with GpuMonitor(device, settle=settle) as monitor:
            time.sleep(seconds)
        return monitor.state

    return look


def steady(value):
    return Span(low=value, median=value, high=value)


def test_every_quantity_of_an_idle_gpu_is_recorded_in_its_unit(seen):
    state = seen()
    assert 3 <= state.readings <= 8
    assert state == GpuState(
        sm_clock=steady(1590e6),
        memory_clock=steady(5001e6),
        power=steady(60.0),
        temperature=steady(55),
        memory=steady(1 << 30),
        others=0,
        readings=state.readings,
    )


def test_settings_are_recorded_once_in_words_and_units(driver, monkeypatch):
    device = choose_device("t4")
    for script, expected in (
        (
            "limit=60000 app_sm=1590 compute=3 persistence=1 mig=1 link=1",
            GpuSettings(
                power_limit=60.0,
                default_power_limit=70.0,
                max_sm_clock=1590e6,
                max_memory_clock=5001e6,
                application_sm_clock=1590e6,
                application_memory_clock=5001e6,
                default_application_sm_clock=585e6,
                ecc="on",
                persistence_mode="on",
                compute_mode="exclusive process",
                mig="on",
                pcie_generation=1,
                pcie_width=16,
                max_pcie_generation=3,
                max_pcie_width=16,
            ),
        ),
        (
            "limit=- default_limit=- app_sm=- app_memory=- default_app_sm=- max_sm=- max_memory=- ecc=- compute=7 "
            "persistence=- link=- width=- max_link=- max_width=-",
            GpuSettings(compute_mode="unknown mode 7"),
        ),
    ):
        monkeypatch.setenv("TRTZOO_EMULATED_NVML", script)
        with GpuMonitor(device, settle=60.0) as monitor:
            pass
        assert (monitor.settings, monitor.state.readings) == (expected, 0)


def test_falling_clocks_and_their_causes_are_recorded(seen):
    state = seen("sm=1590,1590,900", "temperature=70,80,90", "reasons=2,0x24", "power=69000,71000")
    assert state.sm_clock == Span(low=900e6, median=state.sm_clock.median, high=1590e6)
    assert state.temperature.high == 90 and state.power == Span(low=69.0, median=71.0, high=71.0)
    assert state.reasons == dict.fromkeys(["software power cap", "software thermal slowdown"], state.readings - 1)


def test_other_processes_are_counted_once_each_without_ours(seen):
    assert seen("processes=own,own+7+8+8,own").others == 2


def test_in_a_container_our_process_has_another_pid_and_is_still_not_counted(seen):
    assert seen("processes=4242").others == 0
    assert seen("processes=4242+4243").others == 1


def test_nothing_is_read_while_clocks_rise_from_idle(seen):
    assert seen("sm=300", seconds=0.3, settle=5.0).readings == 0


def test_an_old_driver_is_queried_by_its_own_functions(seen):
    state = seen("reasons=4", "processes=own+7", "fail=" + ",".join(f"{name}:1:13" for name in OLD))
    assert (state.temperature, state.memory, state.others, state.error) == (steady(55), steady(1 << 30), 1, "")
    assert state.reasons == {"software power cap": state.readings}


def test_a_quantity_that_a_gpu_does_not_report_is_none(seen):
    state = seen("fail=nvmlDeviceGetPowerUsage:1:3,nvmlDeviceGetComputeRunningProcesses_v3:1:4,nvmlDeviceGetClockInfo:1:3")
    assert (state.power, state.sm_clock, state.memory_clock, state.error) == (None, None, None, "")
    assert state.temperature == steady(55) and state.readings


def test_gpus_are_identified_by_their_bus_id(seen):
    assert seen("bus=2", gpu="a10").sm_clock == steady(1590e6)
    assert seen("bus=2", gpu="t4").error == "NVML: Not Found"


@pytest.mark.parametrize(
    ("fault", "readings", "error"),
    [
        ("nvmlInitWithFlags:1:9", 0, "NVML: Driver Not Loaded"),
        ("nvmlInitWithFlags:1:abort", 0, "NVML's process died of SIGABRT"),
        ("nvmlDeviceGetHandleByPciBusId_v2:1:15", 0, "NVML: GPU is lost"),
        ("nvmlDeviceGetPowerUsage:3:15", 2, "NVML: GPU is lost"),
        ("nvmlDeviceGetPowerUsage:3:abort", 2, "NVML's process died of SIGABRT"),
        ("nvmlDeviceGetPowerUsage:3:hang", 2, "NVML does not respond"),
    ],
)
def test_a_failing_nvml_is_reported_and_earlier_readings_are_kept(seen, fault, readings, error):
    state = seen(f"fail={fault}")
    assert (state.readings, state.error) == (readings, error)
    assert (state.sm_clock == steady(1590e6)) == bool(readings)


def test_an_nvml_that_hangs_from_the_start_is_ended(seen, monkeypatch):
    monkeypatch.setattr(gpu_monitor, "START", 0.5)
    assert seen("fail=nvmlInitWithFlags:1:hang", seconds=0).error == "NVML does not respond"


def test_a_driver_without_nvml_is_reported(seen, tmp_path, monkeypatch):
    (tmp_path / "libcuda.so.1").symlink_to(Path(os.environ["LD_LIBRARY_PATH"]) / "libcuda.so.1")
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    assert seen().error == "NVML: NVML Shared Library Not Found"


def test_the_monitor_ends_with_its_block_even_after_an_exception(driver, monkeypatch):
    monitor = GpuMonitor(choose_device("t4"))
    with pytest.raises(KeyError), monitor:
        raise KeyError
    assert monitor._child.returncode == 0
