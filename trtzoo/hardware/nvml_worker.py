"""Reads a GPU's state from NVML ten times a second; it sets nothing. The only file that imports pynvml.

`python -m trtzoo.hardware.nvml_worker BUS_ID SETTLE` prints Readings as lines of JSON until its stdin closes, so it ends
with its parent. A GPU is named by its PCI bus id, because NVML numbers GPUs in an order of its own.
"""

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pynvml

from trtzoo.core.subprocesses import end_with_parent
from trtzoo.hardware.gpu_monitor import Reading

PERIOD = 0.1  # seconds between readings

# Field of Reading, NVML's function for it (those of new drivers and bindings first), its arguments, its unit in ours.
QUERIES: tuple[tuple[str, str, list[int], float], ...] = (
    ("sm_clock", "nvmlDeviceGetClockInfo", [pynvml.NVML_CLOCK_SM], 1e6),
    ("memory_clock", "nvmlDeviceGetClockInfo", [pynvml.NVML_CLOCK_MEM], 1e6),
    ("power", "nvmlDeviceGetPowerUsage", [], 1e-3),
    ("temperature", "nvmlDeviceGetTemperatureV", [pynvml.NVML_TEMPERATURE_GPU], 1),
    ("temperature", "nvmlDeviceGetTemperature", [pynvml.NVML_TEMPERATURE_GPU], 1),
    ("reasons", "nvmlDeviceGetCurrentClocksEventReasons", [], 1),
    ("reasons", "nvmlDeviceGetCurrentClocksThrottleReasons", [], 1),
    ("processes", "nvmlDeviceGetComputeRunningProcesses_v3", [], 1),
    ("processes", "nvmlDeviceGetComputeRunningProcesses_v2", [], 1),
)
NOT_REPORTED = (
    AttributeError,  # these bindings lack the function
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_NoPermission,
)


def read(gpu: Any) -> Reading:
    """One reading; a field that this GPU or driver does not report is None. Raises NVMLError if the GPU is lost."""
    found: dict[str, Any] = {}
    for name, function, arguments, unit in QUERIES:
        if name not in found:
            with suppress(*NOT_REPORTED):
                answer = getattr(pynvml, function)(gpu, *arguments)
                found[name] = len({process.pid for process in answer}) if isinstance(answer, list) else answer * unit
    return Reading(**found)


def monitor(bus_id: str, settle: float, send: Callable[[Reading], object], stopped: threading.Event) -> None:
    """Send an empty Reading when ready, then readings until `stopped`; an error is the last."""
    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
        send(Reading())
        stopped.wait(settle)
        while not stopped.wait(PERIOD):
            send(read(gpu))
    except pynvml.NVMLError as error:
        send(Reading(error=f"NVML: {error}"))


if __name__ == "__main__":
    stopped = end_with_parent(grace=60)  # if NVML hangs, the parent kills this process long before
    monitor(sys.argv[1], float(sys.argv[2]), lambda reading: os.write(1, msgspec.json.encode(reading) + b"\n"), stopped)
