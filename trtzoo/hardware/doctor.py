"""What this machine has, what it can therefore do, and what to install for the rest."""

import os
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from trtzoo.core.errors import MachineError
from trtzoo.core.files import cache_folder, free_space
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import SCHEMA, Record
from trtzoo.core.system import bf16_instructions
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import FLAVOURS, GPUS, Gpu, check_target, identify_gpu, version_numbers
from trtzoo.hardware.onnx_providers import CUDA, TENSORRT
from trtzoo.hardware.probes import CudaDevice, ProbeResult
from trtzoo.hardware.software import driver_problem, find_stack

PROBED = ("torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "pycuda")
SPACE = 10_000_000_000  # bytes that the ten networks take in FP32 and FP16: 2.3 GB of graphs and 7 GB of engines


class Ability(Record, frozen=True, kw_only=True):
    """One thing that trtzoo does: whether this machine can do it, how or why not, and what to install for it."""

    name: str
    can: bool
    why: str
    remedy: str = ""


class FolderSize(Record, frozen=True, kw_only=True):
    """A folder of trtzoo's, and what its files take, bytes."""

    name: str
    path: str
    files: int
    bytes: int


class Report(Record, frozen=True, kw_only=True):
    """The whole report. `free` is the space in the working folder, bytes."""

    schema: int = SCHEMA
    trtzoo: str
    python: str
    system: str
    free: int
    found: dict[str, ProbeResult]
    abilities: tuple[Ability, ...]
    folders: tuple[FolderSize, ...]


def examine(folder: Path) -> Report:
    """Probe this machine, in child processes at once, and measure the cache and the folders in `folder`."""
    places = {"cache": cache_folder()} | {name: folder / name for name in ("onnx", "engines", "benchmarks")}
    sizes = tuple(folder_size(name, path) for name, path in places.items())
    return diagnose(probes.run_probes(*PROBED), free=free_space(folder), folders=sizes)


def folder_size(name: str, path: Path) -> FolderSize:
    """What the files in a folder's tree take; a link counts as itself."""
    sizes = []
    for root, _, names in os.walk(path):
        for each in names:
            with suppress(OSError):  # deleted meanwhile
                sizes.append((Path(root) / each).lstat().st_size)
    return FolderSize(name=name, path=str(path), files=len(sizes), bytes=sum(sizes))


def diagnose(found: dict[str, ProbeResult], *, free: int, folders: tuple[FolderSize, ...] = ()) -> Report:
    """Judge what was found; `free` is in bytes."""
    rtx, onnxruntime = found["tensorrt_rtx"], found["onnxruntime"]
    missing = [name for name in ("torch", "onnx", "onnxruntime") if found[name].error]
    targets = ", ".join(row.name for row in GPUS.values() if not row.not_rtx and f"SM{row.sm}" in rtx.features)
    openvino = found.get("openvino", ProbeResult(error="not installed"))
    also = "" if openvino.error else f", OpenVINO {openvino.version.split('-')[0]}"
    half = "" if openvino.error else f"; bf16 by {bf16_instructions()}"
    space = f"{free / 1e9:.0f} GB free; the ten networks in FP32 and FP16 take about {SPACE / 1e9:.0f} GB"
    rows = {  # what this machine can do, or else the problem and its remedy
        "export": (
            "the ten networks to ONNX, checked",
            "; ".join(f"{name} {found[name].error}" for name in missing),
            "trtzoo setup",
        ),
        "build ahead of time": (
            f"TensorRT-RTX {rtx.version} for {targets}; {_types_since()}",
            _error("TensorRT-RTX", rtx),
            f"pip install {FLAVOURS['rtx'].install}",
        ),
        "run ONNX files": (
            f"ONNX Runtime {onnxruntime.version} on {_providers(onnxruntime)}{also}{half}",
            _error("onnxruntime", onnxruntime),
            "trtzoo setup",
        ),
        **_on_gpu(found),
        "keep all files": (space, "" if free >= SPACE else space, "use a folder on a larger disk"),
    }
    return Report(
        trtzoo=version("trtzoo"),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        free=free,
        found=found,
        abilities=tuple(
            Ability(name=name, can=not problem, why=problem or good, remedy=remedy if problem else "")
            for name, (good, problem, remedy) in rows.items()
        ),
        folders=folders,
    )


def _on_gpu(found: dict[str, ProbeResult]) -> dict[str, tuple[str, str, str]]:
    """What the first GPU can be used for, as in `diagnose`."""
    cuda, onnxruntime, torch, tensorrt = (found[name] for name in ("cuda", "onnxruntime", "torch", "tensorrt"))
    gpu = cuda.devices[0] if cuda.devices else None
    here = gpu.name if gpu else ""
    engines = {row.title: _problem(row.title, found[row.module], cuda.version) for row in FLAVOURS.values()}
    flavours = " and ".join(title for title, problem in engines.items() if not problem)
    runtime, pytorch = f"ONNX Runtime {onnxruntime.version}", f"PyTorch {torch.version}"
    row = identify_gpu(gpu.name, gpu.sm) if gpu else None
    unsupported = f"{row.title} is not supported: {row.unsupported}" if row and row.unsupported else ""
    outdated = _target_problem(row, tensorrt.version) if row else ""
    rows = {
        "build for this GPU": (
            f"TensorRT {tensorrt.version} for {here}: {_types(gpu.sm if gpu else 0, tensorrt.version)}",
            unsupported or engines["TensorRT"] or outdated,
        ),
        "run engines": (
            f"{flavours} on {here}",
            _problem("PyCUDA", found["pycuda"], cuda.version) or ("" if flavours else engines["TensorRT"]),
        ),
        "run ONNX on this GPU": (
            f"{runtime} with {_providers(onnxruntime)} on {here}",
            _problem("ONNX Runtime", onnxruntime, cuda.version, needs_cuda=True) or _unusable(onnxruntime),
        ),
        "run PyTorch on this GPU": (f"{pytorch} on {here}", _problem("PyTorch", torch, cuda.version, needs_cuda=True)),
    }
    if gpu is None:
        nothing = ("", cuda.error or "the driver reports no GPU", "use a machine with an NVIDIA GPU")
        return dict.fromkeys(rows, nothing)
    remedy = "use a machine with another NVIDIA GPU" if unsupported else _remedy(gpu, cuda.version)
    return {name: (good, problem, remedy) for name, (good, problem) in rows.items()}


def _types(sm: int, version: str) -> str:
    """The precisions that a GPU has and this TensorRT builds: "fp32, fp16, int8"."""
    known = [row for row in PRECISIONS.values() if sm >= row.sm and version_numbers(version) >= version_numbers(row.tensorrt)]
    return ", ".join(row.name for row in known)


def _types_since() -> str:
    """Which precisions not every GPU has: "tf32 and bf16 from SM80 on, fp8 from SM89 on"."""
    since: dict[int, list[str]] = {}
    for row in PRECISIONS.values():
        since.setdefault(row.sm, []).append(row.name)
    return ", ".join(f"{' and '.join(names)} from SM{sm} on" for sm, names in since.items() if sm)


def _providers(onnxruntime: ProbeResult) -> str:
    return ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.features if "Azure" not in name)


def _error(title: str, found: ProbeResult) -> str:
    return f"{title} is {found.error}" if found.error else ""


def _problem(title: str, found: ProbeResult, driver: str, *, needs_cuda: bool = False) -> str:
    """What keeps a library from using a GPU with this driver; empty if nothing does."""
    if found.error:
        return _error(title, found)
    if needs_cuda and not found.cuda:
        return f"{title} {found.version} is built without CUDA"
    needs = (f"CUDA {found.cuda.split('.')[0]}", f"{title} {found.version.split('.')[0]}")
    problem = next(filter(None, (driver_problem(need, driver) for need in needs)), "")
    return f"{title} {found.version}: {problem}" if problem else ""


def _unusable(onnxruntime: ProbeResult) -> str:
    """Why ONNX Runtime has no provider for a GPU; one is enough."""
    if {CUDA, TENSORRT} & {*onnxruntime.features}:
        return ""
    return "; ".join(f"{name} does not load: {reason}" for name, reason in onnxruntime.unusable.items())


def _target_problem(gpu: Gpu, version: str) -> str:
    """Why this version of TensorRT does not build for a GPU; empty if it does."""
    try:
        check_target(gpu, FLAVOURS["tensorrt"], version)
    except MachineError as error:
        return str(error)
    return ""


def _remedy(device: CudaDevice, driver: str) -> str:
    """What helps: packages that fit this driver, or another driver."""
    try:
        find_stack(device.name, device.sm, driver)
    except MachineError as error:
        return str(error)
    return "trtzoo setup"
