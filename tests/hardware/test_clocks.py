"""The clock that a GPU is locked at, and the commands. NVML's answers: tests/cuda/test_clocks.py."""

import pytest

from trtzoo.core.errors import MachineError
from trtzoo.core.records import Device, GpuSettings
from trtzoo.hardware.clocks import choose_clock, plan_clocks
from trtzoo.hardware.nvml import ClockOptions

T4 = Device(key="tesla-t4", name="Tesla T4", kind="gpu", bus_id="0000:01:00.0", uuid="GPU-1")
CLOCKS = tuple(mhz * 1e6 for mhz in (300, 585, 945, 1245, 1590))


def chosen(clocks=CLOCKS, **settings):
    return choose_clock(T4, ClockOptions(settings=GpuSettings(**settings), sm_clocks=clocks))


def test_the_clock_is_the_base_clock_and_each_command_has_its_reverse():
    plan = chosen(default_application_sm_clock=585e6, max_sm_clock=1590e6, persistence_mode="off")
    assert (plan.clock, plan.maximum) == (585e6, 1590e6)
    assert plan.lock == ("sudo nvidia-smi -i GPU-1 -pm 1", "sudo nvidia-smi -i GPU-1 -lgc 585,585")
    assert plan.undo == ("sudo nvidia-smi -i GPU-1 -rgc", "sudo nvidia-smi -i GPU-1 -pm 0")


def test_a_gpu_that_was_persistent_before_stays_so():
    assert chosen(persistence_mode="on").undo == ("sudo nvidia-smi -i GPU-1 -rgc",)


def test_without_application_clocks_it_is_the_middle_of_the_supported_ones():
    plan = chosen()
    assert (plan.clock, plan.maximum) == (945e6, 1590e6)
    assert plan.reason == "the middle of its supported clocks; it reports no default application clock"
    assert chosen(CLOCKS[1:]).clock == 945e6


def test_a_gpu_that_reports_no_clocks_is_a_sentence():
    with pytest.raises(MachineError, match=r"^NVML reports no SM clocks of Tesla T4, so there is none to lock\."):
        chosen(())


def test_a_processor_has_no_clocks_to_lock():
    with pytest.raises(
        MachineError, match=r"^There is no NVIDIA GPU here whose clocks could be locked; the processor is A CPU\.$"
    ):
        plan_clocks(Device(key="a-cpu", name="A CPU", kind="cpu"))
