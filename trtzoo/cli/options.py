"""Options and arguments that several commands share, and the completion of names from our tables; it imports no framework."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.errors import UsageError, unknown
from trtzoo.core.precisions import PRECISIONS
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import zoo
from trtzoo.report.tables.formats import FORMATS
from trtzoo.runtimes.registry import AUTO, OFFERED

Complete = Callable[[str], list[str]]


def one_of(names: Iterable[str] | Callable[[], Iterable[str]]) -> Complete:
    """A function that completes a name."""
    return lambda incomplete: [name for name in (names() if callable(names) else names) if name.startswith(incomplete)]


def list_of(names: Iterable[str] | Callable[[], Iterable[str]]) -> Complete:
    """A function that completes the last name of a comma list with a new one."""

    def complete(incomplete: str) -> list[str]:
        *said, last = incomplete.split(",")
        return [
            ",".join([*said, name])
            for name in (names() if callable(names) else names)
            if name.startswith(last) and name not in said
        ]

    return complete


def _known(*formats: str) -> Callable[[str], str]:
    """A check of --format. It raises UsageError for an unknown one."""

    def check(name: str) -> str:
        if name not in formats:
            raise unknown("format", name, formats)
        return name

    return check


Models = Annotated[
    list[str] | None,
    Argument(metavar="[MODEL]...", help="Names from `trtzoo models`, or timm:NAME (default: all).", autocompletion=one_of(zoo)),
]
All = Annotated[bool, Option("--all", help="All models of the zoo.")]
OnnxFiles = Annotated[
    list[Path] | None,
    Option("--onnx", metavar="FILE", help="Any classifier's ONNX file, or an engine, instead of models; may be repeated."),
]
OwnFiles = Annotated[
    list[Path] | None, Option("--onnx", metavar="FILE", help="Any classifier's ONNX file instead of models; may be repeated.")
]
OwnPrecisions = Annotated[
    str | None,
    Option(
        "--precision",
        help=f"Comma list of {', '.join(PRECISIONS)} (default: fp32; with --onnx the file's).",
        autocompletion=list_of(PRECISIONS),
    ),
]
OwnBatches = Annotated[str | None, Option("--batch", help="Comma list of batch sizes (default: 1,4,8, or a file's only one).")]
Precisions = Annotated[str, Option(help=f"Comma list of {', '.join(PRECISIONS)}.", autocompletion=list_of(PRECISIONS))]
Batches = Annotated[str, Option(help="Comma list of batch sizes.")]
DEVICES = ["auto", "cpu", *GPUS]
Gpu = Annotated[
    str, Option(help="cpu, a GPU's name such as t4, or auto: the first GPU, else the CPU.", autocompletion=one_of(DEVICES))
]
GpuDevice = Annotated[
    str | None,
    Option(
        "--device",
        metavar="INDEX|UUID",
        help="One of several GPUs: its index, UUID or PCI bus id in `trtzoo doctor` (default: the first that fits --gpu).",
    ),
]
runtime_names = one_of([AUTO, *OFFERED])
Runtime = Annotated[
    str | None,
    Option(help="The runtime that executes the networks (default: the device's).", autocompletion=runtime_names),
]
Format = Annotated[
    str, Option("--format", help=f"{', '.join(FORMATS)}.", callback=_known(*FORMATS), autocompletion=one_of(FORMATS))
]
TextFormat = Annotated[str, Option("--format", help="text or json.", callback=_known("text", "json"))]
LineFormat = Annotated[str, Option("--format", help="text, or json: a line per record.", callback=_known("text", "json"))]
ModelFilter = Annotated[str | None, Option("--model", help="Only these models, a comma list.", autocompletion=list_of(zoo))]
DeviceFilter = Annotated[
    str | None,
    Option(
        "--device",
        "--gpu",
        help="Only results of devices with one of these words in their name, such as cpu, gpu or t4.",
        autocompletion=list_of(["cpu", "gpu", *GPUS]),
    ),
]
RuntimeFilter = Annotated[
    str | None, Option("--runtime", help="Only results of these runtimes.", autocompletion=list_of([AUTO, *OFFERED]))
]
ProtocolFilter = Annotated[
    str | None, Option("--protocol", help="Only results by these protocols.", autocompletion=list_of(PROTOCOLS))
]
PrecisionFilter = Annotated[
    str | None, Option("--precision", help="Only results of these precisions.", autocompletion=list_of(PRECISIONS))
]
BatchFilter = Annotated[str | None, Option("--batch", help="Only results of these batch sizes.")]
ClassFile = Annotated[Path | None, Option(help="A file with the class names in the network's order, one per line.")]
Labels = Annotated[Path | None, Option(help='A label list ("path class" per line) or ground truth outside the data\'s folder.')]
Results = Annotated[Path, Option("--results", help="Folder of the result files.")]
EnginesFolder = Annotated[Path, Option(help="Folder of the engines.")]
OnnxFolder = Annotated[Path, Option(help="Folder of the exported graphs.")]


def select(names: list[str] | None, every: bool) -> list[str] | None:
    """Names of models, None if none are named. Raises UsageError for names and --all."""
    if names and every:
        raise UsageError("Give either model names or --all, not both.")
    return list(zoo()) if every else names or None
