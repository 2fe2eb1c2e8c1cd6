"""What is installed and plugged in, asked in child processes: a library or a driver that crashes costs its own answer only."""

import ctypes
import importlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from trtzoo.core.records import Record

SECONDS = 60.0
"""How long a child may take; torch on a cold disk takes ten."""


class CudaDevice(Record, frozen=True, kw_only=True):
    """A GPU as its driver tells it; memory in bytes, `bus_id` as "0000:01:00.0"."""

    name: str
    sm: int
    memory: int
    bus_id: str = ""


class ProbeResult(Record, frozen=True, kw_only=True):
    """One probe's answer. `error` says why there is no `version`; `features` are a library's own list of what it can."""

    version: str = ""
    features: tuple[str, ...] = ()
    devices: tuple[CudaDevice, ...] = ()
    error: str = ""


def run_probes(*names: str) -> dict[str, ProbeResult]:
    """The answers of the named probes, each from its own process, all at once."""
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        return dict(zip(names, pool.map(_ask, names), strict=True))


def _ask(name: str, seconds: float = SECONDS) -> ProbeResult:
    command = [sys.executable, "-m", "trtzoo.hardware.probes", name]
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=False)
        if done.returncode == 0:
            return msgspec.json.decode(done.stdout.splitlines()[-1], type=ProbeResult)
        last = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return ProbeResult(error=f"the probe ended with status {done.returncode}: {' '.join(last) or 'it said nothing'}")
    except subprocess.TimeoutExpired:
        return ProbeResult(error=f"no answer in {seconds:.0f} s")


def _module(name: str) -> tuple[Any, ProbeResult]:
    """An imported module and its version, or None and why not."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            return None, ProbeResult(error=f"cannot be loaded: {error}")
        return None, ProbeResult(error="not installed")
    except (ImportError, OSError, RuntimeError) as error:
        return None, ProbeResult(error=f"cannot be loaded: {error}")
    found = getattr(module, "__version__", None)
    return module, ProbeResult(version=str(found) if found else _installed(name))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def library(name: str) -> ProbeResult:
    return _module(name)[1]


def onnxruntime() -> ProbeResult:
    """Features: the execution providers."""
    module, answer = _module("onnxruntime")
    return msgspec.structs.replace(answer, features=tuple(module.get_available_providers())) if module else answer


def tensorrt_rtx() -> ProbeResult:
    """Features: the compute capabilities it builds for, "SM75" and so on."""
    module, answer = _module("tensorrt_rtx")
    members = module.ComputeCapability.__members__ if module and hasattr(module, "ComputeCapability") else ()
    return msgspec.structs.replace(answer, features=tuple(name for name in members if name.startswith("SM")))


def pycuda() -> ProbeResult:
    """Its driver module, too, loads: a PyCUDA built for another CUDA does not."""
    answer = _module("pycuda")[1]
    if answer.error:
        return answer
    return msgspec.structs.replace(_module("pycuda.driver")[1], version=_installed("pycuda"))


def cuda() -> ProbeResult:
    """The driver ("550.54.15, CUDA 12.4") and its devices."""
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return ProbeResult(error="no NVIDIA driver")
    if status := driver.cuInit(0):
        return ProbeResult(error=f"the driver answers cuInit with error {status}")
    number, count = ctypes.c_int(), ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(number))
    driver.cuDeviceGetCount(ctypes.byref(count))
    supported = f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"
    devices = tuple(_device(driver, index) for index in range(count.value))
    release = _ask("driver", seconds=10).version  # a process of its own: NVML may hang where the driver does not
    return ProbeResult(version=", ".join(filter(None, [release, supported])), devices=devices)


def _device(driver: ctypes.CDLL, index: int) -> CudaDevice:
    handle, memory = ctypes.c_int(), ctypes.c_size_t()
    name, bus = ctypes.create_string_buffer(256), ctypes.create_string_buffer(32)
    driver.cuDeviceGet(ctypes.byref(handle), index)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    driver.cuDeviceGetPCIBusId(bus, len(bus), handle)
    major, minor = (_attribute(driver, handle, code) for code in (75, 76))  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_…
    label, place = name.value.decode(errors="replace"), bus.value.decode(errors="replace")
    return CudaDevice(name=label, sm=10 * major + minor, memory=memory.value, bus_id=place)


def _attribute(driver: ctypes.CDLL, handle: ctypes.c_int, code: int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), code, handle)
    return value.value


def driver() -> ProbeResult:
    """The driver's own number, which only NVML tells."""
    try:
        nvml = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return ProbeResult(error="no NVML")
    text = ctypes.create_string_buffer(96)
    known = nvml.nvmlInit_v2() == 0 and nvml.nvmlSystemGetDriverVersion(text, len(text)) == 0
    return ProbeResult(version=text.value.decode(errors="replace")) if known else ProbeResult(error="NVML does not tell")


PROBES = {"onnxruntime": onnxruntime, "tensorrt_rtx": tensorrt_rtx, "pycuda": pycuda, "cuda": cuda, "driver": driver}
"""Those that tell more than a version; any other name is a module's."""


def main() -> None:
    name = sys.argv[1]
    answer = PROBES[name]() if name in PROBES else library(name)
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(answer) + b"\n")


if __name__ == "__main__":
    main()
