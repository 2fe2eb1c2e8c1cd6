"""Stage 3b: top-1 and top-5 of one file by one runtime on labelled photographs, image by image; a kill loses no image.

An image counts by the rank of its class among the logits. Equal logits rank in the order of their classes, as argmax has it: a
network that answers everything alike is right about class 0 alone. A logit that is not finite makes the image wrong.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np

from trtzoo.accuracy.journal import Entry, Header, Journal, exclusive
from trtzoo.accuracy.records import DEFAULT_BATCH, Evaluation, EvaluationTask, evaluation_path
from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import Subject, open_subject
from trtzoo.core.arrays import Array
from trtzoo.core.errors import DataError, RunError, StoreError, TrtzooError, UsageError
from trtzoo.core.files import read_record, write_record
from trtzoo.core.modules import resolve
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import Preprocessing, Weights
from trtzoo.images import preprocessing
from trtzoo.images.dataset import DataSet
from trtzoo.images.decoders import CropCache, CroppedImage, Decoders
from trtzoo.runtimes.registry import Session, find_runtime


class EvaluationProgress(msgspec.Struct, frozen=True):
    """`done` of `total` images have been seen, `correct` of `classified` with their class first; `new` of them since the start.

    `note` says what went wrong aside.
    """

    done: int
    total: int
    classified: int
    correct: int
    new: int
    seconds: float
    note: str = ""


def open_for_evaluation(task: EvaluationTask) -> Subject:
    """The file. Raises StoreError where it is missing or changed, UsageError where it cannot be evaluated.

    Seeded weights classify nothing: they are refused.
    """
    found = open_subject(Path(task.artifact), remedy=task.remedy)
    if found.batch not in ("dynamic", _batch(task, found)):
        raise UsageError(f"{found.path} takes batches of {found.batch} alone. Say --batch {found.batch}.")
    if found.weights is None:
        raise UsageError(f"{found.path} says nothing of its weights, so nobody knows how they want photographs prepared.")
    if found.weights.source == "seeded":
        why = f" ({found.weights.fallback})" if found.weights.fallback else ""
        raise UsageError(
            f"{found.path} has seeded weights, which classify nothing{why}, so it has no accuracy. "
            f"Run: trtzoo export {found.model} --weights paddle, torchvision, timm or FILE"
        )
    return found


def _batch(task: EvaluationTask, found: Subject) -> int:
    return task.batch or (DEFAULT_BATCH if found.batch == "dynamic" else found.batch)


def evaluate(
    task: EvaluationTask,
    found: Subject,
    data: DataSet,
    results: Path,
    decoders: Decoders,
    *,
    resume: bool = False,
    crop_folder: Path | None = None,
    on_progress: Callable[[EvaluationProgress], None] = lambda _: None,
) -> Evaluation:
    """The evaluation, written to results/<device>/accuracy/. After a kill or Ctrl-C its journal stays, for `resume`.

    Raises WrongOutputError for a file that does not give its golden sample, StoreError for a journal of something else,
    RunError for whatever else the runtime says.
    """
    assert found.weights is not None
    empty = _empty(task, found, found.weights, data)
    path = evaluation_path(results, empty).with_suffix(".journal")
    try:
        with exclusive(path):
            session = resolve(find_runtime(task.runtime).opener)(found.path, batch=empty.batch, **task.options)
            with closing(session):
                _check(session, found, empty)
                whole = msgspec.structs.replace(empty, versions=session.versions | preprocessing.VERSIONS)
                if resume and (done := _finished(results, whole)):
                    return done
                journal = _journal(path, whole, found.weights, len(data), resume=resume)
                _run(session, found, data, journal, decoders, crop_folder, on_progress)
            return _concluded(whole, data, journal, results)
    except (TrtzooError, KeyboardInterrupt):
        raise
    except Exception as error:  # a runtime may raise anything; the other files are evaluated
        raise RunError(f"{found.path}: " + " ".join(f"{type(error).__name__}: {error}".split())) from error


def ranks(logits: Array, labels: Array) -> Array:
    """Logits (N, classes) and classes (N,) → how many classes come before each image's own, all where one is not finite."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    before = (logits > own) | ((logits == own) & earlier)
    return np.asarray(np.where(np.isfinite(logits).all(axis=1), before.sum(axis=1), logits.shape[1]))


def _empty(task: EvaluationTask, found: Subject, weights: Weights, data: DataSet) -> Evaluation:
    return Evaluation(
        model=found.model,
        precision=task.precision or found.precision,
        runtime=task.runtime,
        batch=_batch(task, found),
        classes=found.classes,
        size=found.size,
        device=task.device,
        dataset=data.name,
        fingerprint=data.fingerprint,
        images=0,
        top1=0,
        top5=0,
        weights=weights,
        artifact_sha256=found.sha256,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _check(session: Session, found: Subject, case: Evaluation) -> None:
    images, reference = found.golden.batch(case.batch)
    golden.check_logits(session.infer(images), reference, tolerance=find_precision(case.precision).tolerance)


def _finished(results: Path, whole: Evaluation) -> Evaluation | None:
    """The evaluation that is there already, if it is this very one."""
    try:
        there = read_record(evaluation_path(results, whole), Evaluation)
    except (OSError, StoreError):
        return None
    same = all(
        getattr(there, name) == getattr(whole, name)
        for name in ("fingerprint", "artifact_sha256", "weights", "batch", "versions", "classes", "size")
    )
    return there if same else None


def _journal(path: Path, whole: Evaluation, weights: Weights, images: int, *, resume: bool) -> Journal:
    header = Header(
        fingerprint=whole.fingerprint,
        images=images,
        artifact_sha256=whole.artifact_sha256,
        preprocessing=weights.preprocessing,
        precision=whole.precision,
        runtime=whole.runtime,
        batch=whole.batch,
        versions=whole.versions,
    )
    journal = Journal(path, header)
    if resume and path.exists():
        journal.take_over()
    else:
        journal.begin()
    return journal


def _run(
    session: Session,
    found: Subject,
    data: DataSet,
    journal: Journal,
    decoders: Decoders,
    crop_folder: Path | None,
    on_progress: Callable[[EvaluationProgress], None],
) -> None:
    """Every image that is not in the journal yet."""
    how, begun = journal.header.preprocessing, time.perf_counter()
    todo = [index for index in range(len(data)) if index not in journal.ranks and index not in journal.bad]
    labels, right = np.array(data.labels), sum(rank == 0 for rank in journal.ranks.values())
    with closing(CropCache(crop_folder, data, how, found.size)) if crop_folder else nullcontext() as store:
        crops = decoders.stream(data, todo, how, found.size, kept=store)
        last, new = begun, 0
        for images, rows, bad in _ahead(_batches(crops, journal.header.batch, found.size, how)):
            got = ranks(session.infer(images)[: len(rows)], labels[rows]) if rows else np.array([])
            now = time.perf_counter()
            entry = [(index, int(rank)) for index, rank in zip(rows, got, strict=True)]
            journal.append(Entry(ranks=entry, bad=bad, seconds=now - last))
            right, last, new = right + int((got == 0).sum()), now, new + len(rows) + len(bad)
            counted = len(journal.ranks)
            on_progress(
                EvaluationProgress(
                    counted + len(journal.bad), len(data), counted, right, new, now - begun, store.error if store else ""
                )
            )


Prepared = tuple[Array, list[int], list[tuple[int, str]]]
"""A batch of images (batch, 3, size, size), the indices of its first ones, the others being padding; and bad images met."""


def _batches(crops: Iterator[CroppedImage], batch: int, size: int, how: Preprocessing) -> Iterator[Prepared]:
    """Whole batches, the last one filled up with black."""
    while some := list(islice(crops, batch)):
        good = [crop for crop in some if crop.pixels is not None]
        pixels = np.zeros((batch, size, size, 3), np.uint8)
        for row, crop in enumerate(good):
            pixels[row] = np.asarray(crop.pixels)
        bad = [(crop.index, crop.reason) for crop in some if crop.pixels is None]
        yield preprocessing.normalise(pixels, how), [crop.index for crop in good], bad


def _ahead(batches: Iterator[Prepared]) -> Iterator[Prepared]:
    """The same, each prepared by a thread while the one before is computed."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while batch := coming.result():
            coming = thread.submit(next, batches, None)
            yield batch


def _concluded(whole: Evaluation, data: DataSet, journal: Journal, results: Path) -> Evaluation:
    """Write the record; only then the journal goes."""
    bad = {data.title(index): reason for index, reason in sorted(journal.bad.items())}
    if not journal.ranks:
        name, reason = next(iter(bad.items()))
        raise DataError(f"None of the {len(bad)} images of {data.folder} can be read. The first is {name}: {reason}.")
    got = np.array(list(journal.ranks.values()))
    done = msgspec.structs.replace(
        whole,
        images=len(got),
        top1=int((got == 0).sum()),
        top5=int((got < 5).sum()),
        not_finite=int((got == whole.classes).sum()),
        bad=bad,
        seconds=journal.seconds,
    )
    write_record(evaluation_path(results, done), done)
    journal.path.unlink()
    return done
