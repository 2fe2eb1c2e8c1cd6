"""NVML, the library of NVIDIA's driver: nvml.toml says what is asked of it. Only child processes call it: it may hang or crash.

`python -m trtzoo.hardware.nvml` reads a PCI bus id and answers with the GPU's ClockOptions, by core/subprocesses.py.
"""

from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

import msgspec

from trtzoo.core.errors import MachineError
from trtzoo.core.records import GpuSettings, Record
from trtzoo.core.subprocesses import serve

Query = tuple[str, list[int], float]
_NVML = msgspec.toml.decode((files("trtzoo.hardware") / "nvml.toml").read_bytes())
QUERIES: dict[str, list[Query]] = _NVML["queries"]
REASONS: dict[str, int] = _NVML["reasons"]
SETTINGS: dict[str, list[Query]] = _NVML["settings"]
MODES: dict[str, list[str]] = _NVML["modes"]


class ClockOptions(Record, frozen=True, kw_only=True):
    """What a clock is chosen by: the settings, and the SM clocks in Hz that the GPU can be locked at."""

    settings: GpuSettings
    sm_clocks: tuple[float, ...] = ()


def unreported() -> tuple[type[Exception], ...]:
    """The errors for what this GPU, driver or user cannot ask, and for functions or arguments that old bindings lack."""
    import pynvml

    return (
        AttributeError,
        TypeError,
        pynvml.NVMLError_FunctionNotFound,
        pynvml.NVMLError_NotSupported,
        pynvml.NVMLError_NoPermission,
    )


def ask(gpu: Any, queries: Mapping[str, list[Query]]) -> dict[str, Any]:
    """The answers that NVML has, in our units. Raises NVMLError if the GPU is lost."""
    import pynvml

    found: dict[str, Any] = {}
    for name, functions in queries.items():
        for function, arguments, unit in functions:
            with suppress(*unreported()):
                answer = getattr(pynvml, function)(gpu, *arguments)
                found[name] = _number(answer) * unit
                break
    return found


def _number(answer: Any) -> Any:
    """NVML's number; of memory the used bytes; of a current and a pending mode the current one; of processes their count."""
    if not isinstance(answer, list):
        return getattr(answer, "used", answer)
    return answer[0] if answer and isinstance(answer[0], int) else len({process.pid for process in answer})


def read_settings(gpu: Any) -> GpuSettings:
    """The GPU's settings now. Raises NVMLError if the GPU is lost."""
    found = ask(gpu, SETTINGS)
    for name, words in MODES.items():
        if name in found:
            found[name] = dict(enumerate(words)).get(found[name], f"unknown mode {found[name]}")
    return GpuSettings(**found)


def open_gpu(bus_id: str) -> Any:
    """NVML's handle. Raises NVMLError. NVML numbers GPUs in an order of its own, so the PCI bus id names the GPU."""
    import pynvml

    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByPciBusId(bus_id.encode())


def _clock_options(bus_id: str) -> ClockOptions:
    import pynvml

    try:
        gpu = open_gpu(bus_id)
        settings, clocks = read_settings(gpu), []
        with suppress(*unreported()):
            memory = max(pynvml.nvmlDeviceGetSupportedMemoryClocks(gpu))
            clocks = pynvml.nvmlDeviceGetSupportedGraphicsClocks(gpu, memory)
    except pynvml.NVMLError as error:
        raise MachineError(f"NVML: {error}") from error
    return ClockOptions(settings=settings, sm_clocks=tuple(clock * 1e6 for clock in sorted(clocks)))


if __name__ == "__main__":
    serve(str, lambda bus_id, report, stopped: _clock_options(bus_id))
