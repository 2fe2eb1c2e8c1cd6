"""`evaluate` and `parity`: whether files compute the right classes, and what their network computes."""

from collections.abc import Callable
from functools import cache, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import Progress, TaskID

from trtzoo.accuracy.records import DEFAULT_BATCH, Evaluation
from trtzoo.api.artifacts import ArtifactPaths, pairs, require_some, select_sources
from trtzoo.api.selection import Files, Folder, Names, Sizes, select_batches, select_runtime
from trtzoo.core.console import log, progress_bars
from trtzoo.core.errors import ClassesError, DataError, ImageError, MissingError, TrtzooError, UsageError
from trtzoo.core.modules import require_module
from trtzoo.images.dataset import DataSet, is_unlabelled, read_dataset, unlabelled_images
from trtzoo.verification import check
from trtzoo.verification.tolerances import ParityVerdict

if TYPE_CHECKING:
    from trtzoo.accuracy.evaluate import EvaluationProgress

SYNTHETIC_IMAGES = 32  # made-up images that parity uses without data
SHOWN = 5  # bad images that are reported one by one; the record has all


def evaluate(
    models: Names | None = None,
    *,
    data: Folder,
    onnx: Files | None = None,
    gpu: str = "auto",
    device: str | int | None = None,
    precision: Names | None = None,
    batch: int | None = None,
    runtime: str | None = None,
    limit: int | None = None,
    classes: Folder | None = None,
    labels: Folder | None = None,
    resume: bool = False,
    keep_crops: Folder | None = None,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    results: Folder = "benchmarks",
    on_result: Callable[[Evaluation], None] | None = None,
    on_error: Callable[[str, TrtzooError], None] | None = None,
) -> list[Evaluation]:
    """Measure top-1 and top-5 accuracy on the labelled photographs of the folder `data`; records go to files in `results`, too.

    `onnx` is exported files, or on a GPU their engines, instead of models. `precision` is fp32 by default, or the file's own.
    `device` is the index, UUID or PCI bus id of one of several GPUs. `classes` and `labels` are files with the class names and
    the labels. `limit` is the largest number of images. `resume` continues an interrupted evaluation. `on_result` receives each
    record as it is made. The first file that fails raises its error, unless `on_error` takes its name and error: then the next
    file follows. Raises DataError for unusable data.

    >>> import trtzoo
    >>> (record,) = trtzoo.evaluate(onnx="onnx/densenet121-fp32-c5-s8.onnx", data="data", gpu="cpu")
    >>> print(record.images, record.top1 <= record.top5)
    30 True
    """
    read = image_reader(data, limit=limit, classes=classes, labels=labels, need_labels=True)
    sources, precisions = select_sources(models, onnx, precision, Path(onnx_dir))
    chosen, row = select_runtime(gpu, runtime, precisions, device=device)
    paths = ArtifactPaths.find(chosen, row, Path(engines_dir))
    pairs(sources, [batch] if batch else None, (DEFAULT_BATCH,))  # refuses a size that a file does not take
    tasks = [paths.candidate(source, batch) for source in sources]
    records = []

    from trtzoo.accuracy.evaluate import evaluate as evaluate_file
    from trtzoo.accuracy.evaluate import open_for_evaluation
    from trtzoo.images.decoders import Decoders

    with Decoders() as decoders, progress_bars() as bars:
        for task in tasks:
            name, images = Path(task.artifact).name, None
            bar = bars.add_task(f"reading {data}", total=None)
            try:
                subject = open_for_evaluation(task)
                images = read(subject.sidecar.classes)
                record = evaluate_file(
                    task,
                    subject,
                    images,
                    Path(results),
                    decoders,
                    resume=resume,
                    crop_folder=None if keep_crops is None else Path(keep_crops),
                    on_progress=partial(_show, bars, bar, name),
                )
            except TrtzooError as error:
                if on_error is None or (images is None and isinstance(error, DataError)):
                    raise
                on_error(name, error)
                continue
            finally:
                bars.remove_task(bar)
            records.append(record)
            if on_result:
                on_result(record)
            _report_bad_images(record)
    return records


def _show(bars: Progress, bar: TaskID, name: str, now: "EvaluationProgress") -> None:
    rate, share = now.new / max(now.seconds, 1e-9), now.correct / max(now.classified, 1)
    bars.update(bar, total=now.total, completed=now.done, description=f"{name}  {rate:.1f} images/s  top-1 {share:.2%}")


def _report_bad_images(record: Evaluation) -> None:
    for name, reason in list(record.bad.items())[:SHOWN]:
        log.warning("    %s: %s", name, reason)
    if len(record.bad) > SHOWN:
        log.warning("    … and %d more bad images; all are in the result's file", len(record.bad) - SHOWN)
    if record.not_finite:
        log.warning("    %d images gave a logit that is not finite; they count as wrong", record.not_finite)


def parity(
    models: Names | None = None,
    *,
    onnx: Files | None = None,
    data: Folder | None = None,
    gpu: str = "auto",
    device: str | int | None = None,
    precision: Names | None = None,
    batch: Sizes | None = None,
    runtime: str | None = None,
    limit: int | None = None,
    classes: Folder | None = None,
    labels: Folder | None = None,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    on_result: Callable[[ParityVerdict], None] | None = None,
    on_missing: Callable[[MissingError], None] | None = None,
) -> list[ParityVerdict]:
    """Compare each model's file, or those of `onnx`, at each precision and batch size with the reference, on the same images.

    `data` is a folder of photographs, with labels or without; None means synthetic images, on which only logits are judged.
    `device` is the index, UUID or PCI bus id of one of several GPUs. `on_result` receives each verdict as it is made. A file
    that failed has `reasons`. One that does not exist raises MissingError, unless `on_missing` takes it: then the next file
    follows. Raises UsageError, MachineError, and DataError for unusable data.

    >>> import trtzoo
    >>> _ = trtzoo.export("dpn68", weights="seeded", classes=10, input_size=32)
    >>> for verdict in trtzoo.parity("dpn68", batch=[1, 4], gpu="cpu", limit=4):
    ...     print(verdict.title, verdict.reasons or "passes")
    dpn68 (10 classes, 32x32) fp32 batch 1 onnxruntime passes
    dpn68 (10 classes, 32x32) fp32 batch 4 onnxruntime passes
    """
    sources, precisions = select_sources(models, onnx, precision, Path(onnx_dir))
    wanted = pairs(sources, None if batch is None else select_batches(batch), (1, 4, 8))
    chosen, row = select_runtime(gpu, runtime, precisions, device=device)
    paths = ArtifactPaths.find(chosen, row, Path(engines_dir))
    require_some([paths.artifact(*pair) for pair in wanted])
    images = image_reader(data, limit=limit, classes=classes, labels=labels)
    verdicts = []
    with progress_bars() as bars:
        bar = bars.add_task("", total=None)

        def show(title: str, done: int) -> None:
            bars.update(bar, description=title, completed=done)

        for _, own in groupby(wanted, key=lambda pair: (pair[0].identity.model, pair[0].identity.tag)):
            tasks = [(source.identity, paths.candidate(source, size)) for source, size in own]
            for found in check.parity(tasks, images, onnx=Path(onnx_dir), on_progress=show):
                if isinstance(found, ImageError):
                    log.warning("skipped: %s", found)
                elif isinstance(found, ParityVerdict):
                    verdicts.append(found)
                    if on_result:
                        on_result(found)
                elif on_missing:
                    on_missing(found)
                else:
                    raise found
    return verdicts


def image_reader(
    data: Folder | None, *, limit: int | None, classes: Folder | None, labels: Folder | None, need_labels: bool = False
) -> Callable[[int], DataSet]:
    """A function from the number of a network's classes to its images, which reads them once.

    Images are labelled photographs, or synthetic ones. Unless labels are needed, a folder without them will do, and so do class
    folders whose names are not the network's. Raises UsageError for files that need data.
    """
    if data is None and (classes or labels):
        raise UsageError("--classes and --labels describe photographs. Give their folder: --data DIR")
    if data is None:
        return lambda count: DataSet(synthetic=limit or SYNTHETIC_IMAGES)
    for module in ("cv2", "PIL"):
        require_module("trtzoo eval" if need_labels else "trtzoo parity --data", module=module, extra="eval")
    folder = Path(data)
    class_file, label_list = (None if path is None else Path(path) for path in (classes, labels))
    unlabelled = not (label_list or need_labels) and is_unlabelled(folder)

    @cache
    def read(count: int) -> DataSet:
        if unlabelled:
            return unlabelled_images(folder, limit)
        try:
            found = read_dataset(folder, classes=count, limit=limit, class_file=class_file, labels=label_list)
        except ClassesError as error:
            if need_labels or class_file or label_list:
                raise
            log.warning("The images are used without labels. %s", error)
            return unlabelled_images(folder, limit)
        for note in found.notes:
            log.warning(note)
        log.info(
            "%d images of %s, %d classes, fingerprint %s", len(found.photographs), found.name, count, found.fingerprint[:12]
        )
        return found

    return read
