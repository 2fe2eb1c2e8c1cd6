"""What is installed and plugged in. Each probe is a child process: a library that crashes costs its own answer only."""

import ctypes
import importlib
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from typing import Any
from uuid import UUID

from trtzoo.core.records import Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve

SECONDS = 60.0  # time limit of a probe; importing torch from a cold disk takes ten


class CudaDevice(Record, frozen=True, kw_only=True):
    """A GPU as its driver describes it; memory in bytes, `bus_id` as "0000:01:00.0", `uuid` as nvidia-smi -L prints it."""

    name: str
    sm: int
    memory: int
    bus_id: str = ""
    uuid: str = ""


class ProbeResult(Record, frozen=True, kw_only=True):
    """The result of one probe. `error` says why there is no `version`; `features` are what the library says it can do."""

    version: str = ""
    features: tuple[str, ...] = ()
    devices: tuple[CudaDevice, ...] = ()
    error: str = ""


def run_probes(*names: str) -> dict[str, ProbeResult]:
    """Run the named probes at once, each in its own process. They are "cuda" and modules."""
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(_run_probe, names), strict=True))


def _run_probe(name: str, seconds: float = SECONDS) -> ProbeResult:
    command = module_command("trtzoo.hardware.probes")
    try:
        return run_child(command, name, answer=ProbeResult, timeout=seconds, name="the probe")
    except ChildError as error:
        return ProbeResult(error=str(error))


def library(name: str) -> ProbeResult:
    """Import any module. Features: ONNX Runtime's execution providers, TensorRT-RTX's targets, such as "SM75"."""
    try:
        module = importlib.import_module(name)
        if name == "pycuda":
            importlib.import_module("pycuda.driver")  # one that was built for another CUDA does not load
    except (ImportError, OSError, RuntimeError) as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        return ProbeResult(error="not installed" if absent else f"cannot be loaded: {error}")
    found = getattr(module, "__version__", None)
    if not found:
        with suppress(metadata.PackageNotFoundError):
            found = metadata.version(name)
    features: Iterable[str] = ()
    if name == "onnxruntime":
        features = module.get_available_providers()
    elif name == "tensorrt_rtx" and hasattr(module, "ComputeCapability"):
        features = (member for member in module.ComputeCapability.__members__ if member.startswith("SM"))
    return ProbeResult(version=str(found or "unknown"), features=tuple(features))


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
    return CudaDevice(
        name=texts[0], sm=10 * major + minor, memory=memory.value, bus_id=texts[1], uuid=_uuid(driver, handle, texts[0])
    )


def _uuid(driver: ctypes.CDLL, handle: int, name: str) -> str:
    """The UUID that CUDA_VISIBLE_DEVICES takes, of a MIG instance its own; empty if the driver does not report it."""
    raw = (ctypes.c_ubyte * 16)()
    function = getattr(driver, "cuDeviceGetUuid_v2", None) or getattr(driver, "cuDeviceGetUuid", None)
    if function is None or function(raw, handle):
        return ""
    return f"{'MIG' if ' MIG ' in name else 'GPU'}-{UUID(bytes=bytes(raw))}"


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


if __name__ == "__main__":
    OWN = {"cuda": cuda, "driver": driver}
    serve(str, lambda name, report, stopped: OWN[name]() if name in OWN else library(name))
