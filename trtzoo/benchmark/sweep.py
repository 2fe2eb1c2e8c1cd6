"""Run cases and keep one result file for each. Every case has its own process: runtimes in one process disturb each other."""

import glob
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from trtzoo.benchmark.protocols import MeasurementProtocol, find_protocol, job_protocol, reported_latency
from trtzoo.core.console import log
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import read_record, sha256_file, write_record
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import RUNS, BenchJob, Case, CpuPeak, Device, Failure, Identity, Result, result_name
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.hardware.gpu_lock import exclusive_gpu
from trtzoo.runtimes.registry import AUTO, installed_candidates

TIMEOUT = 600.0  # default time limit of a case without its warm-up and sampling, in seconds
CUDA_GRAPHS = {"on": [True], "off": [False], "both": [True, False]}
WAITS = ("spin", "block")
OnStart = Callable[[Case], None]
CLOSE = 1.1  # runtimes within this ratio get a second trial: two runs of one runtime differ by a few percent


class Outcome(msgspec.Struct, frozen=True):
    """A result, and whether `resume` kept it instead of measuring."""

    result: Result
    kept: bool = False


class Subject(msgspec.Struct, frozen=True):
    """What to measure at one batch size: a file, what it computes, and the command that makes it."""

    artifact: Path
    identity: Identity
    precision: str
    batch: int
    remedy: str = ""


def cases(subjects: Iterable[Subject], *, conditions: Mapping[str, Sequence[Any]], **facts: Any) -> list[tuple[Subject, Case]]:
    """Each subject's cases: one for each combination of the `conditions`, values of Case's fields. `facts` are other fields."""
    found = []
    for subject in subjects:
        for values in product(*conditions.values()):
            case = Case(
                model=subject.identity.model,
                form=subject.identity.form,
                precision=subject.precision,
                batch=subject.batch,
                **facts,
                **dict(zip(conditions, values, strict=True)),
            )
            found.append((subject, case))
    return found


def engine_conditions(
    protocol: MeasurementProtocol, cuda_graph: str | None, wait: str | None, flush_l2: bool
) -> dict[str, list[Any]]:
    """The values of Case's conditions of engines; None is the protocol's default. Raises UsageError for another word."""
    if cuda_graph not in (None, *CUDA_GRAPHS):
        raise UsageError(f"--cuda-graph {cuda_graph!r}: choose on, off or both.")
    if wait not in (None, *WAITS):
        raise UsageError(f"--wait {wait!r}: choose spin or block.")
    graphs = [protocol.cuda_graph] if cuda_graph is None else CUDA_GRAPHS[cuda_graph]
    return {"cuda_graph": graphs, "wait": [wait or protocol.wait], "flush_l2": [flush_l2]}


def bench_jobs(
    cases: list[tuple[Subject, Case]],
    device: Device,
    *,
    reads: Literal["graph", "engine"] = "graph",
    seconds: float | None = None,
    fallback: bool = True,
) -> list[BenchJob]:
    """Each case with its file, and the options of its session. `reads` is the file's kind: an exported graph or an engine.

    `seconds` is a minimum sampling time above the protocol's. With `fallback` an engine whose CUDA graph cannot be captured is
    measured without one, else that is its failure.
    """
    jobs = []
    for subject, case in cases:
        options: dict[str, bool | int | str] = {**find_protocol(case.protocol).session_options}
        if reads == "engine":
            conditions = {"cuda_graph": bool(case.cuda_graph), "wait": case.wait or "spin", "flush_l2": case.flush_l2}
            options = {**conditions, "fallback": fallback, **options}
        else:
            options = {"tf32": find_precision(case.precision).tf32, **options}
        on_gpu = {"device": device.index, **options}
        on_cpu: dict[str, bool | int | str] = {"threads": case.threads} if case.threads else {}
        artifact, identity = str(subject.artifact), subject.identity
        jobs.append(
            BenchJob(
                case=case,
                device=device,
                artifact=artifact,
                identity=identity,
                remedy=subject.remedy,
                options=on_gpu if device.kind == "gpu" else on_cpu,
                seconds=seconds,
            )
        )
    return jobs


def bench(
    jobs: list[BenchJob],
    results: Path,
    *,
    timeout: float | None = None,
    runs: int = 1,
    resume: bool = False,
    back_and_forth: bool = False,
    peak: Callable[[], CpuPeak | None] = lambda: None,
    on_start: OnStart = lambda case: None,
) -> Iterator[Outcome]:
    """Measure the jobs in order and yield each result after it is written to results/<device>/<case>.json.

    A job's time limit is `timeout`, or if that is None, what its protocol needs. `on_start` receives each case, also a trial,
    before it is measured.

    With more than one of `runs` the whole sweep repeats, and further results go to the subfolder RUNS; a new first result
    deletes the further ones of earlier sweeps. `back_and_forth` reverses the order of every second repetition, A B B A, so that
    a steady drift of the machine adds nothing to the mean ratio of two jobs.

    A case that crashes, hangs or computes wrong outputs becomes a result with its failure, and the sweep continues; so does one
    without its file, which is not written. `resume` keeps good results of unchanged artifacts on the same GPU, also one whose
    CUDA graph could not be captured. The runtime "auto" selects the fastest installed runtime in short trials, once for each
    artifact and batch. `peak` measures the processor's for a CPU's result, before each case.
    """
    _warn_of_other_gpus(jobs, results)
    selected: dict[tuple[str, int], tuple[str, str]] = {}
    orders = [jobs, jobs[::-1] if back_and_forth else jobs]
    for run, requested in ((number, job) for number in range(1, runs + 1) for job in orders[(number - 1) % 2]):
        if not Path(requested.artifact).is_file():  # not a measurement, so it is not kept
            remedy = f". Run: {requested.remedy}" if requested.remedy else ""
            missing = Failure(kind="error", reason=f"there is no {requested.artifact}{remedy}")
            result = Result(case=requested.case, identity=requested.identity, device=requested.device, failure=missing)
            yield Outcome(result)
            continue
        job, key = requested, (requested.artifact, requested.case.batch)
        if job.case.runtime == AUTO:
            if key not in selected:
                selected[key] = select_runtime(job, results, timeout, resume, on_start)
            runtime, reason = selected[key]
            job = replace(job, case=replace(job.case, runtime=runtime), selection_reason=reason)
        folder = results / job.device.key
        if kept := _kept_result(folder, job, run) if resume else None:
            yield Outcome(kept, kept=True)
            continue
        result = _run(replace(job, peak=peak()) if job.device.kind == "cpu" else job, timeout, on_start)
        for outdated in (folder / RUNS).glob(f"{glob.escape(result.name)}.*.json") if run == 1 else ():
            outdated.unlink()
        write_record(_path(folder, result.name, run), result)
        yield Outcome(result)


def time_limit(job: BenchJob) -> float:
    """The default time limit of a job, in seconds: TIMEOUT, and twice its protocol's warm-up and sampling time."""
    protocol = job_protocol(job)
    return TIMEOUT + 2 * (protocol.warm_up_seconds + protocol.seconds)


def _name(job: BenchJob) -> str:
    """The name of the job's result, if the runtime does what it was asked to do."""
    return result_name(job.case, job.identity, selected=bool(job.selection_reason) or job.case.runtime == AUTO)


def _path(folder: Path, name: str, run: int) -> Path:
    return folder / f"{name}.json" if run == 1 else folder / RUNS / f"{name}.{run}.json"


def _kept_result(folder: Path, job: BenchJob, run: int = 1) -> Result | None:
    """The good result of the job's case and of its artifact as it is now, or of the case without the CUDA graph that failed."""
    if found := _good_result(folder, job, run):
        return found
    if not (job.case.cuda_graph and job.options.get("fallback")):
        return None
    found = _good_result(folder, replace(job, case=replace(job.case, cuda_graph=False)), run)
    return found if found and found.graph_error else None


def _good_result(folder: Path, job: BenchJob, run: int) -> Result | None:
    try:
        result = read_record(_path(folder, _name(job), run), Result)
        same_file = result.artifact_sha256 == sha256_file(Path(job.artifact))
    except (OSError, StoreError):
        return None
    same_gpu = result.device.uuid in ("", job.device.uuid)
    return result if result.case == job.case and same_gpu and same_file and not result.failure else None


def _warn_of_other_gpus(jobs: list[BenchJob], results: Path) -> None:
    """Warn once if results of another GPU of the same kind will be replaced."""
    replaced = []
    for job in jobs:
        with suppress(OSError, StoreError):
            path = _path(results / job.device.key, _name(job), 1)
            replaced.append(read_record(path, Result).device.uuid)
    others = [uuid for uuid in replaced if uuid not in ("", jobs[0].device.uuid)]
    if others:
        log.warning(
            "%s has results of another %s (%s), and this run replaces %d of them. To keep them: --results FOLDER",
            results / jobs[0].device.key,
            jobs[0].device.name,
            ", ".join(dict.fromkeys(others)),
            len(others),
        )


def _run(job: BenchJob, timeout: float | None, on_start: OnStart) -> Result:
    """The child's result, or one that says why the child gave none."""
    on_start(job.case)
    limit = time_limit(job) if timeout is None else timeout
    try:
        with exclusive_gpu(job.device):
            return run_child(module_command("trtzoo.benchmark.worker"), job, answer=Result, timeout=limit)
    except ChildError as error:
        why = job.selection_reason
        return Result(case=job.case, identity=job.identity, device=job.device, selection_reason=why, failure=error.failure)


# --- the runtime "auto" ---


def select_runtime(job: BenchJob, results: Path, timeout: float | None, resume: bool, on_start: OnStart) -> tuple[str, str]:
    """The runtime for a job of AUTO, and the reason: those of a kept result if there is one, else the fastest in trials."""
    candidates = [replace(job, case=replace(job.case, runtime=name)) for name in installed_candidates(job.case.precision)]
    folder = results / job.device.key
    chosen = [replace(each, selection_reason="a trial") for each in candidates]
    if resume and (kept := next(filter(None, (_kept_result(folder, each) for each in chosen)), None)):
        return kept.case.runtime, kept.selection_reason
    if len(candidates) == 1:
        how = "is installed" if len(installed_candidates()) == 1 else f"computes {job.case.precision}"
        return candidates[0].case.runtime, f"only {candidates[0].case.runtime} {how}"

    def seconds(trial: Result) -> float:
        return math.inf if trial.failure else reported_latency(trial)

    short = [replace(each, case=replace(each.case, protocol="trial"), seconds=None) for each in candidates]
    trials = [_run(trial, timeout, on_start) for trial in short]
    best, second = sorted(map(seconds, trials))[:2]
    repeated = second < CLOSE * best
    if repeated:
        trials = [min(first, _run(trial, timeout, on_start), key=seconds) for first, trial in zip(trials, short, strict=True)]
    rule = "a trial of each, the better of two turns" if repeated else "a trial of each"
    outcomes = [f"failed ({each.failure.kind})" if each.failure else f"{seconds(each) * 1e3:.1f} ms" for each in trials]
    found = ", ".join(f"{trial.case.runtime} {outcome}" for trial, outcome in zip(trials, outcomes, strict=True))
    return min(trials, key=seconds).case.runtime, f"{rule}: {found}"
