"""Asks NVML for a GPU's state ten times a second, and sets nothing. The only file that knows pynvml.

`python -m trtzoo.hardware.nvml_worker BUS_ID SETTLE` prints Readings as lines of JSON until its stdin closes, so it ends when
its parent ends, however that happens. GPUs are named by PCI bus id: NVML counts them in an order of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pynvml

from trtzoo.hardware.gpu_monitor import Reading

Ask = Callable[[Any], Any]

PERIOD = 0.1
"""Seconds between readings."""


def _by(name: str, *arguments: int, into: Ask = int) -> Ask:
    """Ask by the function of that name, which these bindings may not have, and turn the answer into our units."""
    return lambda gpu: into(getattr(pynvml, name)(gpu, *arguments))


def _hertz(megahertz: int) -> float:
    return megahertz * 1e6


def _distinct(processes: list[Any]) -> int:
    return len({process.pid for process in processes})


QUESTIONS: dict[str, tuple[Ask, ...]] = {
    "sm_clock": (_by("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_SM, into=_hertz),),
    "memory_clock": (_by("nvmlDeviceGetClockInfo", pynvml.NVML_CLOCK_MEM, into=_hertz),),
    "power": (_by("nvmlDeviceGetPowerUsage", into=lambda milliwatts: milliwatts * 1e-3),),
    "temperature": (
        _by("nvmlDeviceGetTemperatureV", pynvml.NVML_TEMPERATURE_GPU),
        _by("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU),
    ),
    "reasons": (_by("nvmlDeviceGetCurrentClocksEventReasons"), _by("nvmlDeviceGetCurrentClocksThrottleReasons")),
    "processes": (
        _by("nvmlDeviceGetComputeRunningProcesses_v3", into=_distinct),
        _by("nvmlDeviceGetComputeRunningProcesses_v2", into=_distinct),
    ),
}
"""How each field of a Reading is asked for: as new drivers and bindings have it, then as old ones do."""

UNTOLD = (
    AttributeError,  # these bindings do not have it
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_NoPermission,
)


def read(gpu: Any) -> Reading:
    """One reading; what this GPU or driver does not tell is None. Raises NVMLError where it tells nothing any more."""
    return Reading(**{name: _ask(ways, gpu) for name, ways in QUESTIONS.items()})


def _ask(ways: tuple[Ask, ...], gpu: Any) -> Any:
    for way in ways:
        with suppress(*UNTOLD):
            return way(gpu)
    return None


def watch(bus_id: str, settle: float, tell: Callable[[Reading], object], ended: threading.Event) -> None:
    """Tell the beginning, then readings until `ended`; an error is the last."""
    try:
        pynvml.nvmlInit()
        gpu = pynvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())
        tell(Reading())
        ended.wait(settle)
        while not ended.wait(PERIOD):
            tell(read(gpu))
    except pynvml.NVMLError as error:
        tell(Reading(error=f"NVML: {error}"))


def _await_end(ended: threading.Event) -> None:
    sys.stdin.buffer.read()
    ended.set()


def main() -> None:
    ended = threading.Event()
    threading.Thread(target=_await_end, args=(ended,), daemon=True).start()
    watch(sys.argv[1], float(sys.argv[2]), lambda reading: os.write(1, msgspec.json.encode(reading) + b"\n"), ended)


if __name__ == "__main__":
    main()
