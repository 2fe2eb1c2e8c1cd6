"""`trtzoo eval`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.accuracy.records import DEFAULT_BATCH, Evaluation
from trtzoo.api import evaluate
from trtzoo.cli import InterruptError, completion, options
from trtzoo.cli.application import command
from trtzoo.core.console import log, print_result
from trtzoo.core.errors import TrtzooError, UsageError
from trtzoo.report.published import document


@command("eval")
def eval_command(
    names: options.Models = None,
    data: Annotated[Path | None, typer.Option(help="Labelled photographs: class folders, or a label list.")] = None,
    every: options.All = False,
    runtime: options.Runtime = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Comma list of fp32, tf32, fp16 (default: fp32; with --onnx the file's).",
            autocompletion=completion.precisions,
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help=f"Batch size (default: the file's or {DEFAULT_BATCH}).", min=1, max=1024)
    ] = None,
    limit: options.Limit = None,
    classes: options.ClassFile = None,
    labels: options.Labels = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue interrupted evaluations and keep finished ones.")] = False,
    onnx: Annotated[
        Path | None, typer.Option(help="Evaluate one exported file, or on a GPU its engine, instead of models.")
    ] = None,
    keep_crops: Annotated[
        Path | None, typer.Option(help="A folder for decoded images, which the next evaluation reuses.")
    ] = None,
    gpu: options.Gpu = "auto",
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> None:
    """Measure top-1 and top-5 accuracy on labelled photographs, preprocessed as the publisher of the weights does.

    Data is one folder: class folders; or images and val_list.txt (PaddleClas); or images with the ground truth and meta.mat of
    ImageNet's devkit. If the only export of a model has other classes or input size (onnx/densenet121-fp32-c10-s32.onnx), the
    model's name selects it; so does --onnx.

    Examples: trtzoo eval --all --data ILSVRC2012/val; trtzoo eval dpn68 --data digits --precision fp32,fp16;
    trtzoo eval --onnx onnx/densenet121-fp32-c10-s32.onnx --data digits --limit 100
    """
    if data is None:
        raise UsageError("Give the folder of the labelled photographs: --data DIR")
    failed: list[str] = []

    def report_failure(name: str, error: TrtzooError) -> None:
        failed.append(name)
        print_result(f"{name}: failed: {error}")

    try:
        records = evaluate(
            options.select(names, every, onnx),
            data=data,
            onnx=onnx,
            gpu=gpu,
            precision=precision,
            batch=batch,
            runtime=runtime,
            limit=limit,
            classes=classes,
            labels=labels,
            resume=resume,
            keep_crops=keep_crops,
            onnx_dir=onnx_dir,
            engines_dir=engines_dir,
            results=results,
            on_result=lambda record: print_result(sentence(record)),
            on_error=report_failure,
        )
    except KeyboardInterrupt:
        raise InterruptError("Interrupted. Finished images are kept; rerun with --resume to continue.") from None
    if failed:
        folder = results / records[0].device.key if records else results
        log.error("%d of %d evaluations failed; the others are kept in %s.", len(failed), len(records) + len(failed), folder)
        raise typer.Exit(1)


def sentence(record: Evaluation) -> str:
    """The result of an evaluation beside what was published for that network, if it is that network."""
    top1, top5 = record.top1 / record.images, record.top5 / record.images
    row = document().models.get(record.model) if (record.classes, record.size) == (1000, 224) else None
    published = "nothing published for this network"
    if row:
        difference = f"{100 * (top1 - row.top1):+.2f} and {100 * (top5 - row.top5):+.2f} points"
        published = f"published {row.top1:.1%} and {row.top5:.1%}: {difference}"
    return (
        f"{record.name} (batch {record.batch}, {record.weights.source} weights): top-1 {top1:.2%}, top-5 {top5:.2%}; "
        f"{published}; {record.images} images of {record.dataset}, {len(record.bad)} bad, fingerprint {record.fingerprint[:12]}"
    )
