"""Monitors a GPU while a case is sampled: clocks and what limits them, power, temperature, other processes. It sets nothing.

A child process asks NVML, so neither NVML's calls nor its crashes disturb the measurement. It is this file:
`python -m trtzoo.hardware.gpu_monitor BUS_ID SETTLE` prints Readings as lines of JSON until its stdin closes, so it ends with
its parent.
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

import msgspec

from trtzoo.core.errors import MachineError
from trtzoo.core.modules import require_module
from trtzoo.core.records import Device, GpuSettings, GpuState, Record, Span
from trtzoo.core.subprocesses import end_child, end_with_parent, module_command
from trtzoo.hardware.nvml import QUERIES, REASONS, ask, open_gpu, read_settings

QUANTITIES = ("sm_clock", "memory_clock", "power", "temperature", "memory")
START, PERIOD = 10.0, 0.1  # seconds that the child may take until it is ready, and between readings


class Reading(Record, frozen=True, kw_only=True, omit_defaults=True):
    """One reading of NVML, in GpuState's units; `reasons` are NVML's bits, `processes` includes ours; None: not reported.

    The child's first line is an empty Reading: it is ready. One line has the `settings` only. A Reading with an `error` is its
    last.
    """

    sm_clock: float | None = None
    memory_clock: float | None = None
    power: float | None = None
    temperature: float | None = None
    memory: float | None = None
    reasons: int | None = None
    processes: int | None = None
    settings: GpuSettings | None = None
    error: str = ""


class GpuMonitor:
    """Monitors a GPU during a `with` block. Raises nothing.

    Afterwards `state` has the summary, or None for a processor, and `settings` the GPU's settings, or None if they could not be
    read. Reading starts after `settle` seconds, when the clocks have risen from idle.
    """

    state: GpuState | None = None
    settings: GpuSettings | None = None
    _child: subprocess.Popen[bytes] | None = None

    def __init__(self, device: Device, *, settle: float = 0.0) -> None:
        self._device, self._settle = device, settle

    def __enter__(self) -> "GpuMonitor":
        """Start the child and wait until it is ready, dead or late."""
        if self._device.kind != "gpu":
            return self
        command = module_command("trtzoo.hardware.gpu_monitor", self._device.bus_id, str(self._settle))
        try:
            require_module("the GPU monitor", module="pynvml")
            self._lines = tempfile.TemporaryFile()  # a pipe would fill up; __exit__ closes it
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=self._lines, stderr=subprocess.DEVNULL)
        except (MachineError, OSError) as error:
            self.state = GpuState(error=str(error))
            return self
        deadline = time.monotonic() + START
        while child.poll() is None and not os.fstat(self._lines.fileno()).st_size and time.monotonic() < deadline:
            time.sleep(0.01)
        self._child = child
        return self

    def __exit__(self, *_: object) -> None:
        """End the child and read its lines; the last may be cut short."""
        if self._child is None:
            return
        end_child(self._child)
        readings = []
        with self._lines:
            self._lines.seek(0)
            for line in self._lines:
                with suppress(msgspec.MsgspecError):
                    readings.append(msgspec.json.decode(line, type=Reading))
        self.state = summarise_readings(readings, _failure(self._child.returncode))
        self.settings = next((reading.settings for reading in readings if reading.settings), None)


def _failure(code: int | None) -> str:
    if code in (None, -signal.SIGKILL):
        return "NVML does not respond"
    if code < 0:
        return f"NVML's process died of {signal.Signals(-code).name}"
    return f"NVML's process ended with status {code}" if code else ""


def summarise_readings(readings: Sequence[Reading], failure: str = "") -> GpuState:
    """Summarise a GPU's readings. `failure` is why the monitor ended early, if it did."""
    taken = [reading for reading in readings if reading != Reading() and not reading.error and not reading.settings]
    errors = [reading.error for reading in readings if reading.error]
    limited = Counter(name for reading in taken for name, bit in REASONS.items() if (reading.reasons or 0) & bit)
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


def _send(reading: Reading) -> None:
    os.write(1, msgspec.json.encode(reading) + b"\n")


def _monitor(bus_id: str, settle: float) -> None:
    """Send an empty Reading when ready, then the settings, then readings until stdin closes; an error is the last."""
    import pynvml

    stopped = end_with_parent(grace=60)  # if NVML hangs, the parent kills this process long before
    try:
        gpu = open_gpu(bus_id)
        _send(Reading())
        stopped.wait(settle)
        _send(Reading(settings=read_settings(gpu)))  # now, because an idle GPU's link is slower
        while not stopped.wait(PERIOD):
            _send(Reading(**ask(gpu, QUERIES)))
    except pynvml.NVMLError as error:
        _send(Reading(error=f"NVML: {error}"))


if __name__ == "__main__":
    _monitor(sys.argv[1], float(sys.argv[2]))
