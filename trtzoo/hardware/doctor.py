"""What this machine has, what it can therefore do, and what to install for the rest."""

import platform
from pathlib import Path

from trtzoo.core.errors import MachineError
from trtzoo.core.files import free_space
from trtzoo.core.records import SCHEMA, Record
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import FLAVOURS, GPUS, check_target, identify_gpu, requirement
from trtzoo.hardware.probes import ProbeResult

PROBED = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pycuda")
SPACE = 10_000_000_000
"""Bytes that the ten networks take in FP32 and FP16: 2.3 GB of graphs and 7 GB of engines."""

NO_GPU = "use a machine with an NVIDIA GPU"


class Ability(Record, frozen=True, kw_only=True):
    """One thing that trtzoo does: whether this machine can do it, how or why not, and what to install for it."""

    name: str
    can: bool
    why: str
    remedy: str = ""


class Report(Record, frozen=True, kw_only=True):
    """The whole report. `free` is the space in the working folder, bytes."""

    schema: int = SCHEMA
    python: str
    system: str
    free: int
    found: dict[str, ProbeResult]
    abilities: tuple[Ability, ...]


def examine(folder: Path) -> Report:
    """Probe this machine, in child processes; a second or two."""
    return diagnose(probes.run_probes(*PROBED), free=free_space(folder))


def diagnose(found: dict[str, ProbeResult], *, free: int) -> Report:
    """Judge what was found; `free` is in bytes."""
    space = f"{free / 1e9:.0f} GB free; the ten networks in FP32 and FP16 take about {SPACE / 1e9:.0f} GB"
    answers = {
        "export": _export(found),
        "build ahead of time": _build_ahead_of_time(found["tensorrt_rtx"]),
        "build for this GPU": _build_for_the_gpu(found["cuda"], found["tensorrt"]),
        "run ONNX files": _run_onnx(found["onnxruntime"]),
        "run engines": _run_engines(found),
        "keep all files": (space, "" if free >= SPACE else "use a folder on a larger disk"),
    }
    return Report(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        free=free,
        found=found,
        abilities=tuple(Ability(name=n, can=not remedy, why=why, remedy=remedy) for n, (why, remedy) in answers.items()),
    )


Answer = tuple[str, str]
"""Ability's why and remedy; without a remedy, the machine can do it."""


def _export(found: dict[str, ProbeResult]) -> Answer:
    missing = [name for name in ("torch", "onnx", "onnxruntime") if found[name].error]
    if not missing:
        return "the ten networks to ONNX, checked", ""
    return "; ".join(f"{name} {found[name].error}" for name in missing), f"pip install {' '.join(missing)}"


def _build_ahead_of_time(rtx: ProbeResult) -> Answer:
    if rtx.error:
        return f"TensorRT-RTX is {rtx.error}", f"pip install {FLAVOURS['rtx'].install}"
    targets = [row.name for row in GPUS.values() if not row.not_rtx and f"SM{row.sm}" in rtx.features]
    return f"TensorRT-RTX {rtx.version} for {', '.join(targets)}", ""


def _build_for_the_gpu(cuda: ProbeResult, tensorrt: ProbeResult) -> Answer:
    """TensorRT, for the first GPU."""
    if not cuda.devices:
        return cuda.error or "the driver reports no GPU", NO_GPU
    device = cuda.devices[0]
    gpu = identify_gpu(device.name, device.sm)
    remedy = f"pip install '{requirement(gpu)}'"
    if tensorrt.error:
        return f"TensorRT is {tensorrt.error}", remedy
    try:
        check_target(gpu, FLAVOURS["tensorrt"], tensorrt.version)
    except MachineError as error:
        return str(error), remedy
    return f"TensorRT {tensorrt.version} for {device.name}", ""


def _run_onnx(onnxruntime: ProbeResult) -> Answer:
    if onnxruntime.error:
        return f"onnxruntime is {onnxruntime.error}", "pip install onnxruntime"
    providers = [provider.removesuffix("ExecutionProvider") for provider in onnxruntime.features if "Azure" not in provider]
    return f"ONNX Runtime {onnxruntime.version} on {', '.join(providers)}", ""


def _run_engines(found: dict[str, ProbeResult]) -> Answer:
    cuda, pycuda = found["cuda"], found["pycuda"]
    if not cuda.devices:
        return cuda.error or "the driver reports no GPU", NO_GPU
    flavours = [row.title for row in FLAVOURS.values() if not found[row.module].error]
    if pycuda.error or not flavours:
        missing = f"PyCUDA is {pycuda.error}" if pycuda.error else f"TensorRT is {found['tensorrt'].error}"
        return missing, "pip install 'trtzoo[gpu]'"
    return f"{' and '.join(flavours)} on {cuda.devices[0].name}", ""
