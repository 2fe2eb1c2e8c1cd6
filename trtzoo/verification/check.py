"""Compare candidates with the PyTorch reference: both on the same images, each network in its own process.

A process that dies fails its own candidate only. metrics.py computes the statistics, tolerances.py has the limits.
"""

import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

from trtzoo.artifacts.engines import EngineSidecar, build_command
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.subjects import Candidate, Subject, open_subject
from trtzoo.core.errors import DataError, ImageError, RunError, StoreError, TrtzooError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.records import Weights
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import SEEDED
from trtzoo.verification.metrics import compare
from trtzoo.verification.tolerances import Divergence, ParityVerdict, judge
from trtzoo.verification.worker import ImageInputs, LogitsResult, LogitsTask, read_images

REFERENCE = "pytorch"
REFERENCE_BATCH = 8
LAYERWISE_IMAGES = 8  # each runs alone, with the outputs of all blocks in memory


def parity(
    model: str,
    candidates: list[Candidate],
    onnx: Path,
    images: Callable[[int], DataSet],
    *,
    on_progress: Callable[[str, int], None],
) -> Iterator[ParityVerdict | ImageError]:
    """Compare candidates of one model with their reference; yield each verdict when it is known. A failure stops nothing.

    `onnx` is the folder of the ONNX files, whose checkpoints are the references. `images` returns the images for a number of
    classes; a DataError that it raises ends the comparison. Those that the reference cannot read are yielded as errors and
    excluded. `on_progress` receives the title of the running network and how many images are done.
    """
    with tempfile.TemporaryDirectory(prefix="trtzoo-") as folder:
        comparison = _Comparison(model, onnx, Path(folder), images, on_progress)
        for candidate in candidates:
            batch = candidate.batch or 1
            verdict = ParityVerdict(model=model, precision=candidate.precision, batch=batch, runtime=candidate.runtime)
            try:
                subject = open_subject(Path(candidate.artifact), remedy=candidate.remedy)
                if subject.sidecar.batch not in ("dynamic", batch):
                    only = f"takes batches of {subject.sidecar.batch} only"
                    raise StoreError(f"{subject.path} {only}. Run: trtzoo parity --batch {subject.sidecar.batch}")
                yield from comparison.run_reference(candidate, subject)
                yield comparison.run_candidate(candidate, subject, verdict)
            except DataError:
                raise
            except TrtzooError as error:
                yield replace(verdict, reasons=(str(error),))


class _Comparison(msgspec.Struct):
    """The reference's logits, computed when a candidate first needs them, and the images that it could read."""

    model: str
    onnx: Path
    folder: Path
    images_for: Callable[[int], DataSet]
    on_progress: Callable[[str, int], None]
    images: DataSet = DataSet()
    reference: tuple[Weights | None, int] | None = None

    def run_reference(self, candidate: Candidate, subject: Subject) -> Iterator[ImageError]:
        """Raises StoreError if the candidate has no reference or the reference cannot run."""
        sidecar = subject.sidecar
        if self.reference == (sidecar.weights, sidecar.size):
            return
        onnx = self.onnx / sidecar.onnx.name if isinstance(sidecar, EngineSidecar) else subject.path
        if sidecar.weights is None:
            raise StoreError(f"{subject.path} was built from a graph that trtzoo did not export, so it has no reference.")
        if not sidecar_path(onnx).is_file():
            raise StoreError(
                f"{sidecar_path(onnx)} does not exist; it records the reference of {subject.path.name}. "
                f"Run: trtzoo export {self.model} --precision {candidate.precision}"
            )
        if read_record(sidecar_path(onnx), OnnxSidecar).weights != sidecar.weights:
            raise StoreError(f"{subject.path} was made from other weights than {onnx}. Run: {build_command(subject.path)}")
        self.reference, self.images = None, self.images_for(sidecar.classes)
        reference = replace(candidate, artifact=str(onnx), runtime=REFERENCE, batch=REFERENCE_BATCH, options={})
        try:
            bad = self._run(reference, subject, f"{self.model} {REFERENCE}", "reference.npy").bad
        except RunError as error:
            raise StoreError(f"the reference: {error}") from error
        for number, reason in bad.items():
            yield ImageError(self.images.title(number), reason)
        readable = tuple(image for number, image in enumerate(self.images.photographs) if number not in bad)
        self.images = replace(self.images, photographs=readable)
        self.reference = sidecar.weights, sidecar.size

    def run_candidate(self, candidate: Candidate, subject: Subject, verdict: ParityVerdict) -> ParityVerdict:
        result = self._run(candidate, subject, verdict.title, "candidate.npy")
        if result.bad:
            raise RunError(f"{len(result.bad)} images that the reference could read cannot be read any more")
        logits, reference = (np.load(self.folder / name, mmap_mode="r") for name in ("candidate.npy", "reference.npy"))
        photographs, weights = self.images.photographs, subject.sidecar.weights
        labels = [image.label for image in photographs if image.label is not None]
        metrics = compare(logits, reference, np.array(labels) if labels else None)
        trained = weights is not None and weights.source != SEEDED
        return replace(
            verdict,
            metrics=metrics,
            worst=self.images.title(metrics.worst),
            weights=weights,
            versions=result.versions,
            reasons=tuple(judge(candidate.precision, metrics, classes_count=trained and bool(photographs))),
        )

    def _run(self, network: Candidate, subject: Subject, title: str, file_name: str) -> LogitsResult:
        """Compute the logits of all images in a child process, into a file in the folder."""
        task = LogitsTask(network=network, inputs=_inputs(subject, self.images), into=str(self.folder / file_name))
        command, report = module_command("trtzoo.verification.worker"), partial(self.on_progress, title)
        try:
            return run_child(command, task, answer=LogitsResult, progress=int, on_progress=report)
        except ChildError as error:
            raise RunError(str(error)) from error


def _inputs(subject: Subject, images: DataSet) -> ImageInputs:
    assert subject.sidecar.weights is not None
    paths = tuple(os.fsencode(image.path) for image in images.photographs)
    preprocessing = subject.sidecar.weights.preprocessing
    return ImageInputs(size=subject.sidecar.size, preprocessing=preprocessing, paths=paths, synthetic=images.synthetic)


def block_divergences(model: str, fp32: Path, fp16: Path, images: Callable[[int], DataSet]) -> list[Divergence]:
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
