"""Which GPU engines are built for, and by which TensorRT: `--gpu`, `--device` and `--flavour` on this machine."""

from collections.abc import Iterable

from trtzoo.core.errors import MachineError
from trtzoo.core.precisions import PRECISIONS, check_gpu
from trtzoo.core.records import Device, Record
from trtzoo.hardware.devices import device_line, find_device, gpu_devices
from trtzoo.hardware.gpus import (
    GPUS,
    Flavour,
    Gpu,
    card_title,
    check_supported,
    check_target,
    find_flavour,
    find_gpu,
    identify_gpu,
    version_numbers,
)
from trtzoo.hardware.probes import ProbeResult


class Target(Record, frozen=True, kw_only=True):
    """The GPU that engines are built for and the TensorRT that builds them. `device` is that GPU here, None if elsewhere."""

    gpu: Gpu
    flavour: Flavour
    version: str
    driver: str = ""
    device: Device | None = None

    @property
    def card(self) -> str:
        """The card whose kernels TensorRT times; empty for TensorRT-RTX, which times none."""
        return card_title(self.device.name, self.device.memory) if self.device and self.flavour.name == "tensorrt" else ""


def check_names(gpu: str, flavour: str, precisions: Iterable[str]) -> None:
    """Raises UsageError for an unknown name, and a precision that the GPU does not have, before the machine is probed."""
    if gpu != "auto":
        row = find_gpu(gpu)
        check_gpu(precisions, row.title, row.sm)
    if flavour != "auto":
        find_flavour(flavour)


def check_precisions(names: Iterable[str], target: Target) -> None:
    """Raise UsageError for a precision that the target GPU does not have, MachineError for one that its TensorRT does not."""
    rows = [PRECISIONS[name] for name in names]
    check_gpu([row.name for row in rows], target.gpu.title, target.gpu.sm)
    for row in rows:
        if target.flavour.name == "tensorrt" and version_numbers(target.version) < version_numbers(row.tensorrt):
            raise MachineError(
                f"TensorRT {target.version} builds no {row.name.upper()} engines: {row.tensorrt} is the first that does. "
                f"Run: pip install '{target.flavour.install}>={row.tensorrt}'"
            )


def choose_target(gpu: str, flavour: str, probed: dict[str, ProbeResult], *, device: str | int | None = None) -> Target:
    """Resolve `--gpu`, `--flavour` and `--device`, one of several GPUs, on a machine with these probe results.

    "auto" is the GPU of this machine, or else a T4; TensorRT if both the GPU and TensorRT are here, or else TensorRT-RTX,
    which compiles ahead of time. Raises UsageError for unknown names, MachineError where this machine cannot build.
    """
    devices = gpu_devices(probed["cuda"])
    if device is not None:
        devices = [find_device(device, devices)]
    here = [identify_gpu(each.name, each.sm) for each in devices]
    wanted = find_gpu(gpu) if gpu != "auto" else here[0] if here else GPUS["t4"]
    check_supported(wanted)
    present = wanted in here
    if device is not None and not present:
        raise MachineError(f"Device {device} is no {wanted.title}: it is {device_line(devices[0])}.")
    default = "tensorrt" if present and not probed["tensorrt"].error else "rtx"
    chosen = find_flavour(flavour if flavour != "auto" else default)
    probe = probed[chosen.module]
    if chosen.name == "tensorrt" and not present:
        found = ", ".join(row.title for row in here) or probed["cuda"].error
        remedy = f"Run: trtzoo build --gpu {wanted.name} --flavour rtx"
        if wanted.not_rtx:
            remedy = f"Build on a machine with that GPU: {wanted.not_rtx}"
        raise MachineError(f"TensorRT builds only for a GPU in this machine; {wanted.title} is not here ({found}). {remedy}")
    if chosen.name == "rtx" or not probe.error:
        check_target(wanted, chosen, probe.version)
    if probe.error:
        remedy = "trtzoo setup" if chosen.name == "tensorrt" else f"pip install {chosen.install}"
        raise MachineError(f"{chosen.title} is required but is {probe.error}. Run: {remedy}")
    driver = probed["cuda"].version if present else ""
    own = devices[here.index(wanted)] if present else None
    return Target(gpu=wanted, flavour=chosen, version=probe.version, driver=driver, device=own)
