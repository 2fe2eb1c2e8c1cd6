"""`trtzoo parity`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.api import parity
from trtzoo.api.artifacts import graph_path
from trtzoo.api.checking import SYNTHETIC_IMAGES, parity_images
from trtzoo.api.selection import select_models, select_precisions, select_runtime
from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.core.console import log, progress_bars
from trtzoo.core.errors import DataError, TrtzooError
from trtzoo.report.tables.formats import render
from trtzoo.report.tables.parity import divergence_sentence, first_divergence, layer_table, tables
from trtzoo.verification.check import ImageSet, block_divergences
from trtzoo.verification.tolerances import ParityVerdict


@command("parity")
def parity_command(
    names: options.Models = None,
    every: options.All = False,
    data: Annotated[
        Path | None,
        typer.Option(help="Photographs, with or without labels (default: synthetic images, on which only logits count)."),
    ] = None,
    gpu: options.Gpu = "auto",
    precision: options.Precisions = "fp32",
    batch: options.Batches = "1,4,8",
    runtime: options.Runtime = None,
    limit: Annotated[
        int | None, typer.Option(help=f"Use at most this many images (default: all, or {SYNTHETIC_IMAGES} synthetic).", min=1)
    ] = None,
    classes: options.ClassFile = None,
    labels: options.Labels = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare the FP16 graph with the FP32 graph block by block, in ONNX Runtime.")
    ] = False,
    form: options.Format = "rich",
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
) -> None:
    """Compare engines with the PyTorch reference on the same images, each engine at its own batch size.

    Exit code 1 if one fails. The table's caption has the limits of each precision. A plain folder of photographs without labels
    is enough. --layers names the first block at which FP16 leaves tolerance.

    Examples: trtzoo parity densenet121 --data photographs; trtzoo parity --all --precision fp32,fp16 --batch 1,8;
    trtzoo parity dpn131 --layers
    """
    models = options.select(names, every)
    if layers:
        select_runtime(gpu, runtime, select_precisions(precision))
        images = parity_images(data, limit=limit, classes=classes, labels=labels)
        _compare_layers(select_models(models), images, onnx_dir, form)
        return
    verdicts = parity(
        models,
        data=data,
        gpu=gpu,
        precision=precision,
        batch=batch,
        runtime=runtime,
        limit=limit,
        classes=classes,
        labels=labels,
        onnx_dir=onnx_dir,
        engines_dir=engines_dir,
        on_result=lambda row: log.info("%s %s", row.title, "fails" if row.reasons else "passes"),
    )
    print(render(tables(verdicts, _describe_images(data, verdicts)), form), end="")
    failed = [row for row in verdicts if row.reasons]
    for row in failed:
        log.error("%s cannot replace the reference: %s", row.title, "; ".join(row.reasons))
    if failed:
        raise typer.Exit(1)


def _compare_layers(models: list[str], images: Callable[[int], ImageSet], onnx: Path, form: str) -> None:
    """Print every model's blocks and the first of each that leaves tolerance."""
    shown, failed = [], 0
    for model in models:
        fp32, fp16 = (graph_path(onnx, model, kind) for kind in ("fp32", "fp16"))
        try:
            with progress_bars() as bars:
                bars.add_task(f"comparing the blocks of {model}", total=None)
                blocks = block_divergences(model, fp32, fp16, images)
        except DataError:
            raise
        except TrtzooError as error:
            failed += 1
            log.error("%s: %s", model, error)
            continue
        shown.append(layer_table(model, blocks))
        diverged = first_divergence(blocks) is not None
        failed += diverged
        log.log(logging.ERROR if diverged else logging.INFO, "%s: %s", model, divergence_sentence(blocks))
    if shown:
        print(render(shown, form), end="")
    if failed:
        raise typer.Exit(1)


def _describe_images(data: Path | None, verdicts: list[ParityVerdict]) -> str:
    if data is None:
        return "synthetic images"
    labelled = any(row.metrics and row.metrics.labelled for row in verdicts)
    return f"photographs of {data.resolve().name}, {'labelled' if labelled else 'without labels'}"
