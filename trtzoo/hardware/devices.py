"""The devices of this machine: its processor, and its NVIDIA GPUs as their driver names them."""

import platform
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.records import Device
from trtzoo.core.system import available_cores, total_memory
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import find_gpu
from trtzoo.hardware.probes import ProbeResult


def cpu_device() -> Device:
    """This machine's processor, with the cores that this process may use and the memory in bytes."""
    info, cores = Path("/proc/cpuinfo"), available_cores()
    text = info.read_text(errors="replace") if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = (found[1].strip() if found else "") or platform.processor() or platform.machine() or "unknown processor"
    return Device(key=f"{slug(name)}-{cores}c", name=name, kind="cpu", cores=cores, memory=total_memory() or 0)


def gpu_devices(found: ProbeResult | None = None) -> list[Device]:
    """NVIDIA GPUs in CUDA's order, from the probe "cuda" or its result; empty without a driver."""
    found = found or probes.run_probes("cuda")["cuda"]
    devices: list[Device] = []
    for index, gpu in enumerate(found.devices):
        first = gpu.name not in {device.name for device in devices}
        key = slug(gpu.name) if first else f"{slug(gpu.name)}-device{index}"
        devices.append(Device(key=key, kind="gpu", driver=found.version, index=index, **msgspec.structs.asdict(gpu)))
    return devices


def choose_device(wanted: str, device: str | int | None = None) -> Device:
    """The device that `--gpu` names: cpu, auto (the first GPU, else the processor), or a GPU by its name.

    `device` is the index, UUID or PCI bus id of one of several GPUs. Raises UsageError for a GPU that GPUS does not know,
    MachineError for one that is not here; it lists what is.
    """
    if wanted == "cpu":
        if device is not None:
            raise UsageError("--device names a GPU, and --gpu cpu the processor. Give one of them.")
        return cpu_device()
    row = None if wanted == "auto" else find_gpu(wanted)
    found = gpu_devices()
    chosen = found if device is None else [find_device(device, found)]
    for each in chosen:
        if row is None or each.name in row.names:
            return each
    if row is None:
        return cpu_device()
    if device is not None:
        raise MachineError(f"Device {device} is no {row.title}: it is {device_line(chosen[0])}.")
    here = ", ".join(each.name for each in found) or f"no NVIDIA GPU, and the processor is {cpu_device().name}"
    raise MachineError(f"There is no {row.title} here: {here}. To measure what is here: trtzoo bench --gpu auto")


def find_device(wanted: str | int, found: Sequence[Device]) -> Device:
    """The GPU with this index in CUDA's order, UUID or its beginning, or PCI bus id. Raises MachineError, with what is here."""
    text = str(wanted).strip().lower()
    own = [each for each in found if text == str(each.index) or _same_bus(text, each.bus_id)]
    chosen = own or [each for each in found if "-" in text and each.uuid.lower().startswith(text)]
    if len(chosen) == 1:
        return chosen[0]
    problem = f"{len(chosen)} GPUs have a UUID that starts with {wanted}" if chosen else f"There is no GPU {str(wanted)!r} here"
    raise MachineError(f"{problem}: {'; '.join(map(device_line, found)) or 'no NVIDIA GPU'}.")


def _same_bus(text: str, bus_id: str) -> bool:
    """Whether two PCI bus ids are equal: 00000000:01:00.0, 0000:01:00.0 and 01:00.0 are."""
    return bool(bus_id) and text.count(":") > 0 and text.lstrip("0:") == bus_id.lower().lstrip("0:")


def device_line(device: Device) -> str:
    """A GPU with all its names for --device: "device 1: Tesla T4, 0000:02:00.0, GPU-…"."""
    return ", ".join(filter(None, [f"device {device.index}: {device.name}", device.bus_id, device.uuid]))


def slug(name: str) -> str:
    """A device's name as a folder's: "Tesla T4" becomes "tesla-t4"."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm|c)\)", "", name.lower())).strip("-")
