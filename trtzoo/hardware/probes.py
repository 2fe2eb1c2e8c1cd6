"""What is installed and plugged in. Each probe is a child process: a library that crashes costs its own answer only."""

import ctypes
import importlib
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from trtzoo.core.records import Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve

SECONDS = 60.0
"""Time limit of a probe; importing torch from a cold disk takes ten."""


class CudaDevice(Record, frozen=True, kw_only=True):
    """A GPU as its driver describes it; memory in bytes, `bus_id` as "0000:01:00.0"."""

    name: str
    sm: int
    memory: int
    bus_id: str = ""


class ProbeResult(Record, frozen=True, kw_only=True):
    """The result of one probe. `error` says why there is no `version`; `features` are what the library says it can do."""

    version: str = ""
    features: tuple[str, ...] = ()
    devices: tuple[CudaDevice, ...] = ()
    error: str = ""


def run_probes(*names: str) -> dict[str, ProbeResult]:
    """Run the named probes at once, each in its own process. A name that is not in PROBES is a module's."""
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(_run_probe, names), strict=True))


def _run_probe(name: str, seconds: float = SECONDS) -> ProbeResult:
    command = module_command("trtzoo.hardware.probes")
    try:
        return run_child(command, name, answer=ProbeResult, timeout=seconds, name="the probe")
    except ChildError as error:
        return ProbeResult(error=str(error))


def library(name: str, features: Callable[[Any], Iterable[str]] = lambda module: ()) -> ProbeResult:
    """Import any module; `features` reads its features from it."""
    try:
        module = importlib.import_module(name)
    except (ImportError, OSError, RuntimeError) as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        return ProbeResult(error="not installed" if absent else f"cannot be loaded: {error}")
    found = getattr(module, "__version__", None)
    return ProbeResult(version=str(found) if found else _installed_version(name), features=tuple(features(module)))


def _installed_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def onnxruntime() -> ProbeResult:
    """Features: the execution providers."""
    return library("onnxruntime", lambda module: module.get_available_providers())


def tensorrt_rtx() -> ProbeResult:
    """Features: the compute capabilities that it builds for, such as "SM75"."""

    def capabilities(module: Any) -> Iterable[str]:
        members = module.ComputeCapability.__members__ if hasattr(module, "ComputeCapability") else ()
        return (name for name in members if name.startswith("SM"))

    return library("tensorrt_rtx", capabilities)


def pycuda() -> ProbeResult:
    """PyCUDA with its driver module: one that was built for another CUDA does not load."""
    found = library("pycuda")
    if found.error:
        return found
    return msgspec.structs.replace(library("pycuda.driver"), version=_installed_version("pycuda"))


def cuda() -> ProbeResult:
    """The driver ("550.54.15, CUDA 12.4") and its devices."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ProbeResult(error="no NVIDIA driver")
    if status := driver.cuInit(0):
        return ProbeResult(error=f"the driver's cuInit failed with error {status}")
    number = _integer(driver.cuDriverGetVersion)
    supported = f"CUDA {number // 1000}.{number % 1000 // 10}"
    release = _run_probe("driver", seconds=10).version  # its own process: NVML may hang where the driver does not
    devices = tuple(_device(driver, index) for index in range(_integer(driver.cuDeviceGetCount)))
    return ProbeResult(version=", ".join(filter(None, [release, supported])), devices=devices)


def _device(driver: ctypes.CDLL, index: int) -> CudaDevice:
    handle, memory = _integer(driver.cuDeviceGet, index), ctypes.c_size_t()
    name, bus_id = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    driver.cuDeviceGetPCIBusId(bus_id, len(bus_id), handle)
    # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    major, minor = (_integer(driver.cuDeviceGetAttribute, code, handle) for code in (75, 76))
    texts = [text.value.decode(errors="replace") for text in (name, bus_id)]
    return CudaDevice(name=texts[0], sm=10 * major + minor, memory=memory.value, bus_id=texts[1])


def _integer(function: Any, *arguments: int) -> int:
    """The integer that a function of the driver writes to its first argument."""
    value = ctypes.c_int()
    function(ctypes.byref(value), *arguments)
    return value.value


def driver() -> ProbeResult:
    """The driver's own version, which only NVML reports."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return ProbeResult(error="no NVML")
    text = ctypes.create_string_buffer(96)
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(text, len(text)):
        return ProbeResult(error="NVML does not report the driver's version")
    return ProbeResult(version=text.value.decode(errors="replace"))


PROBES = {"onnxruntime": onnxruntime, "tensorrt_rtx": tensorrt_rtx, "pycuda": pycuda, "cuda": cuda, "driver": driver}
"""Probes that report more than a module's version."""


if __name__ == "__main__":
    serve(str, lambda name, report, stopped: PROBES[name]() if name in PROBES else library(name))
