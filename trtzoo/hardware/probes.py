"""What is installed and plugged in. Each probe is a child process: a library that crashes costs its own answer only."""

import ctypes
import importlib
import importlib.util
import runpy
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from trtzoo.core.records import Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child, serve
from trtzoo.hardware.onnx_providers import CUDA, TENSORRT, provider_problem

SECONDS = 60.0  # time limit of a probe; importing torch from a cold disk takes ten


class CudaDevice(Record, frozen=True, kw_only=True):
    """A GPU as its driver describes it; memory in bytes, `bus_id` as "0000:01:00.0", `uuid` as nvidia-smi -L prints it."""

    name: str
    sm: int
    memory: int
    bus_id: str = ""
    uuid: str = ""


class ProbeResult(Record, frozen=True, kw_only=True):
    """The result of one probe. `error` says why there is no `version`.

    `cuda` is the CUDA version that a library is built for; `features` are ONNX Runtime's execution providers, or TensorRT-RTX's
    targets, such as "SM75"; `unusable` has the providers that do not work here, with the reason.
    """

    version: str = ""
    cuda: str = ""
    features: tuple[str, ...] = ()
    unusable: dict[str, str] = msgspec.field(default_factory=dict)
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
    """Import any module; FACTS has what is asked of some."""
    try:
        module = importlib.import_module(name)
        if name == "pycuda":
            importlib.import_module("pycuda.driver")  # one that was built for another CUDA does not load
    except (ImportError, OSError, RuntimeError) as error:
        absent = isinstance(error, ModuleNotFoundError) and error.name == name
        return ProbeResult(error="not installed" if absent else f"cannot be loaded: {error}")
    found = getattr(module, "__version__", None) or _distribution(name)
    facts = FACTS[name](module) if name in FACTS else {}
    return ProbeResult(version=str(found or "unknown"), **facts)


def torch() -> ProbeResult:
    """PyTorch. Of a build without CUDA the version is enough: it needs nothing of the machine, and its import takes seconds."""
    with suppress(ImportError, OSError, ValueError, KeyError):
        spec = importlib.util.find_spec("torch")
        file = Path(str(spec and spec.origin)).with_name("version").with_suffix(".py")
        found = runpy.run_path(str(file))
        if found["cuda"] is None and not found.get("hip"):
            return ProbeResult(version=found["__version__"])
    return library("torch")


def _distribution(name: str) -> str:
    """The version of an installed distribution; empty if there is none."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return ""


def _cuda_of_wheel(module: Any) -> dict[str, Any]:
    """The CUDA release that a TensorRT from pip is built for: it is part of the distribution's name."""
    name = module.__name__.replace("_", "-")
    return {"cuda": next((release for release in ("13", "12", "11") if _distribution(f"{name}-cu{release}")), "")}


def _rtx(module: Any) -> dict[str, Any]:
    members = getattr(getattr(module, "ComputeCapability", None), "__members__", ())
    return _cuda_of_wheel(module) | {"features": tuple(member for member in members if member.startswith("SM"))}


def _onnxruntime(module: Any) -> dict[str, Any]:
    """Its providers, those for GPUs only if they work: the list of providers is fixed when ONNX Runtime is compiled."""
    build: Any = None
    with suppress(ImportError):
        build = importlib.import_module("onnxruntime.capi.build_and_package_info")
    providers = module.get_available_providers()
    tried = {name: provider_problem(module, name) for name in (CUDA, TENSORRT) if name in providers}
    unusable = {name: problem for name, problem in tried.items() if problem}
    features = tuple(name for name in providers if name not in unusable)
    return {"cuda": getattr(build, "cuda_version", ""), "features": features, "unusable": unusable}


FACTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "onnxruntime": _onnxruntime,
    "pycuda": lambda module: {"cuda": ".".join(map(str, module.driver.get_version()[:2]))},
    "tensorrt": _cuda_of_wheel,
    "tensorrt_rtx": _rtx,
    "torch": lambda module: {"cuda": module.version.cuda or ""},
}


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
    OWN = {"cuda": cuda, "driver": driver, "torch": torch}
    serve(str, lambda name, report, stopped: OWN[name]() if name in OWN else library(name))
