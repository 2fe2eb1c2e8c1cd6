"""The command line: one short function a command. It parses, calls a stage and renders; stdout is the result, stderr the talk."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.console import Console

from trtzoo import models, precision
from trtzoo.errors import TrtzooError, UsageError
from trtzoo.export import Exported, Order, export
from trtzoo.models.sources import SOURCES, Checkpoint, locate
from trtzoo.spec import Batch, Model

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)
talk = Console(stderr=True, highlight=False, soft_wrap=True)

Models = Annotated[Optional[list[str]], typer.Argument(metavar="[MODEL]...", help="Names from `trtzoo models`; none means all.")]
All = Annotated[bool, typer.Option("--all", help="All ten models.")]
Precisions = Annotated[str, typer.Option("--precision", help="Comma list of fp32, tf32, fp16.")]
Weights = Annotated[
    Optional[str],
    typer.Option("--weights", help=f"{', '.join(SOURCES)}, seeded, or a .pdparams, .pth or .safetensors file. Default: paddle."),
]
OnnxFolder = Annotated[Path, typer.Option("--onnx-dir", help="Where exported graphs are.")]


def _models(names: list[str] | None, every: bool) -> list[Model]:
    """The rows meant by a list of names; no names mean all."""
    if names and every:
        raise UsageError("Say either model names or --all.")
    return [models.find(name) for name in dict.fromkeys(names or models.MODELS)]


def _precisions(text: str) -> list[str]:
    return [precision.find(name).name for name in _items(text, "--precision")]


def _items(text: str, option: str) -> list[str]:
    """A comma list without doubles. Raises UsageError for an empty place in it."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise UsageError(f"{option} {text!r} has an empty place. Example: {option} 1,4,8")
    return list(dict.fromkeys(items))


def batches(text: str) -> list[int]:
    """A comma list of batch sizes. Raises UsageError for anything but whole numbers from 1 to 1024."""
    sizes = _items(text, "--batch")
    for size in sizes:
        if not size.isdecimal() or not 1 <= int(size) <= 1024:
            raise UsageError(f"--batch {text!r}: {size!r} is not a whole number from 1 to 1024. Example: --batch 1,4,8")
    return [int(size) for size in sizes]


@app.command("export")
def export_command(
    names: Models = None,
    every: All = False,
    weights: Weights = None,
    precisions: Precisions = "fp32",
    batch: Annotated[str, typer.Option(help="dynamic, or one batch size to fix.")] = "dynamic",
    opset: Annotated[int, typer.Option(help="ONNX opset, 13 to 25.", min=13, max=25)] = 17,
    io: Annotated[str, typer.Option(help="Type of an FP16 graph's input and output: fp32 or fp16.")] = "fp32",
    classes: Annotated[int, typer.Option(help="Classes of a checkpoint of your own.", min=2)] = 1000,
    size: Annotated[int, typer.Option("--input-size", help="Height and width of the images.", min=32)] = 224,
    folder: OnnxFolder = Path("onnx"),
    force: Annotated[bool, typer.Option("--force", help="Make files that are up to date, too.")] = False,
) -> None:
    """Export networks to checked ONNX files.

    Examples: trtzoo export dpn131 · trtzoo export --all --precision fp32,fp16 · trtzoo export densenet121 --weights my.pth
    """
    if io not in ("fp32", "fp16"):
        raise UsageError(f"--io {io!r}: say fp32 or fp16.")
    fixed: Batch = "dynamic" if batch == "dynamic" else batches(batch)[0]
    rows = _models(names, every)
    kinds = list(dict.fromkeys(precision.find(name).graph for name in _precisions(precisions)))
    failed = False
    for model in rows:
        checkpoint = locate(model, weights)
        _warn_of_fallback(model, checkpoint)
        orders = [
            Order(
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
                failed |= bool(done.error)
                _report(done)
    if failed:
        raise typer.Exit(1)


def _report(done: Exported) -> None:
    if done.error:
        talk.print(f"{done.path}: {done.error}", style="red", markup=False)
    elif done.up_to_date:
        print(f"{done.path}  up to date")
    elif done.sidecar:
        size, error = done.sidecar.bytes / 2**20, done.sidecar.check.error
        print(f"{done.path}  {size:.0f} MiB  error {error:.1e}  {done.seconds:.1f} s")


_warned: set[str] = set()


def _warn_of_fallback(model: Model, checkpoint: Checkpoint) -> None:
    """Say it once, and so that it cannot be missed."""
    if not checkpoint.fallback or checkpoint.fallback in _warned:
        return
    _warned.add(checkpoint.fallback)
    talk.rule("[bold white on red] SEEDED WEIGHTS ", style="red")
    talk.print(
        f"{checkpoint.fallback} The published weights were not to be had, so the networks carry seeded ones: right for\n"
        "speed, useless for accuracy. Every file and table made from them says so. To insist: --weights paddle.",
        style="bold red",
        markup=False,
    )
    talk.rule(style="red")


def main() -> None:
    """Run the command line; every error of ours is one sentence and its exit code."""
    try:
        app(standalone_mode=False)
    except TrtzooError as error:
        talk.print(f"trtzoo: {error}", style="red", markup=False)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
