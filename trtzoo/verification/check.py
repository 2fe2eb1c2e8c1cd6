"""Whether an engine may stand in for the PyTorch reference: both on the same images, one process each, at the engine's batch.

A process that dies costs its own row. Statistics are paired.py's, limits policy.py's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trtzoo.artifacts.engines import build_command
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import DataError, StoreError, TrtzooError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.modules import resolve
from trtzoo.core.records import Record, Weights
from trtzoo.core.subprocesses import exit_failure
from trtzoo.models.sources import SEEDED
from trtzoo.verification.tolerances import TOLERANCES, Divergence, PairedMetrics, ParityVerdict, judge

if TYPE_CHECKING:
    from trtzoo.artifacts.subjects import Subject
    from trtzoo.verification.worker import LogitsResult, LogitsTask

REFERENCE = "pytorch"
REFERENCE_BATCH = 8

LOOKED_AT = 8
"""Images on which blocks are compared: each is run by itself, with all that its blocks hand on kept."""

ParityListener = Callable[[str, int], None]
"""Hears who is at work and how many images are done."""


class ImageSet(Record, frozen=True, kw_only=True):
    """What both see: photographs, with the network's class of each where it is known, or `synthetic` images.

    `titles` name the photographs in text.
    """

    paths: tuple[Path, ...] = ()
    titles: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()
    synthetic: int = 0

    def __len__(self) -> int:
        return len(self.paths) or self.synthetic

    def title(self, number: int) -> str:
        return self.titles[number] if self.titles else f"made-up {number}"

    def without(self, bad: dict[int, str]) -> ImageSet:
        kept = [number for number in range(len(self)) if number not in bad]
        columns = ("paths", "titles", "labels")
        return msgspec.structs.replace(
            self, **{name: tuple(values[number] for number in kept) for name in columns if (values := getattr(self, name))}
        )


class Candidate(Record, frozen=True, kw_only=True):
    """What is to be compared: the file that `runtime` runs, and the ONNX file whose checkpoint is its reference's."""

    model: str
    precision: str
    batch: int
    runtime: str
    artifact: Path
    onnx: Path
    options: dict[str, bool | int] = msgspec.field(default_factory=dict)


class UnreadableImage(Record, frozen=True, kw_only=True):
    """A photograph that cannot be read: it is left out of the comparison."""

    title: str
    reason: str


def parity(
    todo: list[Candidate], images: Callable[[int], ImageSet], *, on_progress: ParityListener
) -> Iterator[ParityVerdict | UnreadableImage]:
    """Compare engines, all of one model, with their reference: each verdict as it comes. A failed one stops nothing.

    `images` gives those for a number of classes. Raises DataError where there are none.
    """
    with tempfile.TemporaryDirectory(prefix="trtzoo-") as name:
        pairs = _Pairs(Path(name), images, on_progress)
        for engine in todo:
            try:
                facts = _facts(engine)
                yield from pairs.prepare(engine, facts)
                yield pairs.compare(engine, facts)
            except DataError:
                raise
            except TrtzooError as error:
                yield _verdict(engine, reasons=(str(error),))


class _Pairs:
    """The reference's logits, made when they are first needed, and the images that can be read."""

    def __init__(self, folder: Path, images: Callable[[int], ImageSet], watch: ParityListener) -> None:
        self._folder, self._find_images, self._watch = folder, images, watch
        self._images = ImageSet()
        self._made: tuple[Weights | None, int] | None = None

    def prepare(self, engine: Candidate, facts: Subject) -> Iterator[UnreadableImage]:
        """Raises StoreError where the network's own weights cannot be had."""
        if self._made == (facts.weights, facts.size):
            return
        _check_reference(engine, facts)
        self._made, self._images = None, self._find_images(facts.classes)
        task = self._task(facts, engine.onnx, "reference.npy", runtime=REFERENCE, batch=REFERENCE_BATCH)
        answer = _run(task, lambda done: self._watch(f"{engine.model} {REFERENCE}", done))
        if answer.error:
            raise StoreError(f"the reference: {answer.error}")
        yield from (UnreadableImage(title=self._images.title(number), reason=reason) for number, reason in answer.bad.items())
        self._images = self._images.without(answer.bad)
        self._made = facts.weights, facts.size

    def compare(self, engine: Candidate, facts: Subject) -> ParityVerdict:
        title = _verdict(engine).title
        who = {"runtime": engine.runtime, "batch": engine.batch, "options": engine.options}
        answer = _run(self._task(facts, engine.artifact, "engine.npy", **who), lambda done: self._watch(title, done))
        if answer.error or answer.bad:
            gone = f"{len(answer.bad)} images that the reference has read cannot be read any more"
            return _verdict(engine, reasons=(answer.error or gone,))
        found = self._paired()
        reasons = judge(TOLERANCES[engine.precision], found, classes_count=self._classes_count(facts))
        return _verdict(
            engine,
            metrics=found,
            worst=self._images.title(found.worst),
            weights=facts.weights,
            versions=answer.versions,
            reasons=tuple(reasons),
        )

    def _task(self, facts: Subject, artifact: Path, into: str, **rest: object) -> LogitsTask:
        return _task(facts, self._images, artifact=artifact, into=self._folder / into, **rest)

    def _paired(self) -> PairedMetrics:
        load, array = resolve("numpy:load"), resolve("numpy:array")
        both = (load(self._folder / name, mmap_mode="r") for name in ("engine.npy", "reference.npy"))
        labels = array(self._images.labels) if self._images.labels else None
        found: PairedMetrics = resolve("trtzoo.verification.metrics:compare")(*both, labels)
        return found

    def _classes_count(self, facts: Subject) -> bool:
        """Whether a class means something: of trained weights, on photographs."""
        return facts.weights is not None and facts.weights.source != SEEDED and bool(self._images.paths)


def _facts(engine: Candidate) -> Subject:
    """What the file's sidecar tells. Raises StoreError for one that is missing, changed or of another batch."""
    remedy = f"trtzoo export {engine.model} --precision {engine.precision}"
    facts: Subject = resolve("trtzoo.artifacts.subjects:open_subject")(engine.artifact, remedy=remedy)
    if facts.batch not in ("dynamic", engine.batch):
        raise StoreError(f"{engine.artifact} takes batch {facts.batch} only. Run: trtzoo parity --batch {facts.batch}")
    return facts


def _check_reference(engine: Candidate, facts: Subject) -> None:
    """Raises StoreError where the ONNX file beside an engine is not of the same weights."""
    if facts.weights is None:
        raise StoreError(f"{engine.artifact} was built from a graph that trtzoo did not export, so it has no reference.")
    path = sidecar_path(engine.onnx)
    if not path.is_file():
        raise StoreError(
            f"{path}, which says where the reference of {engine.artifact.name} comes from, is not there. "
            f"Run: trtzoo export {engine.model} --precision {engine.precision}"
        )
    if read_record(path, OnnxSidecar).weights != facts.weights:
        raise StoreError(
            f"{engine.artifact} was made from other weights than {engine.onnx}. Run: {build_command(engine.artifact)}"
        )


def _verdict(engine: Candidate, **what: object) -> ParityVerdict:
    names = {name: getattr(engine, name) for name in ("model", "precision", "batch", "runtime")}
    return ParityVerdict(**names, **what)  # type: ignore[arg-type]


def block_divergences(model: str, single: Path, half: Path, images: Callable[[int], ImageSet]) -> list[Divergence]:
    """The blocks of a network's FP32 and FP16 graphs, compared in this process on the first LOOKED_AT images.

    Raises StoreError where the two are not of the same weights, DataError where no image can be read.
    """
    find = resolve("trtzoo.artifacts.subjects:open_subject")
    graphs = [
        find(path, remedy=f"trtzoo export {model} --precision {kind}") for path, kind in ((single, "fp32"), (half, "fp16"))
    ]
    first, second = ((facts.weights, facts.size, facts.classes) for facts in graphs)
    if first != second:
        raise StoreError(f"{single} and {half} are not of the same weights. Run: trtzoo export {model} --precision fp32,fp16")
    shown = images(graphs[0].classes)
    task = _task(graphs[0], shown, artifact=single, into=Path(), runtime="", batch=1)
    good = list(
        islice(resolve("trtzoo.verification.worker:good")(resolve("trtzoo.verification.worker:pictures")(task), {}), LOOKED_AT)
    )
    if not good:
        raise DataError(f"none of {len(shown)} images can be read.")
    found: list[Divergence] = resolve("trtzoo.verification.layerwise:layer_divergences")(
        single, half, resolve("numpy:stack")(good)
    )
    return found


def _task(facts: Subject, images: ImageSet, *, artifact: Path, into: Path, **rest: object) -> LogitsTask:
    assert facts.weights
    made: LogitsTask = resolve("trtzoo.verification.worker:LogitsTask")(
        artifact=str(artifact),
        size=facts.size,
        preprocessing=facts.weights.preprocessing,
        into=str(into),
        paths=tuple(os.fsencode(path) for path in images.paths),
        synthetic=images.synthetic,
        **rest,
    )
    return made


# --- the child process ---


def _run(task: LogitsTask, tell: Callable[[int], None]) -> LogitsResult:
    """The child's answer, or one that says how the child ended."""
    kind = resolve("trtzoo.verification.worker:LogitsResult")
    words = [sys.executable, "-m", "trtzoo.verification.worker"]
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said)
        try:
            assert child.stdin and child.stdout
            child.stdin.write(msgspec.json.encode(task))
            child.stdin.close()
            last = b""
            for last in child.stdout:
                if last.strip().isdigit():
                    tell(int(last))
            code = child.wait()
        finally:
            child.kill()
            child.wait()
        if code == 0:
            answer: LogitsResult = msgspec.json.decode(last, type=kind)
            return answer
        said.seek(0)
        ended: LogitsResult = kind(error=exit_failure(code, said.read().decode(errors="replace")).reason)
        return ended
