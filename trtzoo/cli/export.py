"""`trtzoo export`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.api import export
from trtzoo.cli import completion, options
from trtzoo.cli.application import command
from trtzoo.core.console import log, print_result
from trtzoo.exporter.plan import ExportResult
from trtzoo.models.sources import PUBLISHERS

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help=f"{', '.join(PUBLISHERS)}, seeded, or a .pdparams, .pth or .safetensors file "
        "(default: paddle's, or seeded ones if they cannot be downloaded).",
        autocompletion=completion.weights,
    ),
]


@command("export")
def export_command(
    names: options.Models = None,
    every: options.All = False,
    weights: Weights = None,
    precision: options.Precisions = "fp32",
    batch: Annotated[str, typer.Option(help="dynamic, or one fixed batch size.")] = "dynamic",
    opset: Annotated[int, typer.Option(help="ONNX opset.", min=13, max=25)] = 17,
    io: Annotated[str, typer.Option(help="Input and output type of an FP16 graph: fp32 or fp16.")] = "fp32",
    classes: Annotated[int, typer.Option(help="Number of classes of your own checkpoint.", min=2)] = 1000,
    input_size: Annotated[int, typer.Option(help="Height and width of the images.", min=32)] = 224,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    force: Annotated[bool, typer.Option("--force", help="Re-export even if up to date.")] = False,
) -> None:
    """Export networks to ONNX files, each checked against float64 before it is written.

    Examples: trtzoo export dpn131; trtzoo export --all --precision fp32,fp16; trtzoo export densenet121 --weights my.pth
    """
    records = export(
        options.select(names, every),
        weights=weights,
        precision=precision,
        batch=batch,
        opset=opset,
        io=io,
        classes=classes,
        input_size=input_size,
        onnx_dir=onnx_dir,
        force=force,
        on_result=_print,
    )
    if any(record.error for record in records):
        raise typer.Exit(1)


def _print(record: ExportResult) -> None:
    if record.error:
        log.error("%s: %s", record.path, record.error)
    elif record.up_to_date:
        print_result(f"{record.path}  up to date")
    elif record.sidecar:
        size, error = record.sidecar.bytes / 2**20, record.sidecar.check.error
        print_result(f"{record.path}  {size:.0f} MiB  error {error:.1e}  {record.seconds:.1f} s")
