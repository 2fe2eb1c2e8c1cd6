"""Measure top-1 and top-5 of one file with one runtime on labelled photographs. Finished images survive a kill.

An image counts by the rank of its class among the logits. Equal logits rank in the order of their classes, as in argmax: a
network with constant logits is right about class 0 only. A logit that is not finite makes its image wrong.
"""

import glob
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from trtzoo.accuracy.records import DEFAULT_BATCH, Entry, Evaluation, Journal, exclusive
from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import Candidate, Subject, open_subject
from trtzoo.core.arrays import Array
from trtzoo.core.errors import DataError, RunError, StoreError, TrtzooError, UsageError
from trtzoo.core.files import read_record, write_record
from trtzoo.core.modules import resolve
from trtzoo.core.records import EVALUATIONS, SCHEMA, Preprocessing
from trtzoo.images.dataset import DataSet
from trtzoo.images.decoders import CropCache, CroppedImage, Decoders
from trtzoo.images.preprocessing import VERSIONS, normalise
from trtzoo.runtimes.registry import find_runtime


class EvaluationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """`done` of `total` images are finished; `correct` of `classified` had their class first.

    `new` of them took `seconds` since this run started; a resumed one skips the others.
    """

    done: int
    total: int
    classified: int
    correct: int
    new: int
    seconds: float


def open_for_evaluation(candidate: Candidate) -> Subject:
    """The candidate's file. Raises StoreError if it is missing or changed, UsageError if it cannot be evaluated.

    Seeded weights classify nothing and are refused.
    """
    subject = open_subject(Path(candidate.artifact), remedy=candidate.remedy)
    path, weights, batch = subject.path, subject.sidecar.weights, subject.sidecar.batch
    if batch != "dynamic" and candidate.batch not in (None, batch):
        raise UsageError(f"{path} takes batches of {batch} only. Say --batch {batch}.")
    if weights is None:
        raise UsageError(f"{path} does not record its weights, so the preprocessing of its images is unknown.")
    subject.check_square()
    if weights.source == "seeded":
        why = f" ({weights.fallback})" if weights.fallback else ""
        raise UsageError(
            f"{path} has seeded weights, which classify nothing{why}, so it has no accuracy. "
            f"Run: trtzoo export {quote(subject.sidecar.model)} --weights paddle, torchvision, timm or FILE"
        )
    return subject


def evaluate(
    candidate: Candidate,
    subject: Subject,
    data: DataSet,
    results: Path,
    decoders: Decoders,
    *,
    resume: bool = False,
    crop_folder: Path | None = None,
    on_progress: Callable[[EvaluationProgress], None] = lambda _: None,
) -> Evaluation:
    """Evaluate and write the record to results/<device>/accuracy/. A kill or Ctrl-C leaves the journal for `resume`.

    `crop_folder` caches decoded images. Raises WrongOutputError if the file does not reproduce its golden sample, StoreError
    for the journal of another evaluation, RunError for any other error of the runtime.
    """
    evaluation = _unfinished(candidate, subject, data)
    path = results / evaluation.device.key / EVALUATIONS / f"{evaluation.name}.json"
    preprocessing, batch, size = evaluation.weights.preprocessing, evaluation.batch, evaluation.size
    try:
        with (
            exclusive(path.with_suffix(".journal")) as journal_path,
            closing(resolve(find_runtime(candidate.runtime).opener)(subject.path, batch=batch, **candidate.options)) as session,
            closing(CropCache(crop_folder, data, preprocessing, size)) if crop_folder else nullcontext() as cache,
        ):
            images, reference = subject.golden.batch(batch)
            tolerance = find_runtime(evaluation.runtime).tolerance(evaluation.precision)
            golden.check_logits(session.infer(images), reference, tolerance=tolerance)
            evaluation = replace(evaluation, versions=session.versions | VERSIONS)
            header = _header(evaluation, images=len(data.photographs))
            if resume and (finished := _finished(path, header)):
                return finished
            if resume and not journal_path.exists():  # a journal of other images, if there is one, says what differs
                for other in path.parent.glob(f"{glob.escape(evaluation.stem)}-{'?' * 8}.journal"):
                    Journal(other, header, resume=True)
            journal = Journal(journal_path, header, resume=resume)
            remaining = sorted(set(range(len(data.photographs))) - journal.ranks.keys() - journal.bad.keys())
            crops = decoders.stream(data, remaining, preprocessing, size, cache=cache)
            with closing(_batches(crops, batch, size, preprocessing)) as batches:
                for progress in _classify(session.infer, batches, data, journal):
                    on_progress(progress)
            evaluation = _finish(evaluation, data, journal)
            write_record(path, evaluation)
            journal_path.unlink()
            return evaluation
    except TrtzooError:
        raise
    except Exception as error:  # a runtime may raise anything; the other files are evaluated
        raise RunError(f"{subject.path}: " + " ".join(f"{type(error).__name__}: {error}".split())) from error


def ranks(logits: Array, labels: Array) -> Array:
    """Logits (N, classes) and labels (N,) → how many classes rank before each label; all of them if a logit is not finite."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    before = (logits > own) | ((logits == own) & earlier)
    return np.asarray(np.where(np.isfinite(logits).all(axis=1), before.sum(axis=1), logits.shape[1]))


def _unfinished(candidate: Candidate, subject: Subject, data: DataSet) -> Evaluation:
    """The record before anything is evaluated."""
    sidecar = subject.sidecar
    assert sidecar.weights is not None
    return Evaluation(
        model=candidate.model or sidecar.model,
        identity=replace(subject.identity, model=candidate.model or sidecar.model),
        limit=data.limit,
        precision=candidate.precision or sidecar.precision,
        runtime=candidate.runtime,
        batch=candidate.batch or (DEFAULT_BATCH if sidecar.batch == "dynamic" else sidecar.batch),
        classes=sidecar.classes,
        size=sidecar.size,
        device=candidate.device,
        dataset=data.name,
        fingerprint=data.fingerprint,
        lists=data.lists,
        images=0,
        top1=0,
        top5=0,
        weights=sidecar.weights,
        artifact_sha256=sidecar.sha256,
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
    )


def _header(evaluation: Evaluation, *, images: int) -> dict[str, Any]:
    """Everything that decides an image's rank, and the number of images: the first line of the journal."""
    names = ("fingerprint", "artifact_sha256", "precision", "runtime", "batch", "classes", "versions")
    facts = {name: getattr(evaluation, name) for name in names}
    preprocessing = evaluation.weights.preprocessing
    return {"schema": SCHEMA, "kind": "evaluation journal", "images": images, "preprocessing": preprocessing, **facts}


def _finished(path: Path, header: dict[str, Any]) -> Evaluation | None:
    """The record in the file, if it is of this evaluation."""
    with suppress(OSError, StoreError):
        found = read_record(path, Evaluation)
        if _header(found, images=found.images + len(found.bad)) == header:
            return found
    return None


_Batch = tuple[list[CroppedImage], Array]
"""Images, and the network's input (batch, 3, size, size) of the readable ones, padded with black images."""


def _classify(
    infer: Callable[[Array], Array], batches: Iterator[_Batch], data: DataSet, journal: Journal
) -> Iterator[EvaluationProgress]:
    """Classify all batches. A batch is in the journal before its progress is reported."""
    start = last = time.perf_counter()
    labels, new = np.array([image.label for image in data.photographs]), 0
    correct = sum(rank == 0 for rank in journal.ranks.values())
    for images, pixels in batches:
        indices = [image.index for image in images if image.pixels is not None]
        found = ranks(infer(pixels)[: len(indices)], labels[indices]).tolist()
        now = time.perf_counter()
        unreadable = [(image.index, image.reason) for image in images if image.pixels is None]
        journal.append(Entry(ranks=list(zip(indices, found, strict=True)), bad=unreadable, seconds=now - last))
        last, new, correct = now, new + len(images), correct + found.count(0)
        yield EvaluationProgress(
            done=len(journal.ranks) + len(journal.bad),
            total=len(labels),
            classified=len(journal.ranks),
            correct=correct,
            new=new,
            seconds=now - start,
        )


def _batches(
    crops: Iterator[CroppedImage], batch: int, size: int, preprocessing: Preprocessing
) -> Generator[_Batch, None, None]:
    """Full batches; a thread prepares the next one while the network computes."""

    def prepare() -> _Batch:
        images = list(islice(crops, batch))
        readable = [image.pixels for image in images if image.pixels is not None]
        black = [np.zeros((size, size, 3), np.uint8)] * (batch - len(readable))
        return images, normalise(np.stack(readable + black), preprocessing)

    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(prepare)
        while (ready := upcoming.result())[0]:
            upcoming = thread.submit(prepare)
            yield ready


def _finish(evaluation: Evaluation, data: DataSet, journal: Journal) -> Evaluation:
    """The record with the journal's counts. Raises DataError if no image could be read."""
    bad = {data.title(index): reason for index, reason in sorted(journal.bad.items())}
    if not journal.ranks:
        name, reason = next(iter(bad.items()))
        raise DataError(f"None of the {len(bad)} images of {data.folder} can be read. The first is {name}: {reason}.")
    found = np.array(list(journal.ranks.values()))
    return replace(
        evaluation,
        images=len(found),
        top1=int((found == 0).sum()),
        top5=int((found < 5).sum()),
        not_finite=int((found == evaluation.classes).sum()),
        bad=bad,
        seconds=journal.seconds,
    )
