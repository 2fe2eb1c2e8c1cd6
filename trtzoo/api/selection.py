"""Arguments of the public functions → models, precisions, batch sizes, device and runtime. Each may be a comma list."""

import os
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from trtzoo.artifacts import engines
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import check_gpu, find_precision
from trtzoo.core.records import Device
from trtzoo.core.system import bf16_instructions
from trtzoo.hardware import probes
from trtzoo.hardware.devices import choose_device
from trtzoo.hardware.gpus import find_gpu, identify_gpu
from trtzoo.models.table import find_model, zoo
from trtzoo.runtimes.registry import AUTO, CANDIDATES, OFFERED, Runtime, find_runtime

Names = str | Iterable[str]
Sizes = int | str | Iterable[int]
Folder = str | os.PathLike[str]
Files = Folder | Iterable[Folder]


def select_names(names: Names, option: str) -> list[str]:
    """Names or a comma list of them, without duplicates. Raises UsageError for an empty item."""
    items = [item.strip() for item in names.split(",")] if isinstance(names, str) else list(names)
    if not all(items):
        raise UsageError(f"{option} {names!r} has an empty item. Separate the values by single commas.")
    return list(dict.fromkeys(items))


def select_models(names: Names | None) -> list[str]:
    """Models' names as in the zoo; None means all. Raises UsageError for an unknown one."""
    return list(zoo()) if names is None else list({find_model(name).name: None for name in select_names(names, "MODEL")})


def select_precisions(names: Names) -> list[str]:
    """Precisions' names as in PRECISIONS. Raises UsageError for an unknown one."""
    return list(dict.fromkeys(find_precision(name).name for name in select_names(names, "--precision")))


def select_batches(sizes: Sizes) -> list[int]:
    """Batch sizes. Raises UsageError for anything but whole numbers from 1 to 1024."""
    items = select_names(sizes if isinstance(sizes, str) else map(str, [sizes] if isinstance(sizes, int) else sizes), "--batch")
    for size in items:
        if not re.fullmatch("[1-9][0-9]{0,3}", size) or int(size) > 1024:
            text = sizes if isinstance(sizes, str) else ",".join(items)
            raise UsageError(f"--batch {text!r}: {size!r} is not a whole number from 1 to 1024. Example: --batch 1,4,8")
    return [int(size) for size in items]


def select_batch(size: int | str) -> int:
    """One batch size. Raises UsageError for a list of several."""
    sizes = select_batches(size)
    if len(sizes) > 1:
        raise UsageError(f"--batch takes one value here, and {len(sizes)} were given.")
    return sizes[0]


def select_runtime(
    gpu: str, runtime: str | None, precisions: list[str], *, device: str | int | None = None, timed: bool = False
) -> tuple[Device, Runtime]:
    """The device, and the runtime with this name or (None, "auto") the device's first installed one.

    `device` is one of several GPUs, as in `choose_device`. Unless it is `timed`, a runtime may emulate a precision.

    Raises UsageError for an unknown name, one that does not run on the device, and a precision that it does not compute or the
    GPU does not have; MachineError for one that is not installed, and for BF16 on a processor without it.
    """
    if gpu not in ("auto", "cpu"):
        wanted = find_gpu(gpu)
        check_gpu(precisions, wanted.title, wanted.sm)
    chosen = choose_device(gpu, device)
    own = [row for row in OFFERED.values() if row.device == chosen.kind]
    if runtime is None or runtime == AUTO:
        usual = [row for row in own if row.name in CANDIDATES or row.reads == "engine"]
        ranked = [_able(usual, precisions, chosen, timed=kind) for kind in ((True,) if timed else (True, False))]
        able = next(filter(None, ranked), usual)
        row = next((row for row in able if find_spec(row.module)), able[0])
    else:
        row = find_runtime(runtime)
    if row.device != chosen.kind:
        names = ", ".join(row.name for row in own)
        raise UsageError(f"The runtime {row.name} does not run on {chosen.name}; these do: {names}.")
    require_module(row.name, module=row.module, remedy=row.installer)
    if chosen.kind == "gpu":
        check_gpu(precisions, chosen.name, chosen.sm)
    if error := next(filter(None, (_problem(row, name, chosen, timed=timed) for name in precisions)), None):
        raise error
    return chosen, row


def _able(rows: list[Runtime], precisions: list[str], device: Device, *, timed: bool) -> list[Runtime]:
    """The runtimes that compute all of the precisions on a device."""
    return [row for row in rows if not any(_problem(row, name, device, timed=timed) for name in precisions)]


def _problem(row: Runtime, precision: str, device: Device, *, timed: bool) -> UsageError | MachineError | None:
    """Why a runtime does not compute a precision on a device; None if it does."""
    if device.kind == "cpu" and precision == "tf32":
        return UsageError("tf32 is a mode of NVIDIA GPUs; on this processor use --precision fp32.")
    own = [each for each in OFFERED.values() if each.device == device.kind]
    if not row.can(precision, timed=timed):
        names = ", ".join(each.name for each in own if each.can(precision, timed=timed))
        emulators = ", ".join(each.name for each in own if each.can(precision, timed=False))
        which = f"these do: {names}" if names else f"in trtzoo parity and eval, {emulators} emulates it"
        return UsageError(f"{row.name} does not compute {precision} graphs in {precision.upper()}; {which}.")
    if device.kind == "cpu" and precision == "bf16" and row.can("bf16", timed=True) and bf16_instructions() == "none":
        which = "AVX-512 BF16, AMX or Arm's BF16"
        return MachineError(f"{device.name} has no instructions for BF16 ({which}). Say --precision fp32")
    return None


def select_runtimes(
    gpu: str, names: Iterable[str | None], precisions: list[str], *, device: str | int | None = None
) -> tuple[Device, dict[str, Runtime]]:
    """The device and its runtimes to be timed, by the name that was asked for: AUTO where none was.

    Raises as `select_runtime` does.
    """
    found = [(name, *select_runtime(gpu, name, precisions, device=device, timed=True)) for name in names]
    return found[0][1], {AUTO if name in (None, AUTO) else row.name: row for name, _, row in found}


def engines_folder(root: Path, device: Device, runtime: Runtime) -> Path:
    """Where this GPU's engines by the installed TensorRT are. Raises MachineError if that TensorRT cannot be loaded."""
    answer = probes.run_probes(runtime.module)[runtime.module]
    if answer.error:
        raise MachineError(f"{runtime.name} is {answer.error}. What this machine can do: trtzoo doctor")
    return engines.engine_folder(root, identify_gpu(device.name, device.sm), runtime.name, answer.version)
