"""Options and arguments that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.cli import completion
from trtzoo.core.errors import UsageError, unknown
from trtzoo.report.tables.formats import FORMATS


def _one_of(*formats: str) -> Callable[[str], str]:
    """A check of --format. It raises UsageError for an unknown one."""

    def check(name: str) -> str:
        if name not in formats:
            raise unknown("format", name, formats)
        return name

    return check


Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL]...", help="Names from `trtzoo models` (default: all ten).", autocompletion=completion.model
    ),
]
All = Annotated[bool, typer.Option("--all", help="All ten models.")]
Precisions = Annotated[
    str, typer.Option("--precision", help="Comma list of fp32, tf32, fp16.", autocompletion=completion.precisions)
]
Batches = Annotated[str, typer.Option("--batch", help="Comma list of batch sizes.")]
Gpu = Annotated[
    str,
    typer.Option(
        "--gpu",
        help="cpu, a GPU's name such as t4, or auto: the first GPU, else the CPU.",
        autocompletion=completion.device,
    ),
]
Runtime = Annotated[
    str | None,
    typer.Option(
        "--runtime", help="The runtime that executes the networks (default: the device's).", autocompletion=completion.runtime
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", help=f"{', '.join(FORMATS)}.", callback=_one_of(*FORMATS), autocompletion=completion.form),
]
TextFormat = Annotated[str, typer.Option("--format", help="text or json.", callback=_one_of("text", "json"))]
Limit = Annotated[int | None, typer.Option("--limit", help="Use at most this many images, spread over all classes.", min=1)]
ClassFile = Annotated[
    Path | None, typer.Option("--classes", help="A file with the class names in the network's order, one per line.")
]
Labels = Annotated[
    Path | None,
    typer.Option("--labels", help='A label list ("path class" per line) or ground truth outside the data\'s folder.'),
]
Results = Annotated[Path, typer.Option("--results", help="Folder of the result files.")]
EnginesFolder = Annotated[Path, typer.Option("--engines-dir", help="Folder of the engines.")]
OnnxFolder = Annotated[Path, typer.Option("--onnx-dir", help="Folder of the exported graphs.")]


def select(names: list[str] | None, every: bool, onnx: Path | None = None) -> list[str] | None:
    """Model names, or None for all ten or for a file. Raises UsageError for more than one of names, --all and --onnx."""
    if names and every:
        raise UsageError("Give either model names or --all, not both.")
    if onnx and (names or every):
        raise UsageError("Give either model names or --onnx FILE, not both.")
    return names or None
