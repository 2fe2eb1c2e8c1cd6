"""`trtzoo parity`."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trtzoo.accuracy.records import EvaluationTask
from trtzoo.artifacts.engines import read_sidecar_unchecked
from trtzoo.cli import completion
from trtzoo.cli.common import (
    All,
    Batches,
    ClassFile,
    EnginesFolder,
    GpuOption,
    Models,
    OnnxFolder,
    Precisions,
    RuntimeName,
    app,
    batches,
    engines_for,
    precisions,
    ready,
    rows,
    talk,
)
from trtzoo.cli.eval import ArtifactPaths
from trtzoo.core.errors import DataError, TrtzooError
from trtzoo.core.modules import require_module
from trtzoo.images import dataset
from trtzoo.report.tables.formats import FORMATS, render
from trtzoo.report.tables.parity import divergence_sentence, first_divergence, layer_table, tables
from trtzoo.verification.check import Candidate, ImageSet, UnreadableImage, block_divergences, parity
from trtzoo.verification.tolerances import ParityVerdict

MADE_UP = 32

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Photographs, with labels or without. Default: made-up images, on which logits alone count."),
]


@app.command("parity")
def parity_command(
    names: Models = None,
    every: All = False,
    data: Data = None,
    gpu: GpuOption = "auto",
    precision_list: Precisions = "fp32",
    batch: Batches = "1,4,8",
    runtime: RuntimeName = None,
    limit: Annotated[int, typer.Option(help=f"No more images than these; 0: all, or {MADE_UP} made-up ones.", min=0)] = 0,
    class_file: ClassFile = None,
    labels: Annotated[Path | None, typer.Option(help="A label list that is not in the data's folder.")] = None,
    layers: Annotated[
        bool, typer.Option("--layers", help="Compare the FP16 graph with the FP32 graph block by block, by ONNX Runtime.")
    ] = False,
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.", autocompletion=completion.form)] = "rich",
    onnx: OnnxFolder = Path("onnx"),
    engines_root: EnginesFolder = Path("engines"),
) -> None:
    """Tell whether engines may stand in for the PyTorch reference, each at its own batch, on the same images.

    Exit code 1 where one may not. The limits of each precision are in the table's caption. Photographs without labels, in a
    plain folder, serve as well. --layers names the first block at which FP16 leaves tolerance.

    Examples: trtzoo parity densenet121 --data photographs; trtzoo parity --all --precision fp32,fp16 --batch 1,8;
    trtzoo parity dpn131 --layers
    """
    models, kinds, sizes = [row.name for row in rows(names, every)], precisions(precision_list), batches(batch)
    if form not in FORMATS:
        render([], form)
    device, how = ready(gpu, runtime, kinds)
    for module in ("cv2", "PIL") if data else ():
        require_module("trtzoo parity --data", module=module, extra="eval")
    where = ArtifactPaths(onnx, engines_for(engines_root, device, how) if how.reads == "engine" else None)
    images = cache(lambda classes: _images(data, classes, limit, class_file, labels))
    if layers:
        _layers(models, where.onnx, images, form)
        return
    verdicts: list[ParityVerdict] = []
    for model in models:
        tasks = [where.of_model(model, kind, device, how, size) for kind in kinds for size in sizes]
        verdicts += _compare([_engine(model, task, onnx) for task in tasks], images)
    print(render(tables(verdicts, _seen(data, verdicts)), form), end="")
    failed = [row for row in verdicts if row.reasons]
    for row in failed:
        talk.print(f"{row.title} may not stand in for the reference: {'; '.join(row.reasons)}", style="red", markup=False)
    if failed:
        raise typer.Exit(1)


def _engine(model: str, task: EvaluationTask, onnx: Path) -> Candidate:
    """The file to be run, with the ONNX file of its network."""
    artifact = Path(task.artifact)
    known = read_sidecar_unchecked(artifact) if artifact.suffix == ".engine" else None
    return Candidate(
        model=model,
        precision=task.precision,
        batch=task.batch or 1,
        runtime=task.runtime,
        artifact=artifact,
        onnx=onnx / known.onnx.name if known else artifact,
        options=task.options,
    )


def _layers(models: list[str], onnx: Path, images: Callable[[int], ImageSet], form: str) -> None:
    """Every model's blocks, and the first of each that leaves tolerance."""
    where = ArtifactPaths(onnx, None)
    shown, failed = [], 0
    for model in models:
        single, half = (where.graph(model, kind) for kind in ("fp32", "fp16"))
        try:
            with talk.status(f"comparing the blocks of {model}"):
                found = block_divergences(model, single, half, images)
        except DataError:
            raise
        except TrtzooError as error:
            failed += 1
            talk.print(f"{model}: {error}", style="red", markup=False)
            continue
        shown.append(layer_table(model, found))
        first = first_divergence(found)
        failed += first is not None
        talk.print(f"{model}: {divergence_sentence(found)}", style="red" if first else None, markup=False)
    if shown:
        print(render(shown, form), end="")
    if failed:
        raise typer.Exit(1)


def _images(data: Path | None, classes: int, limit: int, class_file: Path | None, labels: Path | None) -> ImageSet:
    """Labelled photographs, unlabelled ones (a folder of images without class folders or a list), or made-up images."""
    if data is None:
        return ImageSet(synthetic=limit or MADE_UP)
    if paths := _unlabelled(data, labels):
        titles = tuple(os.fsencode(path.name).decode(errors="replace") for path in paths)
        return (
            ImageSet(paths=tuple(paths), titles=titles)
            if not limit
            else ImageSet(paths=tuple(paths[:limit]), titles=titles[:limit])
        )
    found = dataset.read_dataset(data, classes=classes, limit=limit, class_file=class_file, labels=labels)
    for note in found.notes:
        talk.print(note, style="yellow", markup=False)
    titles = tuple(found.title(number) for number in range(len(found)))
    return ImageSet(paths=found.paths, titles=titles, labels=found.labels)


def _unlabelled(folder: Path, labels: Path | None) -> list[Path]:
    """The images of a folder that has neither class folders nor a label list."""
    if not folder.is_dir() or labels or any((folder / name).is_file() for name in dataset.LISTS):
        return []
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.is_dir() for path in entries):
        return []
    return sorted(path for path in entries if path.name.lower().endswith(dataset.SUFFIXES))


def _compare(todo: list[Candidate], images: Callable[[int], ImageSet]) -> list[ParityVerdict]:
    """The verdicts, told as they come; images that cannot be read are named."""
    verdicts = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False, refresh_per_second=1) as progress:
        bar = progress.add_task("", total=None)
        for found in parity(todo, images, on_progress=lambda who, done: progress.update(bar, description=who, completed=done)):
            if isinstance(found, UnreadableImage):
                talk.print(f"left out: {found.title} cannot be read: {found.reason}", style="yellow", markup=False)
            else:
                verdicts.append(found)
                talk.print(f"{found.title} {'fails' if found.reasons else 'passes'}", markup=False)
    return verdicts


def _seen(data: Path | None, verdicts: list[ParityVerdict]) -> str:
    """What the engines were shown."""
    if data is None:
        return "made-up images"
    labelled = any(row.metrics and row.metrics.labelled for row in verdicts)
    return f"photographs of {data.resolve().name}, {'labelled' if labelled else 'without labels'}"
