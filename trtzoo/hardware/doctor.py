"""What this machine has, what it can therefore do, and what to install for the rest."""

import platform
from pathlib import Path

from trtzoo.core.errors import MachineError
from trtzoo.core.files import free_space
from trtzoo.core.records import SCHEMA, Record
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import FLAVOURS, GPUS, check_target, identify_gpu
from trtzoo.hardware.probes import CudaDevice, ProbeResult

PROBED = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pycuda")
SPACE = 10_000_000_000  # bytes that the ten networks take in FP32 and FP16: 2.3 GB of graphs and 7 GB of engines


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
    cuda, rtx, onnxruntime = found["cuda"], found["tensorrt_rtx"], found["onnxruntime"]
    missing = [name for name in ("torch", "onnx", "onnxruntime") if found[name].error]
    targets = ", ".join(row.name for row in GPUS.values() if not row.not_rtx and f"SM{row.sm}" in rtx.features)
    providers = ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.features if "Azure" not in name)
    flavours = " and ".join(row.title for row in FLAVOURS.values() if not found[row.module].error)
    gpu = cuda.devices[0].name if cuda.devices else ""
    building = running = (cuda.error or "the driver reports no GPU", "use a machine with an NVIDIA GPU")
    if cuda.devices:
        building = _building_problem(cuda.devices[0], found["tensorrt"])
        absent = _error("PyCUDA", found["pycuda"]) or ("" if flavours else _error("TensorRT", found["tensorrt"]))
        running = (absent, "trtzoo setup")
    space = f"{free / 1e9:.0f} GB free; the ten networks in FP32 and FP16 take about {SPACE / 1e9:.0f} GB"
    rows = {  # what this machine can do, or else the problem and its remedy
        "export": (
            "the ten networks to ONNX, checked",
            "; ".join(f"{name} {found[name].error}" for name in missing),
            "trtzoo setup",
        ),
        "build ahead of time": (
            f"TensorRT-RTX {rtx.version} for {targets}",
            _error("TensorRT-RTX", rtx),
            f"pip install {FLAVOURS['rtx'].install}",
        ),
        "build for this GPU": (f"TensorRT {found['tensorrt'].version} for {gpu}", *building),
        "run ONNX files": (
            f"ONNX Runtime {onnxruntime.version} on {providers}",
            _error("onnxruntime", onnxruntime),
            "trtzoo setup",
        ),
        "run engines": (f"{flavours} on {gpu}", *running),
        "keep all files": (space, "" if free >= SPACE else space, "use a folder on a larger disk"),
    }
    return Report(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        free=free,
        found=found,
        abilities=tuple(
            Ability(name=name, can=not problem, why=problem or good, remedy=remedy if problem else "")
            for name, (good, problem, remedy) in rows.items()
        ),
    )


def _error(title: str, found: ProbeResult) -> str:
    return f"{title} is {found.error}" if found.error else ""


def _building_problem(device: CudaDevice, tensorrt: ProbeResult) -> tuple[str, str]:
    """What keeps TensorRT from building for a GPU, empty if nothing does, and what to install then."""
    gpu, problem = identify_gpu(device.name, device.sm), _error("TensorRT", tensorrt)
    if gpu.unsupported:
        return f"{gpu.title} is not supported: {gpu.unsupported}", "use a machine with another NVIDIA GPU"
    try:
        if not problem:
            check_target(gpu, FLAVOURS["tensorrt"], tensorrt.version)
    except MachineError as error:
        problem = str(error)
    return problem, "trtzoo setup"
