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

Query = Callable[[Any], Any]

PERIOD = 0.1
"""Seconds between readings."""


def _query(name: str, *arguments: int, convert: Query = int) -> Query:
    """Call NVML's function of that name, which old bindings may lack, and convert its result into our units."""
    return lambda gpu: convert(getattr(pynvml, name)(gpu, *arguments))


def _hertz(megahertz: int) -> float:
    return megahertz * 1e6


def _distinct(processes: list[Any]) -> int:
    return len({process.pid for process in processes})


QUERIES: dict[str, tuple[Query, ...]] = {
    "sm_clock": (_query("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM, convert=_hertz),),
    "memory_clock": (_query("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM, convert=_hertz),),
    "power": (_query("nvmlDeviceGetPowerUsage", convert=lambda milliwatts: milliwatts * 1e-3),),
    "temperature": (
        _query("nvmlDeviceGetTemperatureV", pynvml.NVML_TEMPERATURE_GPU),
        _query("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
    ),
    "reasons": (_query("nvmlDeviceGetCurrentClocksEventReasons"), _query("nvmlDeviceGetCurrentClocksThrottleReasons")),
    "processes": (
        _query("nvmlDeviceGetComputeRunningProcesses_v3", convert=_distinct),
        _query("nvmlDeviceGetComputeRunningProcesses_v2", convert=_distinct),
    ),
}
"""The queries for each field of a Reading: for new drivers and bindings first, then for old ones."""

NOT_REPORTED = (
    AttributeError,  # these bindings lack the function
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_NoPermission,
)


def read(gpu: Any) -> Reading:
    """One reading; a field that this GPU or driver does not report is None. Raises NVMLError if the GPU is lost."""
    found = {}
    for name, queries in QUERIES.items():
        for query in queries:
            with suppress(*NOT_REPORTED):
                found[name] = query(gpu)
                break
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
