"""A watch on the GPU while a case is sampled: its clocks, what holds them down, its power and heat, and who else is on it.

NVML is asked by a child process (nvml_worker.py), so neither its calls nor its death disturb what is measured. Nothing is set.
"""

import os
import signal
import subprocess
import sys
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

START = 10.0
"""Seconds that the child may take to its first word."""

GRACE = 2.0
"""Seconds that it may take to end; a lost GPU can hold NVML's calls for ever."""

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
"""NVML's clock-event bits. Idle (1) and the application-clocks setting (2) hold nothing down: the second is a user's wish."""


class Reading(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What NVML told at one time, in GpuState's units; `reasons` is its bits, `processes` counts ours, too.

    The child's first line has nothing in it: the watch has begun. One with an `error` is its last.
    """

    sm_clock: float | None = None
    memory_clock: float | None = None
    power: float | None = None
    temperature: float | None = None
    reasons: int | None = None
    processes: int | None = None
    error: str = ""


class GpuMonitor:
    """Watches a GPU while a `with` block runs; `state` is there afterwards, None for a processor. Raises nothing.

    For the first `settle` seconds, while clocks rise from idle, nothing is read.
    """

    state: GpuState | None = None
    _child: subprocess.Popen[bytes] | None = None

    def __init__(self, device: Device, *, settle: float = 0.0) -> None:
        self._device, self._settle = device, settle

    def __enter__(self) -> "GpuMonitor":
        if self._device.kind == "gpu":
            try:
                require_module("a watch on the GPU", module="pynvml", extra="gpu")
                self._lines = tempfile.TemporaryFile()  # a pipe would fill; __exit__ closes it
                self._child = _start(self._device.bus_id, self._settle, self._lines)
            except (MachineError, OSError) as error:
                self.state = GpuState(error=str(error))
        return self

    def __exit__(self, *_: object) -> None:
        if self._child:
            with self._lines:
                death = _end(self._child)
                self.state = summary(_readings(self._lines), death)


def _start(bus_id: str, settle: float, lines: IO[bytes]) -> subprocess.Popen[bytes]:
    """The child, which has said its first word, or is dead, or is given up."""
    command = [sys.executable, "-m", "trtzoo.hardware.nvml_worker", bus_id, str(settle)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=lines, stderr=subprocess.DEVNULL)
    late = time.monotonic() + START
    while child.poll() is None and not os.fstat(lines.fileno()).st_size and time.monotonic() < late:
        time.sleep(0.01)
    return child


def _end(child: subprocess.Popen[bytes]) -> str:
    """Let the child end, by closing its stdin; how it died, where it did."""
    assert child.stdin is not None
    child.stdin.close()
    try:
        code = child.wait(GRACE)
    except subprocess.TimeoutExpired:
        child.kill()
        with suppress(subprocess.TimeoutExpired):  # in the kernel it cannot be killed
            child.wait(GRACE)
        return "NVML does not answer any more"
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


def summary(readings: Sequence[Reading], death: str = "") -> GpuState:
    """What a GPU's readings come to. `death` says how their taking ended, where it was not as it should."""
    taken = [reading for reading in readings if reading != Reading() and not reading.error]
    errors = [*(reading.error for reading in readings if reading.error), *filter(None, [death])]
    held = Counter(name for reading in taken for bit, name in REASONS.items() if (reading.reasons or 0) & bit)
    processes = [reading.processes for reading in taken if reading.processes]  # 0 cannot be: ours is there
    return GpuState(
        sm_clock=_span([reading.sm_clock for reading in taken]),
        memory_clock=_span([reading.memory_clock for reading in taken]),
        power=_span([reading.power for reading in taken]),
        temperature=_span([reading.temperature for reading in taken]),
        reasons=dict(held),
        others=max(processes) - 1 if processes else None,
        readings=len(taken),
        error=errors[0] if errors else "",
    )


def _span(values: Sequence[float | None]) -> Span | None:
    told = [value for value in values if value is not None]
    return Span(low=min(told), median=median(told), high=max(told)) if told else None
