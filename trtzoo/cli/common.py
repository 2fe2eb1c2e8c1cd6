"""What the commands share: the application, the two consoles, options, and how their text is read."""

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from trtzoo.artifacts import engines
from trtzoo.cli import completion
from trtzoo.core.console import Talk
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import check_tf32, find_precision
from trtzoo.core.records import Device
from trtzoo.hardware import probes
from trtzoo.hardware.devices import choose_device
from trtzoo.hardware.gpus import identify_gpu
from trtzoo.models.table import MODELS, Model, find_model
from trtzoo.runtimes.registry import AUTO, RUNTIMES, Runtime, find_runtime

QUIET = "--quiet"


class Commands(TyperGroup):
    """All commands: `--quiet` stands before or after any of them, and the list tells each one's first sentence whole."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        Talk.silent = QUIET in args[:end]
        return super().parse_args(ctx, [word for word in args[:end] if word != QUIET] + args[end:])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _first_paragraph(row.help or "")) for name, row in self.commands.items()])


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


app = typer.Typer(
    name="trtzoo",
    cls=Commands,
    help="TensorRT engines and trustworthy latencies for ten image classifiers: export → build → bench → table.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
talk = Talk(stderr=True, highlight=False, soft_wrap=True)


@app.callback()
def root(
    quiet: Annotated[bool, typer.Option(QUIET, help="Say nothing but errors; it may also stand after the command.")] = False,
) -> None:
    """Every command works on the ten models of `trtzoo models`."""


Models = Annotated[
    list[str] | None,
    typer.Argument(metavar="[MODEL]...", help="Names from `trtzoo models`; none means all.", autocompletion=completion.model),
]
All = Annotated[bool, typer.Option("--all", help="All ten models.")]
Precisions = Annotated[
    str, typer.Option("--precision", help="Comma list of fp32, tf32, fp16.", autocompletion=completion.precisions)
]
GpuOption = Annotated[
    str,
    typer.Option(
        "--gpu",
        help="cpu, a GPU's name such as t4, or auto: the first GPU, else the CPU.",
        autocompletion=completion.device,
    ),
]
RuntimeName = Annotated[
    str | None,
    typer.Option("--runtime", help="What runs the networks. Default: the device's own.", autocompletion=completion.runtime),
]
ClassFile = Annotated[
    Path | None, typer.Option("--classes", help="The names of the classes in the network's order, one a line.")
]
Batches = Annotated[str, typer.Option("--batch", help="Comma list of batch sizes.")]
Results = Annotated[Path, typer.Option("--results", help="Where result files are.")]
EnginesFolder = Annotated[Path, typer.Option("--engines-dir", help="Where engines are.")]
OnnxFolder = Annotated[Path, typer.Option("--onnx-dir", help="Where exported graphs are.")]


def say(line: str) -> None:
    """A line of the result. On a terminal it goes by way of the talk, which may be drawing a progress bar below it."""
    if sys.stdout.isatty() and talk.is_terminal:
        talk.print(line, markup=False)
    else:
        print(line, flush=True)


def rows(names: list[str] | None, every: bool) -> list[Model]:
    """The models meant by a list of names; no names mean all."""
    if names and every:
        raise UsageError("Say either model names or --all.")
    found = {row.name: row for row in map(find_model, names or MODELS)}
    return list(found.values())


def precisions(text: str) -> list[str]:
    return [find_precision(name).name for name in items(text, "--precision")]


def batches(text: str) -> list[int]:
    """A comma list of batch sizes. Raises UsageError for anything but whole numbers from 1 to 1024."""
    sizes = items(text, "--batch")
    for size in sizes:
        if not re.fullmatch("[1-9][0-9]{0,3}", size) or int(size) > 1024:
            raise UsageError(f"--batch {text!r}: {size!r} is not a whole number from 1 to 1024. Example: --batch 1,4,8")
    return list(dict.fromkeys(int(size) for size in sizes))


def one(values: list[int], option: str) -> int:
    """The only value. Raises UsageError for several."""
    if len(values) > 1:
        raise UsageError(f"{option} takes one value here, and {len(values)} were given.")
    return values[0]


def items(text: str, option: str) -> list[str]:
    """A comma list without doubles. Raises UsageError for an empty place in it."""
    found = [item.strip() for item in text.split(",")]
    if not all(found):
        raise UsageError(f"{option} {text!r} has an empty place in it. Write the values with one comma between them.")
    return list(dict.fromkeys(found))


def ready(gpu: str, runtime: str | None, precisions: list[str]) -> tuple[Device, Runtime]:
    """The device that is meant, and the runtime: the one asked for, or (also "auto") the first of its own that is installed.

    Raises UsageError and MachineError for what does not exist, is not here or does not run there.
    """
    device = choose_device(gpu)
    own = [row for row in RUNTIMES.values() if row.device == device.kind]
    if runtime in (None, AUTO):
        usual = own if device.kind == "cpu" else [row for row in own if row.reads == "engine"]
        row = next((row for row in usual if find_spec(row.module)), usual[0])
    else:
        row = find_runtime(str(runtime))
    if row not in own:
        names = ", ".join(row.name for row in own)
        raise UsageError(f"The runtime {row.name} does not run on {device.name}; those that do: {names}.")
    require_module(row.name, module=row.module, extra=row.extra)
    if device.kind == "cpu" and "tf32" in precisions:
        raise UsageError("tf32 is a mode of NVIDIA GPUs; on this processor say --precision fp32.")
    if device.kind == "gpu":
        check_tf32(precisions, device.name, device.sm)
    return device, row


def engines_for(root: Path, device: Device, how: Runtime) -> Path:
    """Where the engines for this GPU, by this TensorRT, are. Raises MachineError where that TensorRT cannot be loaded."""
    answer = probes.run_probes(how.module)[how.module]
    if answer.error:
        raise MachineError(f"{how.name} is {answer.error}. What this machine can do: trtzoo doctor")
    return engines.engine_folder(root, identify_gpu(device.name, device.sm), how.name, answer.version)
