"""`trtzoo parity`."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trtzoo import dataset, machine
from trtzoo.cli import completion
from trtzoo.cli.bench import _engines, _runtime
from trtzoo.cli.common import All, Batches, EnginesFolder, Models, OnnxFolder, Precisions, app, batches, precisions, rows, talk
from trtzoo.engines import peek
from trtzoo.errors import UsageError
from trtzoo.parity import Bad, Engine, Images, parity
from trtzoo.policy import Verdict
from trtzoo.report.formats import FORMATS, render
from trtzoo.report.parity import table
from trtzoo.runtimes import Runtime
from trtzoo.spec import Device, need

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
    gpu: Annotated[
        str,
        typer.Option(
            "--gpu",
            help="cpu, a GPU's name such as t4, or auto: the first GPU, else the CPU.",
            autocompletion=completion.device,
        ),
    ] = "auto",
    precision_list: Precisions = "fp32",
    batch: Batches = "1,4,8",
    runtime: Annotated[
        str | None,
        typer.Option(help="What runs the networks. Default: the device's own.", autocompletion=completion.runtime),
    ] = None,
    limit: Annotated[int, typer.Option(help=f"No more images than these; 0: all, or {MADE_UP} made-up ones.", min=0)] = 0,
    class_file: Annotated[
        Path | None, typer.Option("--classes", help="The names of the data set's classes, one a line.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(help="A label list that is not in the data's folder.")] = None,
    form: Annotated[str, typer.Option("--format", help=f"{', '.join(FORMATS)}.", autocompletion=completion.form)] = "rich",
    onnx: OnnxFolder = Path("onnx"),
    engines_root: EnginesFolder = Path("engines"),
) -> None:
    """Tell whether engines may stand in for the PyTorch reference, each at its own batch, on the same images.

    Examples: trtzoo parity densenet121 --data photographs; trtzoo parity --all --precision fp32,fp16 --batch 1,8
    """
    models, kinds, sizes = [row.name for row in rows(names, every)], precisions(precision_list), batches(batch)
    if form not in FORMATS:
        render([], form)
    device = machine.choose(gpu)
    how = _runtime(runtime, device)
    need(how.name, module=how.module, extra=how.extra)
    if device.kind == "cpu" and "tf32" in kinds:
        raise UsageError("tf32 is a mode of NVIDIA GPUs; on this processor say --precision fp32.")
    images = cache(lambda classes: _images(data, classes, limit, class_file, labels))
    verdicts: list[Verdict] = []
    for model in models:
        files = [(kind, size, *_files(model, kind, size, how, device, onnx, engines_root)) for kind in kinds for size in sizes]
        options = {"device": device.index} if device.kind == "gpu" else {}
        todo = [
            Engine(model=model, precision=kind, batch=size, runtime=how.name, artifact=artifact, onnx=graph, options=options)
            for kind, size, artifact, graph in files
        ]
        verdicts += _compare(todo, images)
    print(render([table(verdicts, _seen(data, verdicts))], form), end="")
    failed = [row for row in verdicts if row.reasons]
    for row in failed:
        talk.print(f"{row.title} may not stand in for the reference: {'; '.join(row.reasons)}", style="red", markup=False)
    if failed:
        raise typer.Exit(1)


def _files(model: str, kind: str, size: int, how: Runtime, device: Device, onnx: Path, root: Path) -> tuple[Path, Path]:
    """The file to be run, and the ONNX file of its network."""
    if device.kind == "cpu":
        graph = _graph(onnx, model, kind)
        return graph, graph
    engine = _engines(root, device, how) / f"{model}-{kind}-b{size}.engine"
    known = peek(engine)
    return engine, onnx / (known.onnx.name if known else f"{model}-{kind}.onnx")


def _graph(folder: Path, model: str, kind: str) -> Path:
    """The model's usual file, or the only one of other classes or input size."""
    usual = folder / f"{model}-{kind}.onnx"
    others = [
        path for path in folder.glob(f"{usual.stem}-*.onnx") if re.fullmatch(r"(-c\d+)?(-s\d+)?", path.stem[len(usual.stem) :])
    ]
    return others[0] if len(others) == 1 and not usual.exists() else usual


def _images(data: Path | None, classes: int, limit: int, class_file: Path | None, labels: Path | None) -> Images:
    """Labelled photographs, unlabelled ones (a folder of images without class folders or a list), or made-up images."""
    if data is None:
        return Images(made_up=limit or MADE_UP)
    if paths := _unlabelled(data, labels):
        titles = tuple(os.fsencode(path.name).decode(errors="replace") for path in paths)
        return (
            Images(paths=tuple(paths), titles=titles)
            if not limit
            else Images(paths=tuple(paths[:limit]), titles=titles[:limit])
        )
    found = dataset.read(data, classes=classes, limit=limit, class_file=class_file, labels=labels)
    for note in found.notes:
        talk.print(note, style="yellow", markup=False)
    titles = tuple(found.title(number) for number in range(len(found)))
    return Images(paths=found.paths, titles=titles, labels=found.labels)


def _unlabelled(folder: Path, labels: Path | None) -> list[Path]:
    """The images of a folder that has neither class folders nor a label list."""
    if not folder.is_dir() or labels or any((folder / name).is_file() for name in dataset.LISTS):
        return []
    entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if any(path.is_dir() for path in entries):
        return []
    return sorted(path for path in entries if path.name.lower().endswith(dataset.SUFFIXES))


def _compare(todo: list[Engine], images: Callable[[int], Images]) -> list[Verdict]:
    """The verdicts, told as they come; images that cannot be read are named."""
    verdicts = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False, refresh_per_second=1) as progress:
        bar = progress.add_task("", total=None)
        for found in parity(todo, images, watch=lambda who, done: progress.update(bar, description=who, completed=done)):
            if isinstance(found, Bad):
                talk.print(f"left out: {found.title} cannot be read: {found.reason}", style="yellow", markup=False)
            else:
                verdicts.append(found)
                talk.print(f"{found.title} {'fails' if found.reasons else 'passes'}", markup=False)
    return verdicts


def _seen(data: Path | None, verdicts: list[Verdict]) -> str:
    """What the engines were shown."""
    if data is None:
        return "made-up images"
    labelled = any(row.found and row.found.labelled for row in verdicts)
    return f"photographs of {data.resolve().name}, {'labelled' if labelled else 'without labels'}"
