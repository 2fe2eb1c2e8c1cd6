"""Monitors a GPU while a case is sampled: clocks and what limits them, power, temperature, other processes. It sets nothing.

A child process (nvml_worker.py) asks NVML, so neither NVML's calls nor its crashes disturb the measurement.
"""

import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from statistics import median
from typing import IO

import msgspec

from trtzoo.core.errors import MachineError
from trtzoo.core.modules import require_module
from trtzoo.core.records import Device, GpuState, Record, Span
from trtzoo.core.subprocesses import end_child, module_command

QUANTITIES = ("sm_clock", "memory_clock", "power", "temperature")
START = 10.0
"""Seconds that the child may take until it is ready."""

REASONS = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clock setting",
    0x200: "board limit",
    0x400: "reliability limit",
}
"""NVML's clock-event bits. Idle (1) and application clocks (2) are left out: the second is the user's wish."""


class Reading(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One reading of NVML, in GpuState's units; `reasons` are NVML's bits, `processes` includes ours; None: not reported.

    The child's first line is an empty Reading: it is ready. A Reading with an `error` is its last.
    """

    sm_clock: float | None = None
    memory_clock: float | None = None
    power: float | None = None
    temperature: float | None = None
    reasons: int | None = None
    processes: int | None = None
    error: str = ""


class GpuMonitor:
    """Monitors a GPU during a `with` block; afterwards `state` has the summary, or None for a processor. Raises nothing.

    Reading starts after `settle` seconds, when the clocks have risen from idle.
    """

    state: GpuState | None = None
    _child: subprocess.Popen[bytes] | None = None

    def __init__(self, device: Device, *, settle: float = 0.0) -> None:
        self._device, self._settle = device, settle

    def __enter__(self) -> "GpuMonitor":
        if self._device.kind == "gpu":
            try:
                require_module("the GPU monitor", module="pynvml", extra="gpu")
                self._lines = tempfile.TemporaryFile()  # a pipe would fill up; __exit__ closes it
                self._child = _start(self._device.bus_id, self._settle, self._lines)
            except (MachineError, OSError) as error:
                self.state = GpuState(error=str(error))
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            with self._lines:
                failure = _end(self._child)
                self.state = summarise_readings(_readings(self._lines), failure)


def _start(bus_id: str, settle: float, lines: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start the child and wait until it is ready, dead or late."""
    command = module_command("trtzoo.hardware.nvml_worker", bus_id, str(settle))
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + START
    while child.poll() is None and not os.fstat(lines.fileno()).st_size and time.monotonic() < deadline:
        time.sleep(0.01)
    return child


def _end(child: subprocess.Popen[bytes]) -> str:
    """End the child, and say how it died, if it did."""
    end_child(child)
    code = child.returncode
    if code in (None, -signal.SIGKILL):
        return "NVML does not respond"
    if code < 0:
        return f"NVML's process died of {signal.Signals(-code).name}"
    return f"NVML's process ended with status {code}" if code else ""


def _readings(lines: IO[bytes]) -> list[Reading]:
    """All whole lines that are readings."""
    lines.seek(0)
    found = []
    for line in lines:
        with suppress(msgspec.MsgspecError):
            found.append(msgspec.json.decode(line, type=Reading))
    return found


def summarise_readings(readings: Sequence[Reading], failure: str = "") -> GpuState:
    """Summarise a GPU's readings. `failure` is why the monitor ended early, if it did."""
    taken = [reading for reading in readings if reading != Reading() and not reading.error]
    errors = [reading.error for reading in readings if reading.error]
    limited = Counter(name for reading in taken for bit, name in REASONS.items() if (reading.reasons or 0) & bit)
    processes = [reading.processes for reading in taken if reading.processes]  # 0 is no answer: ours is one of them
    return GpuState(
        **{name: _span([getattr(reading, name) for reading in taken]) for name in QUANTITIES},
        reasons=dict(limited),
        others=max(processes) - 1 if processes else None,
        readings=len(taken),
        error=errors[0] if errors else failure,
    )


def _span(values: Sequence[float | None]) -> Span | None:
    known = [value for value in values if value is not None]
    return Span(low=min(known), median=median(known), high=max(known)) if known else None
