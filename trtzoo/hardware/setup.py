"""What to install so that this machine can build and run engines: planned from probes, then carried out by pip."""

import shlex
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from trtzoo.core.errors import MachineError, TrtzooError, find_row
from trtzoo.core.files import cache_folder
from trtzoo.core.subprocesses import run_tool
from trtzoo.hardware import pycuda_build
from trtzoo.hardware.gpus import FLAVOURS
from trtzoo.hardware.probes import ProbeResult
from trtzoo.hardware.software import check_python, find_stack

TARGETS = {
    "auto": "gpu if there is a GPU, else cpu",
    "cpu": "export, ahead-of-time engines, measurements on the CPU",
    "gpu": "TensorRT on an NVIDIA GPU",
    "rtx-gpu": "TensorRT-RTX on an NVIDIA GPU",
}
CPU = ("torch", "onnxruntime", "openvino", FLAVOURS["rtx"].install)


class Step(msgspec.Struct, frozen=True):
    """One step. `command` is pip's arguments; empty: PyCUDA is compiled and installed."""

    reason: str
    command: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The step as a user would type it."""
        return shlex.join(["pip", *self.command]) if self.command else f"compile and install {pycuda_build.PYCUDA}"


def plan(target: str, cuda: ProbeResult, installed: Collection[str], *, pycuda_loads: bool) -> list[Step]:
    """The steps for `target`, one of TARGETS. `installed` are the names of the installed distributions.

    Raises UsageError for an unknown target, MachineError if there is no GPU, or if no packages fit the GPU, driver and Python.
    """
    find_row("target", target, TARGETS)
    if target == "cpu" or (target == "auto" and not cuda.devices):
        return [*_without("onnxruntime-gpu", installed), Step("no GPU is used", ("install", *CPU))]
    if not cuda.devices:
        raise MachineError(f"There is no NVIDIA GPU to set up for: {cuda.error or 'the driver reports none'}.")
    gpu = cuda.devices[0]
    stack = find_stack(gpu.name, gpu.sm, cuda.version)
    check_python(stack, sys.version_info[:2])
    tensorrt = FLAVOURS["rtx"].install if target == "rtx-gpu" else stack.tensorrt
    packages = ("install", tensorrt, stack.onnxruntime, stack.torch, "nvidia-ml-py")
    steps = [*_without("onnxruntime", installed), Step(f"{gpu.name}, driver {cuda.version}: {stack.note}", packages)]
    return steps if pycuda_loads else [*steps, Step("PyCUDA has no wheels; compiling it takes about two minutes")]


def _without(package: str, installed: Collection[str]) -> list[Step]:
    """Remove both ONNX Runtimes if the unwanted one is here: both install the same module, so removing one breaks the other."""
    both = ("onnxruntime", "onnxruntime-gpu")
    reason = f"{' and '.join(both)} install the same module"
    return [Step(reason, ("uninstall", "--yes", *both))] if package in installed else []


def carry_out(steps: list[Step], constraint: Path | None, on_step: Callable[[Step], None]) -> None:
    """Run the steps in order, with pip's `constraint` file; `on_step` receives each before it starts.

    Raises TrtzooError for the first that fails, MachineError if PyCUDA cannot be compiled here.
    """
    for step in steps:
        on_step(step)
        _pip(step.command or ("install", str(pycuda_build.cached_wheel(cache_folder()))), constraint)


def _pip(words: tuple[str, ...], constraint: Path | None) -> None:
    options = ["--constraint", str(constraint)] if constraint and words[0] == "install" else []
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *words, *options]
    if code := run_tool(command).returncode:
        raise TrtzooError(f"{shlex.join(['pip', *words])} failed with status {code}; pip's own message is above.")
