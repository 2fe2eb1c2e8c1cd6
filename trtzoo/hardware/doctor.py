"""What is here, what this machine can therefore do, and what to install for the rest."""

import platform
from pathlib import Path

from trtzoo.core.errors import MachineError
from trtzoo.core.files import free_space
from trtzoo.core.records import SCHEMA, Record
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import FLAVOURS, GPUS, check_target, identify_gpu, requirement
from trtzoo.hardware.probes import ProbeResult

ASKED = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pycuda")
SPACE = 10_000_000_000
"""What the ten networks take in FP32 and FP16: 2.3 GB of graphs and 7 GB of engines, bytes."""


class Ability(Record, frozen=True, kw_only=True):
    """One thing to do with this program: whether it can be done here, how or why not, and what brings it."""

    name: str
    can: bool
    why: str
    remedy: str = ""


class Report(Record, frozen=True, kw_only=True):
    """All of it. `free` is bytes on the disk of the working folder."""

    schema: int = SCHEMA
    python: str
    system: str
    free: int
    found: dict[str, ProbeResult]
    abilities: tuple[Ability, ...]


def examine(folder: Path) -> Report:
    """Ask this machine; a second or two, all in child processes."""
    return diagnose(probes.run_probes(*ASKED), free=free_space(folder))


def diagnose(found: dict[str, ProbeResult], *, free: int) -> Report:
    """Judge what was found; `free` is in bytes."""
    abilities = (
        _export(found),
        _ahead_of_time(found["tensorrt_rtx"]),
        _for_the_gpu(found),
        _run_onnx(found["onnxruntime"]),
        _run_engines(found),
        _disk(free),
    )
    system = f"{platform.system()} {platform.machine()}"
    return Report(python=platform.python_version(), system=system, free=free, found=found, abilities=abilities)


def _export(found: dict[str, ProbeResult]) -> Ability:
    missing = [name for name in ("torch", "onnx", "onnxruntime") if found[name].error]
    if not missing:
        return Ability(name="export", can=True, why="the ten networks to ONNX, checked")
    why = "; ".join(f"{name} {found[name].error}" for name in missing)
    return Ability(name="export", can=False, why=why, remedy=f"pip install {' '.join(missing)}")


def _ahead_of_time(rtx: ProbeResult) -> Ability:
    name = "build ahead of time"
    if rtx.error:
        install = f"pip install {FLAVOURS['rtx'].install}"
        return Ability(name=name, can=False, why=f"TensorRT-RTX is {rtx.error}", remedy=install)
    targets = [row.name for row in GPUS.values() if not row.not_rtx and f"SM{row.sm}" in rtx.features]
    return Ability(name=name, can=True, why=f"TensorRT-RTX {rtx.version} for {', '.join(targets)}")


def _for_the_gpu(found: dict[str, ProbeResult]) -> Ability:
    """TensorRT for the first GPU here."""
    name, devices, tensorrt = "build for the GPU here", found["cuda"].devices, found["tensorrt"]
    if not devices:
        return Ability(
            name=name, can=False, why=found["cuda"].error or "the driver has no GPU", remedy="a machine with an NVIDIA GPU"
        )
    gpu = identify_gpu(devices[0].name, devices[0].sm)
    if tensorrt.error:
        remedy = f"pip install '{requirement(gpu)}'"
        return Ability(name=name, can=False, why=f"TensorRT is {tensorrt.error}", remedy=remedy)
    try:
        check_target(gpu, FLAVOURS["tensorrt"], tensorrt.version)
    except MachineError as error:
        return Ability(name=name, can=False, why=str(error), remedy=f"pip install '{requirement(gpu)}'")
    return Ability(name=name, can=True, why=f"TensorRT {tensorrt.version} for {devices[0].name}")


def _run_onnx(onnxruntime: ProbeResult) -> Ability:
    name = "run ONNX files"
    if onnxruntime.error:
        return Ability(name=name, can=False, why=f"onnxruntime is {onnxruntime.error}", remedy="pip install onnxruntime")
    providers = [provider.removesuffix("ExecutionProvider") for provider in onnxruntime.features if "Azure" not in provider]
    return Ability(name=name, can=True, why=f"ONNX Runtime {onnxruntime.version} on {', '.join(providers)}")


def _run_engines(found: dict[str, ProbeResult]) -> Ability:
    name, cuda, pycuda = "run engines", found["cuda"], found["pycuda"]
    if not cuda.devices:
        return Ability(name=name, can=False, why=cuda.error or "the driver has no GPU", remedy="a machine with an NVIDIA GPU")
    flavours = [row.title for row in FLAVOURS.values() if not found[row.module].error]
    if pycuda.error or not flavours:
        why = f"PyCUDA is {pycuda.error}" if pycuda.error else "there is no TensorRT"
        return Ability(name=name, can=False, why=why, remedy="pip install 'trtzoo[gpu]'")
    return Ability(name=name, can=True, why=f"{' and '.join(flavours)} on {cuda.devices[0].name}")


def _disk(free: int) -> Ability:
    room = f"{free / 1e9:.0f} GB free; the ten networks in FP32 and FP16 take about {SPACE / 1e9:.0f}"
    return Ability(name="keep them all", can=free >= SPACE, why=room, remedy="" if free >= SPACE else "another folder")
