"""The devices of this machine: its processor, and its NVIDIA GPUs as their driver names them."""

import os
import platform
import re
import time
from pathlib import Path

import msgspec

from trtzoo.core.errors import MachineError
from trtzoo.core.records import Device
from trtzoo.core.system import available_cores, total_memory
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import find_gpu


def cpu_device() -> Device:
    """This machine's processor, with the cores that this process may use and the memory in bytes."""
    info, cores = Path("/proc/cpuinfo"), available_cores()
    text = info.read_text(errors="replace") if info.exists() else ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    name = found[1].strip() if found else platform.processor() or platform.machine()
    return Device(key=f"{slug(name)}-{cores}c", name=name, kind="cpu", cores=cores, memory=total_memory() or 0)


def gpu_devices() -> list[Device]:
    """NVIDIA GPUs in the driver's order, queried in a child process; empty without a driver."""
    found = probes.run_probes("cuda")["cuda"]
    return [
        Device(key=slug(gpu.name), kind="gpu", driver=found.version, index=index, **msgspec.structs.asdict(gpu))
        for index, gpu in enumerate(found.devices)
    ]


def choose_device(wanted: str) -> Device:
    """The device that `--gpu` names: cpu, auto (the first GPU, else the processor), or a GPU by its name.

    Raises UsageError for a GPU that GPUS does not know, MachineError for one that is not here; it lists what is.
    """
    if wanted == "cpu":
        return cpu_device()
    row = None if wanted == "auto" else find_gpu(wanted)
    found = gpu_devices()
    for device in found:
        if row is None or device.name in row.names:
            return device
    if row is None:
        return cpu_device()
    here = ", ".join(device.name for device in found) or f"no NVIDIA GPU, and the processor is {cpu_device().name}"
    raise MachineError(f"There is no {row.title} here: {here}. To measure what is here: trtzoo bench --gpu auto")


class OtherLoad:
    """Measures how many cores other programs use during a `with` block; 0 on a system without /proc/stat."""

    def __enter__(self) -> "OtherLoad":
        self._start, self._others = time.monotonic(), _others_seconds()
        return self

    def __exit__(self, *_: object) -> None:
        elapsed = time.monotonic() - self._start
        self.cores = max(0.0, (_others_seconds() - self._others) / elapsed) if elapsed else 0.0


def _others_seconds() -> float:
    """Seconds that cores were busy with other programs since boot, without idle and I/O wait; stolen time is others'."""
    stat = Path("/proc/stat")
    if not stat.exists():
        return 0.0
    user, nice, system, _idle, _iowait, *rest = map(int, stat.read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def slug(name: str) -> str:
    """A device's name as a folder's: "Tesla T4" becomes "tesla-t4"."""
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\((r|tm|c)\)", "", name.lower())).strip("-")
