"""The commands that lock a GPU's clocks, and those that undo it. trtzoo prints them and sets nothing."""

from statistics import median_low

from trtzoo.core.errors import MachineError
from trtzoo.core.modules import require_module
from trtzoo.core.records import SCHEMA, Device, Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.hardware.nvml import ClockOptions

SECONDS = 20.0  # limit for NVML's answer


class ClockPlan(Record, frozen=True, kw_only=True):
    """Commands that lock a GPU's SM clock at `clock` of at most `maximum` Hz, and that undo it. `reason`: why this clock."""

    schema: int = SCHEMA
    device: Device
    clock: float
    maximum: float
    reason: str
    lock: tuple[str, ...]
    undo: tuple[str, ...]


def plan_clocks(device: Device) -> ClockPlan:
    """The plan for a GPU of this machine, by NVML. Raises MachineError for a processor, and if NVML reports no clocks."""
    if device.kind != "gpu":
        raise MachineError(f"There is no NVIDIA GPU here whose clocks could be locked; the processor is {device.name}.")
    require_module("NVML", module="pynvml", extra="gpu")
    command = module_command("trtzoo.hardware.nvml")
    try:
        options = run_child(command, device.bus_id, answer=ClockOptions, timeout=SECONDS, name="NVML's process")
    except ChildError as error:
        raise MachineError(f"The clocks of {device.title} are unknown: {error}.") from error
    return choose_clock(device, options)


def choose_clock(device: Device, options: ClockOptions) -> ClockPlan:
    """The default application clock, or without one the middle of the supported clocks.

    The default application clock is the board's base clock. Boost clocks are above it, and a GPU at its power limit, as a T4
    usually is, does not hold them. Raises MachineError if NVML reports neither.
    """
    settings, clocks = options.settings, options.sm_clocks
    if clock := settings.default_application_sm_clock:
        reason = "its default application clock, the base clock of the board"
    elif clocks:
        clock, reason = median_low(clocks), "the middle of its supported clocks; it reports no default application clock"
    else:
        raise MachineError(
            f"NVML reports no SM clocks of {device.title}, so there is none to lock. To see: nvidia-smi -q -d CLOCK"
        )
    smi, mhz = f"sudo nvidia-smi -i {device.uuid or device.bus_id}", round(clock / 1e6)
    was_persistent = settings.persistence_mode == "on"
    return ClockPlan(
        device=device,
        clock=clock,
        maximum=settings.max_sm_clock or max(clocks, default=clock),
        reason=reason,
        lock=(f"{smi} -pm 1", f"{smi} -lgc {mhz},{mhz}"),
        undo=(f"{smi} -rgc", *([] if was_persistent else [f"{smi} -pm 0"])),
    )
