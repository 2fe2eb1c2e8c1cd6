"""`trtzoo eval`."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from trtzoo.accuracy.records import DEFAULT_BATCH, Evaluation, EvaluationTask
from trtzoo.artifacts import engines
from trtzoo.cli import completion
from trtzoo.cli.common import (
    All,
    ClassFile,
    EnginesFolder,
    GpuOption,
    Models,
    OnnxFolder,
    Results,
    RuntimeName,
    app,
    engines_for,
    precisions,
    ready,
    rows,
    say,
    talk,
)
from trtzoo.core.errors import StoreError, TrtzooError, UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Device
from trtzoo.images import dataset
from trtzoo.images.dataset import DataSet
from trtzoo.report.published import document
from trtzoo.runtimes.registry import Runtime

TOLD = 5
"""Bad images that are told one by one; all of them are in the record."""


@app.command("eval")
def eval_command(
    names: Models = None,
    data: Annotated[Path | None, typer.Option("--data", help="Labelled photographs: class folders, or a label list.")] = None,
    every: All = False,
    runtime: RuntimeName = None,
    precision_list: Annotated[
        str | None,
        typer.Option(
            "--precision",
            help="Comma list of fp32, tf32, fp16. Default: fp32; with --onnx the file's own.",
            autocompletion=completion.precisions,
        ),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help=f"Images at once. Default: the file's own, or {DEFAULT_BATCH}.", min=1, max=1024)
    ] = None,
    limit: Annotated[int, typer.Option(help="No more images than these, spread over all classes; 0: all.", min=0)] = 0,
    class_file: ClassFile = None,
    labels: Annotated[
        Path | None, typer.Option(help='A label list ("path class" a line) or ground truth that is not in the data\'s folder.')
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what was broken off, and keep what is finished.")
    ] = False,
    onnx_file: Annotated[
        Path | None, typer.Option("--onnx", help="One exported file, or on a GPU its engine, instead of models.")
    ] = None,
    crops: Annotated[
        Path | None, typer.Option("--keep-crops", help="A folder for decoded images: the next evaluation need not decode.")
    ] = None,
    gpu: GpuOption = "auto",
    onnx: OnnxFolder = Path("onnx"),
    engines_root: EnginesFolder = Path("engines"),
    results: Results = Path("benchmarks"),
) -> None:
    """Measure top-1 and top-5 accuracy on labelled photographs, prepared as the publisher of the weights prepares them.

    Data: a folder of class folders; or images and val_list.txt (PaddleClas), or the ground truth and meta.mat of ImageNet's
    devkit, in one folder. A network with other classes or input size is found by its model's name where it is the only one
    (onnx/densenet121-fp32-c10-s32.onnx), or by --onnx.

    Examples: trtzoo eval --all --data ILSVRC2012/val; trtzoo eval dpn68 --data digits --precision fp32,fp16;
    trtzoo eval --onnx onnx/densenet121-fp32-c10-s32.onnx --data digits --limit 100
    """
    if data is None:
        raise UsageError("Say where the labelled photographs are: --data DIR")
    if onnx_file and (names or every):
        raise UsageError("Say either model names or --onnx FILE.")
    for module in ("cv2", "PIL"):
        require_module("trtzoo eval", module=module, extra="eval")
    kinds = precisions(precision_list or "fp32")
    device, how = ready(gpu, runtime, kinds)
    where = ArtifactPaths(onnx, engines_for(engines_root, device, how) if how.reads == "engine" else None)
    if onnx_file:
        todo = [where.own(onnx_file, kinds[0] if precision_list else "", device, how, batch)]
    else:
        models = [row.name for row in rows(names, every)]
        todo = [where.of_model(model, kind, device, how, batch) for model in models for kind in kinds]
    read = cache(lambda classes: _read(data, classes, limit, class_file, labels))
    failed = _sweep(todo, read, results, resume=resume, crops=crops)
    if failed:
        talk.print(f"{failed} of {len(todo)} evaluations failed; the others are kept in {results / device.key}.", style="red")
        raise typer.Exit(1)


class ArtifactPaths(NamedTuple):
    """The folders of the files: of graphs, and of engines on a GPU."""

    onnx: Path
    engines: Path | None

    def of_model(self, model: str, kind: str, device: Device, how: Runtime, batch: int | None) -> EvaluationTask:
        """The model's graph, or the engine that was built of it."""
        graph = PRECISIONS[kind].graph
        return self._task(self.graph(model, graph), graph, kind, device, how, batch)

    def graph(self, model: str, precision: str) -> Path:
        """The model's usual file, or the only one of other classes or input size."""
        usual = self.onnx / f"{model}-{precision}.onnx"
        others = [
            path for path in self.onnx.glob(f"{usual.stem}-*.onnx") if re.fullmatch(rf"{usual.stem}(-c\d+)?(-s\d+)?", path.stem)
        ]
        return others[0] if len(others) == 1 and not usual.exists() else usual

    def own(self, path: Path, kind: str, device: Device, how: Runtime, batch: int | None) -> EvaluationTask:
        """A file by its path. Raises StoreError where it is no export, UsageError where its precision or runtime is another."""
        if path.suffix == ".engine":
            if how.reads == "graph":
                raise UsageError(f"{path} is an engine, and {how.name} on {device.name} runs exported graphs. Name its graph.")
            return _task(path, kind, device, how, batch, "")
        _, sidecar = engines.read_source(path, None)
        if sidecar is None:
            raise StoreError(f"{path} has no sidecar, so nobody knows how its photographs are prepared. Run: trtzoo export")
        if kind and PRECISIONS[kind].graph != sidecar.precision:
            raise UsageError(f"{path} is {sidecar.precision}: it cannot be evaluated as {kind}.")
        return self._task(path, sidecar.precision, kind or sidecar.precision, device, how, batch)

    def _task(self, graph: Path, precision: str, kind: str, device: Device, how: Runtime, batch: int | None) -> EvaluationTask:
        """The graph itself, or the engine that was built of it."""
        if self.engines is None:
            return _task(graph, kind, device, how, batch, f"trtzoo export {graph.stem.split('-')[0]} --precision {precision}")
        name = graph.stem.replace(f"-{precision}", "", 1)
        return _task(self.engines / f"{name}-{kind}-b{batch or DEFAULT_BATCH}.engine", kind, device, how, batch, "")


def _task(path: Path, kind: str, device: Device, how: Runtime, batch: int | None, remedy: str) -> EvaluationTask:
    options: dict[str, bool | int] = {"device": device.index} if device.kind == "gpu" else {}
    if device.kind == "gpu" and how.reads == "graph":
        options["tf32"] = PRECISIONS[kind].tf32
    return EvaluationTask(
        artifact=str(path), precision=kind, runtime=how.name, device=device, batch=batch, options=options, remedy=remedy
    )


def _read(folder: Path, classes: int, limit: int, class_file: Path | None, labels: Path | None) -> DataSet:
    with talk.status(f"reading {folder}"):
        data = dataset.read_dataset(folder, classes=classes, limit=limit, class_file=class_file, labels=labels)
    for note in data.notes:
        talk.print(note, style="yellow", markup=False)
    talk.print(f"{len(data)} images of {data.name}, {classes} classes, fingerprint {data.fingerprint[:12]}", markup=False)
    return data


def _sweep(
    todo: list[EvaluationTask], read: Callable[[int], DataSet], results: Path, *, resume: bool, crops: Path | None
) -> int:
    """Evaluate one file after another and tell each; how many failed. A data set that cannot be used ends the command."""
    failed = 0
    from trtzoo.accuracy.evaluate import evaluate, open_for_evaluation
    from trtzoo.images.decoders import Decoders

    with Decoders() as decoders:
        for task in todo:
            name = Path(task.artifact).name
            try:
                found = open_for_evaluation(task)
            except TrtzooError as error:
                failed += _fail(name, error)
                continue
            data = read(found.classes)
            try:
                with _bar(name) as watch:
                    done = evaluate(task, found, data, results, decoders, resume=resume, crop_folder=crops, on_progress=watch)
            except KeyboardInterrupt:
                talk.print("\nStopped. What was done is kept; to go on, say the same with --resume.", style="red")
                raise typer.Exit(130) from None
            except TrtzooError as error:
                failed += _fail(name, error)
            else:
                _tell(done)
    return failed


def _fail(name: str, error: TrtzooError) -> int:
    say(f"{name}: failed: {error}")
    return 1


@contextmanager
def _bar(name: str) -> Iterator[Callable[[Any], None]]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False, refresh_per_second=2) as bars:
        row = bars.add_task(name, total=None)

        told: set[str] = {""}

        def watch(now: Any) -> None:
            if now.note not in told:
                told.add(now.note)
                talk.print(now.note, style="yellow", markup=False)
            words = f"{name}  {now.new / max(now.seconds, 1e-9):.1f} images/s  top-1 {now.correct / max(now.classified, 1):.2%}"
            bars.update(row, total=now.total, completed=now.done, description=words)

        yield watch


def _tell(done: Evaluation) -> None:
    say(sentence(done))
    for name, reason in list(done.bad.items())[:TOLD]:
        talk.print(f"    {name}: {reason}", style="yellow", markup=False)
    if len(done.bad) > TOLD:
        talk.print(f"    … and {len(done.bad) - TOLD} more bad images, each in the result's file", style="yellow")
    if done.not_finite:
        talk.print(f"    {done.not_finite} images gave a logit that is not finite; they count as wrong", style="yellow")


def sentence(done: Evaluation) -> str:
    """The result of one evaluation, beside what was published for that network, if it is that network."""
    top1, top5 = done.top1 / done.images, done.top5 / done.images
    row = document().models.get(done.model) if (done.classes, done.size) == (1000, 224) else None
    published = "nothing published for this network"
    if row:
        apart = f"{100 * (top1 - row.top1):+.2f} and {100 * (top5 - row.top5):+.2f} points"
        published = f"published {row.top1:.1%} and {row.top5:.1%}, so {apart}"
    return (
        f"{done.name} (batch {done.batch}, {done.weights.source} weights): top-1 {top1:.2%}, top-5 {top5:.2%}; {published}; "
        f"{done.images} images of {done.dataset}, {len(done.bad)} bad, fingerprint {done.fingerprint[:12]}"
    )
