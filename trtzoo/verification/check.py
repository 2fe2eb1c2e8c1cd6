"""Compare candidates with the PyTorch reference: both on the same images, each network in its own process.

A process that dies fails its own candidate only. metrics.py computes the statistics, tolerances.py has the limits.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec.structs import replace

from trtzoo.artifacts.engines import build_command
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.subjects import Subject, open_subject
from trtzoo.core.errors import DataError, ImageError, RunError, StoreError, TrtzooError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.records import Record, Weights
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.images.dataset import Photograph
from trtzoo.models.sources import SEEDED
from trtzoo.verification.metrics import compare
from trtzoo.verification.tolerances import Divergence, ParityVerdict, judge
from trtzoo.verification.worker import ImageInputs, LogitsResult, LogitsTask, read_images

REFERENCE = "pytorch"
REFERENCE_BATCH = 8
LAYERWISE_IMAGES = 8  # each runs alone, with the outputs of all blocks in memory


class ImageSet(Record, frozen=True, kw_only=True):
    """Photographs, or a number of `synthetic` images."""

    photographs: tuple[Photograph, ...] = ()
    synthetic: int = 0

    def title(self, number: int) -> str:
        return self.photographs[number].title if self.photographs else f"synthetic {number}"


class Candidate(Record, frozen=True, kw_only=True):
    """The file that `runtime` runs, to be compared, and the ONNX file whose checkpoint is its reference."""

    model: str
    precision: str
    batch: int
    runtime: str
    artifact: Path
    onnx: Path
    options: dict[str, bool | int] = msgspec.field(default_factory=dict)

    def verdict(self, **fields: Any) -> ParityVerdict:
        return ParityVerdict(model=self.model, precision=self.precision, batch=self.batch, runtime=self.runtime, **fields)


def parity(
    candidates: list[Candidate], images: Callable[[int], ImageSet], *, on_progress: Callable[[str, int], None]
) -> Iterator[ParityVerdict | ImageError]:
    """Compare candidates of one model with their reference; yield each verdict when it is known. A failure stops nothing.

    `images` returns the images for a number of classes; a DataError that it raises ends the comparison. Those that the
    reference cannot read are yielded as errors and excluded. `on_progress` receives the title of the running network and how
    many images are done.
    """
    with tempfile.TemporaryDirectory(prefix="trtzoo-") as folder:
        comparison = _Comparison(Path(folder), images, on_progress)
        for candidate in candidates:
            try:
                subject = _open(candidate)
                yield from comparison.run_reference(candidate, subject)
                yield comparison.run_candidate(candidate, subject)
            except DataError:
                raise
            except TrtzooError as error:
                yield candidate.verdict(reasons=(str(error),))


class _Comparison:
    """The reference's logits, computed when a candidate first needs them, and the images that it could read."""

    def __init__(self, folder: Path, images: Callable[[int], ImageSet], on_progress: Callable[[str, int], None]) -> None:
        self._folder, self._images_for, self._on_progress = folder, images, on_progress
        self._images = ImageSet()
        self._reference: tuple[Weights | None, int] | None = None

    def run_reference(self, candidate: Candidate, subject: Subject) -> Iterator[ImageError]:
        """Raises StoreError if the candidate has no reference or the reference cannot run."""
        if self._reference == (subject.sidecar.weights, subject.sidecar.size):
            return
        _check_reference(candidate, subject)
        self._reference, self._images = None, self._images_for(subject.sidecar.classes)
        reference = replace(candidate, artifact=candidate.onnx, runtime=REFERENCE, batch=REFERENCE_BATCH, options={})
        try:
            bad = self._run(reference, subject, f"{candidate.model} {REFERENCE}", "reference.npy").bad
        except RunError as error:
            raise StoreError(f"the reference: {error}") from error
        for number, reason in bad.items():
            yield ImageError(self._images.title(number), reason)
        readable = tuple(image for number, image in enumerate(self._images.photographs) if number not in bad)
        self._images = replace(self._images, photographs=readable)
        self._reference = subject.sidecar.weights, subject.sidecar.size

    def run_candidate(self, candidate: Candidate, subject: Subject) -> ParityVerdict:
        result = self._run(candidate, subject, candidate.verdict().title, "candidate.npy")
        if result.bad:
            raise RunError(f"{len(result.bad)} images that the reference could read cannot be read any more")
        logits, reference = (np.load(self._folder / name, mmap_mode="r") for name in ("candidate.npy", "reference.npy"))
        photographs = self._images.photographs
        labels = [image.label for image in photographs if image.label is not None]
        metrics = compare(logits, reference, np.array(labels) if labels else None)
        weights = subject.sidecar.weights
        trained = weights is not None and weights.source != SEEDED
        return candidate.verdict(
            metrics=metrics,
            worst=self._images.title(metrics.worst),
            weights=weights,
            versions=result.versions,
            reasons=tuple(judge(candidate.precision, metrics, classes_count=trained and bool(photographs))),
        )

    def _run(self, network: Candidate, subject: Subject, title: str, file_name: str) -> LogitsResult:
        """Compute the logits of all images in a child process, into a file in the folder."""
        task = LogitsTask(
            runtime=network.runtime,
            artifact=str(network.artifact),
            batch=network.batch,
            into=str(self._folder / file_name),
            inputs=_inputs(subject, self._images),
            options=network.options,
        )
        command, report = module_command("trtzoo.verification.worker"), partial(self._on_progress, title)
        try:
            return run_child(command, task, answer=LogitsResult, progress=int, on_progress=report)
        except ChildError as error:
            raise RunError(str(error)) from error


def _inputs(subject: Subject, images: ImageSet) -> ImageInputs:
    assert subject.sidecar.weights is not None
    paths = tuple(os.fsencode(image.path) for image in images.photographs)
    preprocessing = subject.sidecar.weights.preprocessing
    return ImageInputs(size=subject.sidecar.size, preprocessing=preprocessing, paths=paths, synthetic=images.synthetic)


def _open(candidate: Candidate) -> Subject:
    """Raises StoreError if the file is missing, changed or of another batch."""
    remedy = f"trtzoo export {candidate.model} --precision {candidate.precision}"
    subject = open_subject(candidate.artifact, remedy=remedy)
    batch = subject.sidecar.batch
    if batch not in ("dynamic", candidate.batch):
        raise StoreError(f"{candidate.artifact} takes batches of {batch} only. Run: trtzoo parity --batch {batch}")
    return subject


def _check_reference(candidate: Candidate, subject: Subject) -> None:
    """Raises StoreError if the ONNX file does not name the candidate's own weights."""
    artifact, path = candidate.artifact, sidecar_path(candidate.onnx)
    if subject.sidecar.weights is None:
        raise StoreError(f"{artifact} was built from a graph that trtzoo did not export, so it has no reference.")
    if not path.is_file():
        raise StoreError(
            f"{path} does not exist; it records the reference of {artifact.name}. "
            f"Run: trtzoo export {candidate.model} --precision {candidate.precision}"
        )
    if read_record(path, OnnxSidecar).weights != subject.sidecar.weights:
        raise StoreError(f"{artifact} was made from other weights than {candidate.onnx}. Run: {build_command(artifact)}")


def block_divergences(model: str, fp32: Path, fp16: Path, images: Callable[[int], ImageSet]) -> list[Divergence]:
    """The blocks of a network's FP32 and FP16 graphs, compared in this process on the first LAYERWISE_IMAGES images.

    Raises StoreError if the two have different weights, DataError if no image can be read.
    """
    from trtzoo.verification.layerwise import layer_divergences

    subject = open_subject(fp32, remedy=f"trtzoo export {model} --precision fp32")
    other = open_subject(fp16, remedy=f"trtzoo export {model} --precision fp16")
    here, there = subject.sidecar, other.sidecar
    if (here.weights, here.size, here.classes) != (there.weights, there.size, there.classes):
        raise StoreError(f"{fp32} and {fp16} have different weights. Run: trtzoo export {model} --precision fp32,fp16")
    selected = images(subject.sidecar.classes)
    readable = list(islice(read_images(_inputs(subject, selected), {}, ahead=LAYERWISE_IMAGES), LAYERWISE_IMAGES))
    if not readable:
        raise DataError(f"None of {len(selected.photographs)} images can be read.")
    return layer_divergences(fp32, fp16, np.stack(readable))
