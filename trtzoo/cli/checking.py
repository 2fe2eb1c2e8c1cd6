"""`trtzoo eval` and `trtzoo parity`."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from typer import Option

from trtzoo import api
from trtzoo.accuracy.records import DEFAULT_BATCH, Evaluation
from trtzoo.api import checking, selection
from trtzoo.api.artifacts import find_graph
from trtzoo.cli import InterruptError, options
from trtzoo.cli.application import command, forward
from trtzoo.cli.lines import EvalLine, eval_line, print_line
from trtzoo.core.console import log, print_result, progress_bars
from trtzoo.core.errors import DataError, TrtzooError, UsageError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.images.dataset import DataSet
from trtzoo.report.published import document
from trtzoo.report.results import weights_text
from trtzoo.report.tables import parity as report
from trtzoo.report.tables.accuracy import comparable
from trtzoo.report.tables.formats import render
from trtzoo.verification.check import block_divergences, quantized_blocks
from trtzoo.verification.tolerances import ROUNDING, BlockError, Divergence, ParityVerdict


@command("eval")
def evaluate(
    models: options.Models = None,
    data: Annotated[Path | None, Option(help="Labelled photographs: class folders, or a label list.")] = None,
    every: options.All = False,
    runtime: options.Runtime = None,
    precision: options.OwnPrecisions = None,
    batch: Annotated[int | None, Option(help=f"Batch size (default: the file's or {DEFAULT_BATCH}).", min=1, max=1024)] = None,
    limit: Annotated[int | None, Option(help="Use at most this many images, spread over all classes.", min=1)] = None,
    classes: options.ClassFile = None,
    labels: options.Labels = None,
    resume: Annotated[bool, Option("--resume", help="Continue interrupted evaluations and keep finished ones.")] = False,
    onnx: options.OnnxFiles = None,
    form: options.LineFormat = "text",
    keep_crops: Annotated[Path | None, Option(help="A folder for decoded images, which the next evaluation reuses.")] = None,
    gpu: options.Gpu = "auto",
    device: options.GpuDevice = None,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> bool:
    """Measure top-1 and top-5 accuracy on labelled photographs, preprocessed as the publisher of the weights does.

    Data is one folder: class folders; or images and val_list.txt (PaddleClas); or images with the ground truth and meta.mat of
    ImageNet's devkit. If the only export of a model has other classes or input size (onnx/densenet121-fp32-c10-s32.onnx), the
    model's name selects it; so does --onnx.

    Examples: trtzoo eval --all --data ILSVRC2012/val; trtzoo eval dpn68 --data digits --precision fp32,fp16;
    trtzoo eval --onnx onnx/densenet121-fp32-c10-s32.onnx --data digits --limit 100
    """
    if data is None:
        raise UsageError("Give the folder of the labelled photographs: --data DIR")
    models, onnx = options.select(models, every), onnx or None
    arguments, failed = locals(), []

    def show(record: Evaluation) -> None:
        if form == "json":
            print_line(eval_line(record))
        else:
            print_result(sentence(record))

    def show_failure(name: str, error: TrtzooError) -> None:
        failed.append(name)
        if form == "json":
            print_line(EvalLine(name=name, error=str(error)))
        else:
            print_result(f"{name}: failed: {error}")

    try:
        records = forward(api.evaluate, arguments, on_result=show, on_error=show_failure)
    except KeyboardInterrupt:
        raise InterruptError("Interrupted. Finished images are kept; rerun with --resume to continue.") from None
    if failed:
        kept = f"; the others are kept in {results / records[0].device.key}" if records else ""
        log.error("%d of %d evaluations failed%s.", len(failed), len(records) + len(failed), kept)
    return bool(failed)


def sentence(record: Evaluation) -> str:
    """The result of an evaluation beside what was published for that network, if it is that network."""
    top1, top5 = record.top1 / record.images, record.top5 / record.images
    row = document().models.get(record.model) if comparable([record]) else None
    published = "nothing published for this network with these weights"
    if row:
        difference = f"{100 * (top1 - row.top1):+.2f} and {100 * (top5 - row.top5):+.2f} points"
        published = f"published {row.top1:.1%} and {row.top5:.1%}: {difference}"
    return (
        f"{record.subject.title} {record.precision} {record.runtime} (batch {record.batch}, {weights_text(record.weights)}): "
        f"top-1 {top1:.2%}, top-5 {top5:.2%}; "
        f"{published}; {record.images} images of {record.dataset}, {len(record.bad)} bad, fingerprint {record.fingerprint[:12]}"
    )


@command("parity")
def parity(
    models: options.Models = None,
    every: options.All = False,
    onnx: options.OnnxFiles = None,
    data: Annotated[
        Path | None,
        Option(help="Photographs, with or without labels (default: synthetic images, on which only logits count)."),
    ] = None,
    gpu: options.Gpu = "auto",
    device: options.GpuDevice = None,
    precision: options.OwnPrecisions = None,
    batch: options.OwnBatches = None,
    runtime: options.Runtime = None,
    limit: Annotated[
        int | None,
        Option(help=f"Use at most this many images (default: all, or {checking.SYNTHETIC_IMAGES} synthetic).", min=1),
    ] = None,
    classes: options.ClassFile = None,
    labels: options.Labels = None,
    layers: Annotated[
        bool,
        Option(
            "--layers",
            help="Compare the FP16 graph, or that of --precision, with the FP32 graph block by block, in ONNX Runtime.",
        ),
    ] = False,
    form: options.Format = "rich",
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
) -> bool:
    """Compare engines with the PyTorch reference on the same images, each engine at its own batch size.

    Exit code 1 if one fails. The table's caption has the limits of each precision. A plain folder of photographs without labels
    is enough. --layers names the first block at which FP16 or BF16 leaves tolerance, or ranks the blocks of INT8 or FP8 by the
    error they add.

    Examples: trtzoo parity densenet121 --data photographs; trtzoo parity --all --precision fp32,fp16 --batch 1,8;
    trtzoo parity dpn131 --layers; trtzoo parity dpn131 --layers --precision int8 --data photographs
    """
    models, onnx = options.select(models, every), onnx or None
    if layers:
        given = {"--onnx": onnx, "--batch": batch, "--runtime": runtime}
        if unused := [name for name, value in given.items() if value]:
            raise UsageError(f"--layers compares a model's two graphs in ONNX Runtime. Leave out {', '.join(unused)}.")
        precisions = selection.select_precisions(precision or "fp32")
        selection.select_runtime(gpu, runtime, precisions, device=device)
        narrow = next((name for name in precisions if name in ROUNDING or PRECISIONS[name].quantized), "fp16")
        images = checking.image_reader(data, limit=limit, classes=classes, labels=labels)
        return _compare_layers(selection.select_models(models), images, onnx_dir, form, narrow)
    arguments, missing = locals(), list[TrtzooError]()
    verdicts = forward(api.parity, arguments, on_result=_log, on_missing=missing.append)
    for error in missing:
        log.error("%s", error)
    if not verdicts:
        return True
    used = "synthetic images"
    if data:
        labelled = any(row.metrics and row.metrics.labelled for row in verdicts)
        used = f"photographs of {data.resolve().name}, {'labelled' if labelled else 'without labels'}"
    print(render(report.tables(verdicts, used), form), end="")
    failed = [row for row in verdicts if row.reasons]
    for row in failed:
        log.error("%s cannot replace the reference: %s", row.title, "; ".join(row.reasons))
    return bool(failed or missing)


def _log(verdict: ParityVerdict) -> None:
    log.info("%s %s", verdict.title, "fails" if verdict.reasons else "passes")


def _compare_layers(models: list[str], images: Callable[[int], DataSet], onnx: Path, form: str, precision: str) -> bool:
    """Print every model's blocks and the first of each that leaves tolerance; return whether one does, or a model fails.

    The blocks are those of the graph of `precision`.
    """
    shown, failed = [], False
    for model in models:
        fp32, other = (find_graph(onnx, model, kind) for kind in ("fp32", PRECISIONS[precision].graph))
        found: list[Divergence] | list[BlockError]
        try:
            with progress_bars() as bars:
                bars.add_task(f"comparing the blocks of {model}", total=None)
                compare = quantized_blocks if PRECISIONS[precision].quantized else block_divergences
                found = compare(model, fp32, other, precision, images)
        except DataError:
            raise
        except TrtzooError as error:
            failed = True
            log.error("%s: %s", model, error)
            continue
        shown.append(report.layer_table(model, found))
        diverged = any(not row.error <= row.limit for row in found)
        failed |= diverged
        log.log(logging.ERROR if diverged else logging.INFO, "%s: %s", model, report.layer_sentence(found))
    if shown:
        print(render(shown, form), end="")
    return failed
