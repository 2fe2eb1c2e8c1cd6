"""`trtzoo export`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.artifacts.graphs import Batch, ExportOrder
from trtzoo.cli import completion
from trtzoo.cli.common import All, Models, OnnxFolder, Precisions, app, batches, one, precisions, rows, say, talk
from trtzoo.core.errors import UsageError
from trtzoo.core.precisions import find_precision
from trtzoo.exporter.plan import ExportResult, export
from trtzoo.models.sources import PUBLISHERS, Checkpoint, locate

Weights = Annotated[
    str | None,
    typer.Option(
        "--weights",
        help=f"{', '.join(PUBLISHERS)}, seeded, or a .pdparams, .pth or .safetensors file. Default: paddle.",
        autocompletion=completion.weights,
    ),
]


@app.command("export")
def export_command(
    names: Models = None,
    every: All = False,
    weights: Weights = None,
    precision_list: Precisions = "fp32",
    batch: Annotated[str, typer.Option(help="dynamic, or one batch size to fix.")] = "dynamic",
    opset: Annotated[int, typer.Option(help="ONNX opset.", min=13, max=25)] = 17,
    io: Annotated[str, typer.Option(help="Type of an FP16 graph's input and output: fp32 or fp16.")] = "fp32",
    classes: Annotated[int, typer.Option(help="Classes of a checkpoint of your own.", min=2)] = 1000,
    size: Annotated[int, typer.Option("--input-size", help="Height and width of the images.", min=32)] = 224,
    folder: OnnxFolder = Path("onnx"),
    force: Annotated[bool, typer.Option("--force", help="Make files that are up to date, too.")] = False,
) -> None:
    """Export networks to ONNX files, each checked against float64 before it is written.

    Examples: trtzoo export dpn131; trtzoo export --all --precision fp32,fp16; trtzoo export densenet121 --weights my.pth
    """
    if io not in ("fp32", "fp16"):
        raise UsageError(f"--io {io!r}: say fp32 or fp16.")
    fixed: Batch = "dynamic" if batch == "dynamic" else one(batches(batch), "--batch")
    kinds = list(dict.fromkeys(find_precision(name).graph for name in precisions(precision_list)))
    outcomes = []
    checkpoints = [(model, locate(model, weights)) for model in rows(names, every)]
    for model, checkpoint in checkpoints:
        _warn_of_fallback(checkpoint)
        orders = [
            ExportOrder(
                model=model.name,
                precision=kind,
                io=io if kind == "fp16" else "fp32",
                batch=fixed,
                opset=opset,
                classes=classes,
                size=size,
            )
            for kind in kinds
        ]
        with talk.status(f"exporting {model.name}"):
            for done in export(model, checkpoint, orders, folder, force=force):
                _report(done)
                outcomes.append(done)
    if any(done.error for done in outcomes):
        raise typer.Exit(1)


def _report(done: ExportResult) -> None:
    if done.error:
        talk.print(f"{done.path}: {done.error}", style="red", markup=False)
    elif done.up_to_date:
        say(f"{done.path}  up to date")
    elif done.sidecar:
        size, error = done.sidecar.bytes / 2**20, done.sidecar.check.error
        say(f"{done.path}  {size:.0f} MiB  error {error:.1e}  {done.seconds:.1f} s")


_warned: set[str] = set()


def _warn_of_fallback(checkpoint: Checkpoint) -> None:
    """Say it once, and so that it cannot be missed."""
    if not checkpoint.fallback or _warned:
        return
    _warned.add(checkpoint.fallback)
    talk.rule("[bold white on red] SEEDED WEIGHTS [/]", style="red")
    talk.print(
        f"{checkpoint.fallback} The published weights are not to be had, so the networks get seeded ones: right for speed,\n"
        "useless for accuracy. Every file and table made from them says so. To insist on the others: --weights paddle.",
        style="bold red",
        markup=False,
    )
    talk.rule(style="red")
