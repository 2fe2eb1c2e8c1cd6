"""`verdict`: whether a precision pays, by its latency and its accuracy beside FP32's."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from trtzoo.api import selection
from trtzoo.api.artifacts import ArtifactPaths, Source, pairs, require_some, select_sources
from trtzoo.api.checking import image_reader
from trtzoo.api.selection import Files, Folder, Names, Sizes
from trtzoo.artifacts.golden import IMAGES
from trtzoo.benchmark import sweep
from trtzoo.benchmark.protocols import MeasurementProtocol, find_protocol
from trtzoo.core.console import log, progress_bars
from trtzoo.core.errors import ImageError, MissingError, RunError, StoreError, TrtzooError, UsageError
from trtzoo.core.files import write_record
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import VERDICTS, BenchJob, Case, Result
from trtzoo.hardware.cpu_peak import find_peak
from trtzoo.images.dataset import DataSet
from trtzoo.report.compare.cells import compared, run_moment
from trtzoo.report.verdict import Accuracy, Side, TimedRun, Verdict
from trtzoo.runtimes.registry import AUTO, RUNTIMES, installed_candidates
from trtzoo.verification import check
from trtzoo.verification.tolerances import ROUNDING, BlockError, Divergence, ParityVerdict

RUNS = 4
"""Runs of each file: even, so that a drift cancels, and enough to see 3 % on a machine as noisy as most."""

OUTER = ("stem", "head")  # what is before and after the blocks
OnError = Callable[[str, TrtzooError], None]


def verdict(
    models: Names | None = None,
    *,
    onnx: Files | None = None,
    data: Folder | None = None,
    gpu: str = "auto",
    device: str | int | None = None,
    precision: Names = "int8",
    batch: Sizes | None = None,
    runtime: str | None = None,
    limit: int | None = None,
    classes: Folder | None = None,
    labels: Folder | None = None,
    protocol: str = "trtzoo",
    seconds: float | None = None,
    runs: int = RUNS,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    results: Folder = "benchmarks",
    on_result: Callable[[Verdict], None] | None = None,
    on_error: OnError | None = None,
) -> list[Verdict]:
    """Say of each precision whether it pays beside FP32 of the same network: by latency in turns, and accuracy on `data`.

    `data` is a folder of photographs, with labels or without; None means the golden sample, on which only logits are judged.
    FP32 and the precisions of a batch size (default: 1, or the file's) are measured `runs` times each, back and forth, by one
    runtime: None or "auto" is the GPU's TensorRT, or on a CPU the fastest for FP32 in a short trial. `seconds` is the minimum
    sampling time of a run (default: the protocol's). The runs are kept as those of `bench` are, and each verdict in
    results/<device>/verdicts/. The first file that is missing or fails raises its error, unless `on_error` takes its name and
    error: then the next follows. Raises UsageError, MachineError, StoreError if nothing is exported, and DataError for unusable
    data.

    >>> import trtzoo
    >>> (found,) = trtzoo.verdict("dpn68", precision="fp16", gpu="cpu", protocol="trial", runs=2)
    >>> print(found.word in ("PAYS", "DOES NOT PAY", "UNCLEAR"), found.ratio.low < found.ratio.value < found.ratio.high)
    True True
    """
    names = selection.select_precisions(precision)
    if "fp32" in names:
        others = ", ".join(name for name in PRECISIONS if name != "fp32")
        raise UsageError(f"fp32 is what the others are compared with. Choose from: {others}.")
    if runs < 2:
        raise UsageError(f"--runs {runs}: a verdict needs at least 2 runs of each file, in turns.")
    timing = find_protocol(protocol)
    require_module(timing.name, module=timing.module, extra=timing.extra)
    sources, _ = select_sources(models, onnx, ["fp32", *names], Path(onnx_dir))
    chosen, row = selection.select_runtime(gpu, runtime, ["fp32", *names], device=device, timed=True)
    candidates = installed_candidates() if chosen.kind == "cpu" and runtime in (None, AUTO) else []
    by_trial = bool(candidates) and all(RUNTIMES[each].can(name, timed=True) for each in candidates for name in names)
    judge = _Judge(
        paths=ArtifactPaths.find(chosen, row, Path(engines_dir)),
        by_trial=by_trial,
        images=image_reader(data, limit=limit if data else IMAGES, classes=classes, labels=labels),
        onnx=Path(onnx_dir),
        results=Path(results),
        protocol=timing,
        seconds=seconds,
        runs=runs,
        on_error=on_error,
    )
    given = None if batch is None else selection.select_batches(batch)
    networks = [sources[start : start + len(names) + 1] for start in range(0, len(sources), len(names) + 1)]
    batches = [[size for _, size in pairs(network[:1], given, (1,))] for network in networks]
    wanted = [pair for network, sizes in zip(networks, batches, strict=True) for pair in pairs(network, sizes, ())]
    require_some([judge.paths.artifact(*pair) for pair in wanted])
    found = []
    for network, sizes in zip(networks, batches, strict=True):
        for made in judge.verdicts(network, sizes):
            write_record(Path(results) / made.device.key / VERDICTS / f"{made.name}.json", made)
            found.append(made)
            if on_result:
                on_result(made)
    return found


class _Judge(msgspec.Struct, frozen=True, kw_only=True):
    """What all verdicts of one call share. `by_trial`: FP32 chooses the runtime."""

    paths: ArtifactPaths
    by_trial: bool
    images: Callable[[int], DataSet]
    onnx: Path
    results: Path
    protocol: MeasurementProtocol
    seconds: float | None
    runs: int
    on_error: OnError | None

    def verdicts(self, network: list[Source], sizes: list[int]) -> Iterator[Verdict]:
        """The verdicts on all but the first of a network's sources, its FP32, at these batch sizes."""
        whole, *others = network
        usable = [[other for other in others if self._is_usable(whole, other, size)] for size in sizes]
        if not any(usable):
            return
        judge, reason = self._with_runtime(whole, sizes[0])
        tasks = [(source, size) for size, sources in zip(sizes, usable, strict=True) for source in sources]
        accuracies = judge._accuracies(whole, tasks)
        for size, sources in zip(sizes, usable, strict=True):
            known = [source for source in sources if (source.precision, size) in accuracies]
            runs = judge._measured([whole, *known], size) if known else []
            for source, after in zip(known, runs[1:], strict=False):
                if problem := _incomparable([*runs[0], *after]):
                    self._fail(source, size, RunError(problem))
                else:
                    yield judge._verdict(whole, source, size, (runs[0], after), accuracies[source.precision, size], reason)

    def _fail(self, source: Source, size: int, error: TrtzooError) -> None:
        if self.on_error is None:
            raise error
        self.on_error(f"{source.identity.title} {source.precision} batch {size}", error)

    def _is_usable(self, whole: Source, other: Source, size: int) -> bool:
        """Whether both files are here and are of one network and its weights."""
        here, there = (self.paths.artifact(source, size) for source in (whole, other))
        if missing := [file for file in (here, there) if not file.path.is_file()]:
            names, words = " and ".join(str(file.path) for file in missing), missing[0].remedy
            both = words.replace("--precision fp32", f"--precision fp32,{other.precision}") if len(missing) > 1 else words
            self._fail(other, size, MissingError(f"{names} {'do' if len(missing) > 1 else 'does'} not exist. Run: {both}"))
            return False
        identities = here.identity, there.identity
        facts = {(each.network, each.weights, each.classes, each.height, each.width) for each in identities}
        if len(facts) > 1 and all(each.weights for each in identities):
            what = "have different weights, classes or image sizes"
            remedy = f"trtzoo export {whole.subject} --precision fp32,{PRECISIONS[other.precision].graph}"
            self._fail(other, size, StoreError(f"{here.path} and {there.path} {what}. Run: {remedy}"))
            return False
        return True

    def _with_runtime(self, whole: Source, size: int) -> tuple["_Judge", str]:
        """This with the runtime that is fastest for FP32, and the reason."""
        if not self.by_trial:
            return self, ""
        (job,) = self._jobs([whole], size, runtime=AUTO)
        with _progress() as show:
            name, reason = sweep.select_runtime(job, self.results, timeout=None, resume=False, on_start=show)
        return replace(self, paths=replace(self.paths, runtime=RUNTIMES[name])), reason

    # --- accuracy ---

    def _accuracies(self, whole: Source, tasks: list[tuple[Source, int]]) -> dict[tuple[str, int], Accuracy]:
        """The accuracies of sources at batch sizes, by precision and size; those that fail are left out."""
        found = {}
        candidates = [(source.identity, self.paths.candidate(source, size)) for source, size in tasks]
        with progress_bars() as bars:
            bar = bars.add_task("", total=None)

            def show(title: str, done: int) -> None:
                bars.update(bar, description=title, completed=done)

            outcomes = list(check.parity(candidates, self.images, onnx=self.onnx, on_progress=show))
        for image in (each for each in outcomes if isinstance(each, ImageError)):
            log.warning("skipped: %s", image)
        outcomes = [each for each in outcomes if not isinstance(each, ImageError)]
        for (source, size), outcome in zip(tasks, outcomes, strict=True):
            if isinstance(outcome, ParityVerdict) and outcome.metrics:
                data = self.images(source.identity.classes)
                about = {"dataset": data.name, "fingerprint": data.fingerprint} if data.photographs else {}
                found[source.precision, size] = Accuracy(reference=outcome.reference, metrics=outcome.metrics, **about)
            else:
                reasons = outcome.reasons if isinstance(outcome, ParityVerdict) else [str(outcome)]
                self._fail(source, size, RunError("; ".join(reasons)))
        return found

    def _block(self, whole: Source, other: Source) -> str:
        """The block that adds the largest error, by the graphs in ONNX Runtime; empty if they do not say."""
        row, model, graphs = PRECISIONS[other.precision], whole.identity.model, (whole.path, other.path)
        if not row.quantized and row.name not in ROUNDING:
            return ""
        blocks: list[BlockError] | list[Divergence] = []
        try:
            blocks = (check.quantized_blocks if row.quantized else check.block_divergences)(
                model, *graphs, row.name, self.images
            )
        except TrtzooError as error:
            log.warning("No block of %s can be named: %s", other.path, error)
        named = [row for row in blocks if row.block not in OUTER]  # other networks than ours have only those
        return max(named, key=lambda row: row.error / row.limit).block if named else ""

    # --- latency ---

    def _jobs(self, sources: list[Source], size: int, *, runtime: str) -> list[BenchJob]:
        device, reads = self.paths.device, self.paths.runtime.reads
        files = [self.paths.artifact(source, size) for source in sources]
        subjects = [
            sweep.Subject(
                artifact=file.path, identity=file.identity, precision=source.precision, batch=size, remedy=file.remedy
            )
            for file, source in zip(files, sources, strict=True)
        ]
        own = sweep.engine_conditions(self.protocol, None, None, False) if reads == "engine" else {}
        cases = sweep.cases(subjects, protocol=self.protocol.name, conditions=own, runtime=runtime, device=device.key)
        return sweep.bench_jobs(cases, device, reads=reads, seconds=self.seconds)

    def _measured(self, sources: list[Source], size: int) -> list[list[Result]]:
        """The runs of each source, made back and forth, in the order of time."""
        runtime, device = self.paths.runtime, self.paths.device
        jobs = self._jobs(sources, size, runtime=runtime.name)
        peak = (lambda: None) if runtime.hidden else cache(partial(find_peak, device.cores))
        with _progress(total=len(jobs) * self.runs) as show:
            made = sweep.bench(jobs, self.results, runs=self.runs, back_and_forth=True, peak=peak, on_start=show)
            found = [outcome.result for outcome in made]
        return [[run for run in found if run.case.precision == source.precision] for source in sources]

    def _verdict(
        self, whole: Source, other: Source, size: int, runs: tuple[list[Result], list[Result]], accuracy: Accuracy, reason: str
    ) -> Verdict:
        cell, first = compared(*runs, same_work=False), runs[1][0]
        sides = [
            _side(side, self.paths.artifact(source, size))
            for source, side in zip((whole, other), (cell.before, cell.after), strict=True)
        ]
        made = Verdict(
            case=first.case,
            identity=first.subject,
            device=first.device,
            versions=first.versions,
            selection_reason=reason,
            before=sides[0],
            after=sides[1],
            interleaved=cell.interleaved,
            left_out=cell.left_out,
            warning=cell.warning,
            accuracy=accuracy,
            started=runs[0][0].started,
        )
        if made.breaks_policy:
            made = replace(made, accuracy=replace(accuracy, block=self._block(whole, other)))
        return made


def _incomparable(runs: Sequence[Result]) -> str:
    """Why runs give no verdict: one failed, or only some have a CUDA graph; else empty."""
    for run in runs:
        if run.failure:
            return f"{run.case.name} failed: {run.failure.reason}"
    graphs = {run.case.cuda_graph for run in runs}
    return "a CUDA graph could be captured of one file only" if len(graphs) > 1 else ""


def _side(runs: Sequence[Result], file: Source) -> Side:
    opening = runs[0].opening
    moments = [run_moment(run) for run in runs]
    return Side(
        precision=file.precision,
        artifact_sha256=runs[0].artifact_sha256,
        io=runs[0].io,
        bytes=file.path.stat().st_size,
        memory=opening.engine_size + opening.context_memory if opening else None,
        runs=tuple(
            TimedRun(started=run.started, seconds=math.exp(moment.level), error=moment.error)
            for run, moment in zip(runs, moments, strict=True)
        ),
    )


@contextmanager
def _progress(total: int | None = None) -> Iterator[Callable[[Case], None]]:
    """A progress bar; yields the function that shows the case that is measured next."""
    with progress_bars() as bars:
        bar = bars.add_task("", total=total)
        yield lambda case: bars.update(bar, description=f"measuring {case.name}", advance=1)
