"""Compare candidates with their reference, PyTorch or the user's own ONNX file, on the same images, each in its own process.

A process that dies fails its own candidate only. tolerances.py has the metrics and their limits.
"""

import os
import tempfile
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from trtzoo.artifacts.engines import EngineSidecar, build_command, read_source
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.subjects import Candidate, Subject, open_subject
from trtzoo.core.arrays import Array
from trtzoo.core.errors import DataError, ImageError, MissingError, RunError, StoreError, TrtzooError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Identity, Preprocessing
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.images.dataset import DataSet
from trtzoo.models.sources import SEEDED
from trtzoo.verification.tolerances import BlockError, Divergence, ParityVerdict, compare, judge
from trtzoo.verification.worker import ImageInputs, LogitsResult, LogitsTask, read_images

REFERENCE = "pytorch"
FOREIGN_REFERENCE = "onnxruntime"
REFERENCE_BATCH = 8
LAYERWISE_IMAGES = 8  # each runs alone, with the outputs of all blocks in memory


def parity(
    candidates: list[tuple[Identity, Candidate]],
    images: Callable[[int], DataSet],
    *,
    onnx: Path,
    on_progress: Callable[[str, int], None],
) -> Iterator[ParityVerdict | ImageError | MissingError]:
    """Compare candidates of one network with their reference; yield each verdict when it is known. A failure stops nothing.

    A candidate whose file does not exist has no verdict: a MissingError is yielded.

    `images` returns the images for a number of classes; a DataError that it raises ends the comparison. Those that the
    reference cannot read are yielded as errors and excluded. `onnx` is the folder of the ONNX files from which engines were
    built. `on_progress` receives the title of the running network and how many images are done.
    """
    with tempfile.TemporaryDirectory(prefix="trtzoo-") as text:
        folder, data, known = Path(text), DataSet(), None
        for identity, candidate in candidates:
            batch, model = candidate.batch or 1, identity.title
            verdict = ParityVerdict(model=model, precision=candidate.precision, batch=batch, runtime=candidate.runtime)
            if not Path(candidate.artifact).is_file():
                yield MissingError(f"There is no {candidate.artifact}. Run: {candidate.remedy}")
                continue
            try:
                subject = open_subject(Path(candidate.artifact), remedy=candidate.remedy)
                verdict = replace(verdict, reference=_title(subject))
                sidecar = subject.sidecar
                if sidecar.batch not in ("dynamic", batch):
                    remedy = f"trtzoo parity --batch {sidecar.batch}"
                    raise StoreError(f"{subject.path} takes batches of {sidecar.batch} only. Run: {remedy}")
                if known != (sidecar.weights, sidecar.size):
                    known, reference = None, _reference(candidate, subject, onnx)
                    data = images(sidecar.classes)
                    if data.photographs:
                        subject.check_square()
                    try:
                        report = partial(on_progress, f"{model} {reference.runtime}")
                        bad = _run(reference, subject, data, folder / "reference.npy", report).bad
                    except RunError as error:
                        raise StoreError(f"the reference: {error}") from error
                    for number, reason in bad.items():
                        yield ImageError(data.title(number), reason)
                    readable = tuple(image for number, image in enumerate(data.photographs) if number not in bad)
                    data, known = replace(data, photographs=readable), (sidecar.weights, sidecar.size)
                result = _run(candidate, subject, data, folder / "candidate.npy", partial(on_progress, verdict.title))
                if result.bad:
                    raise RunError(f"{len(result.bad)} images that the reference could read cannot be read any more")
                yield _judged(replace(verdict, weights=sidecar.weights, versions=result.versions), data, folder)
            except DataError:
                raise
            except TrtzooError as error:
                yield replace(verdict, reasons=(str(error),))


def _reference(candidate: Candidate, subject: Subject, onnx: Path) -> Candidate:
    """Raises StoreError if the candidate has no reference."""
    path, sidecar = subject.path, subject.sidecar
    graph = Path(candidate.graph or path)
    if graph.suffix == ".engine" and isinstance(sidecar, EngineSidecar):
        graph = onnx / sidecar.onnx.name
    if sidecar.weights is None:
        raise StoreError(f"{path} was built from a graph that has no sidecar, so it has no reference. Build it again.")
    if not sidecar_path(graph).is_file():
        raise StoreError(
            f"{sidecar_path(graph)} does not exist; it records the reference of {path.name}. "
            f"Run: trtzoo export {sidecar.model} --precision {candidate.precision}"
        )
    recorded = read_record(sidecar_path(graph), OnnxSidecar)
    if recorded.weights != sidecar.weights:
        raise StoreError(f"{path} was made from other weights than {graph}. Run: {build_command(path)}")
    if recorded.identity.is_foreign:
        original = _original(graph, recorded)
        batch = REFERENCE_BATCH if recorded.batch == "dynamic" else recorded.batch
        options: dict[str, bool | int] = {"optimised": False} if recorded.precision == "fp8" else {}  # else wrong: Session
        return replace(candidate, artifact=str(original), runtime=FOREIGN_REFERENCE, batch=batch, options=options)
    return replace(candidate, artifact=str(graph), runtime=REFERENCE, batch=REFERENCE_BATCH, options={})


def _title(subject: Subject) -> str:
    """The reference in words."""
    return "ONNX Runtime on the original file" if subject.identity.is_foreign else "PyTorch in FP32"


def _original(graph: Path, sidecar: OnnxSidecar) -> Path:
    """The user's file of which `graph` was made. Raises StoreError if it is missing or has changed."""
    path = Path(sidecar.checkpoint)
    if path.is_file() and read_source(path, None)[0].sha256 == sidecar.weights.sha256:
        return path
    change = "has changed" if path.is_file() else "does not exist"
    raise StoreError(f"{graph} was made from {path}, which {change}, and parity compares with it. Restore it.")


def _run(network: Candidate, subject: Subject, data: DataSet, into: Path, report: Callable[[int], None]) -> LogitsResult:
    """Compute the logits of all images in a child process, into a file."""
    task = LogitsTask(network=network, inputs=_inputs(subject, data), into=str(into))
    command = module_command("trtzoo.verification.worker")
    try:
        return run_child(command, task, answer=LogitsResult, progress=int, on_progress=report)
    except ChildError as error:
        raise RunError(str(error)) from error


def _judged(verdict: ParityVerdict, data: DataSet, folder: Path) -> ParityVerdict:
    """The verdict with the metrics of the logits in the folder, and the reasons against the candidate."""
    logits, reference = (np.load(folder / name, mmap_mode="r") for name in ("candidate.npy", "reference.npy"))
    labels = [image.label for image in data.photographs if image.label is not None]
    metrics = compare(logits, reference, np.array(labels) if labels else None)
    trained = verdict.weights is not None and verdict.weights.source != SEEDED
    reasons = judge(verdict.precision, verdict.runtime, metrics, classes_count=trained and bool(data.photographs))
    return replace(verdict, metrics=metrics, worst=data.title(metrics.worst), reasons=tuple(reasons))


def _inputs(subject: Subject, images: DataSet) -> ImageInputs:
    assert subject.sidecar.weights is not None
    paths = tuple(os.fsencode(image.path) for image in images.photographs)
    preprocessing = subject.sidecar.weights.preprocessing
    height, width = subject.sides
    return ImageInputs(size=height, width=width, preprocessing=preprocessing, paths=paths, synthetic=images.synthetic)


def photograph_inputs(images: DataSet, preprocessing: Preprocessing, size: int) -> Generator[Array]:
    """Every readable image of a data set (3, S, S) float32, as the network takes it."""
    paths = tuple(os.fsencode(image.path) for image in images.photographs)
    yield from read_images(ImageInputs(size=size, preprocessing=preprocessing, paths=paths, synthetic=images.synthetic), {})


def block_divergences(
    model: str, fp32: Path, narrow: Path, precision: str, images: Callable[[int], DataSet]
) -> list[Divergence]:
    """The blocks of a network's FP32 and FP16 or BF16 graphs, compared in this process on the first LAYERWISE_IMAGES images.

    Raises StoreError if the two have different weights, DataError if no image can be read.
    """
    from trtzoo.verification.layerwise import layer_divergences

    return layer_divergences(fp32, narrow, _layerwise_images(model, fp32, narrow, precision, images), precision)


def quantized_blocks(
    model: str, fp32: Path, quantized: Path, precision: str, images: Callable[[int], DataSet]
) -> list[BlockError]:
    """The blocks of a network's quantized graph by the error that each adds, on the first LAYERWISE_IMAGES images.

    Raises as `block_divergences` does.
    """
    from trtzoo.verification.sensitivity import block_errors

    inputs = _layerwise_images(model, fp32, quantized, precision, images)
    return block_errors(fp32, quantized, inputs, least_cosine=PRECISIONS[precision].least_cosine or 0.0)


def _layerwise_images(model: str, fp32: Path, other: Path, precision: str, images: Callable[[int], DataSet]) -> Array:
    subject = open_subject(fp32, remedy=f"trtzoo export {model} --precision fp32")
    here, there = subject.sidecar, open_subject(other, remedy=f"trtzoo export {model} --precision {precision}").sidecar
    if (here.weights, here.size, here.classes) != (there.weights, there.size, there.classes):
        remedy = f"trtzoo export {model} --precision fp32,{precision}"
        raise StoreError(f"{fp32} and {other} have different weights. Run: {remedy}")
    selected = images(here.classes)
    readable = list(islice(read_images(_inputs(subject, selected), {}), LAYERWISE_IMAGES))
    if not readable:
        raise DataError(f"None of {len(selected.photographs)} images can be read.")
    return np.stack(readable)
