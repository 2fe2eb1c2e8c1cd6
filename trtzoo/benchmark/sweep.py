"""Stage 3: cases → one result file each. One process a case: two runtimes in one process disturb each other's timings."""

import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from trtzoo.benchmark.protocols import find_protocol, reported_latency
from trtzoo.core.errors import StoreError
from trtzoo.core.files import decode, sidecar_path, write_record
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import RUNS, BenchJob, Case, Device, Failure, Result
from trtzoo.core.subprocesses import exit_failure
from trtzoo.runtimes.registry import AUTO, installed_candidates

TIMEOUT = 600.0
"""Seconds after which a case is given up."""

CLOSE = 1.1
"""Runtimes so near each other in a trial have another turn: two runs of one of them differ by a few percent."""


def cases(
    *,
    models: list[str],
    precisions: list[str],
    batches: list[int],
    protocols: list[str],
    runtime: str,
    device: str,
    cuda_graphs: list[bool | None],
) -> list[Case]:
    """The cross product, model by model."""
    grid = product(models, precisions, batches, protocols, cuda_graphs)
    return [
        Case(
            model=model,
            precision=precision,
            batch=batch,
            runtime=runtime,
            device=device,
            protocol=protocol,
            cuda_graph=graph,
        )
        for model, precision, batch, protocol, graph in grid
    ]


def graph_jobs(cases: list[Case], device: Device, onnx: Path, *, seconds: float = 0.0) -> list[BenchJob]:
    """Each case with the ONNX file it runs; `seconds` is the least time to sample for."""
    return [
        BenchJob(
            case=case,
            device=device,
            artifact=str(onnx / f"{case.model}-{find_precision(case.precision).graph}.onnx"),
            options={"device": device.index, "tf32": find_precision(case.precision).tf32}
            | find_protocol(case.protocol).session_options
            if device.kind == "gpu"
            else {},
            seconds=seconds,
        )
        for case in cases
    ]


def engine_jobs(
    cases: list[Case], device: Device, engines: Path, *, seconds: float = 0.0, rotate: bool = False
) -> list[BenchJob]:
    """Each case with the engine it runs and what its protocol asks of the session."""
    return [
        BenchJob(
            case=case,
            device=device,
            artifact=str(engines / f"{case.model}-{case.precision}-b{case.batch}.engine"),
            options={"device": device.index, "cuda_graph": bool(case.cuda_graph), "rotate": rotate}
            | find_protocol(case.protocol).session_options,
            seconds=seconds,
        )
        for case in cases
    ]


def bench(
    todo: list[BenchJob],
    results: Path,
    *,
    timeout: float = TIMEOUT,
    runs: int = 1,
    resume: bool = False,
    sgemm: Callable[[], float] = lambda: 0.0,
) -> Iterator[Result]:
    """Run the jobs one after another and yield each result, already written to results/<device>/<case>.json.

    All that again for each further one of the `runs`, into the folder RUNS beside it; a new first result ends older ones.
    A case that crashes, hangs or computes wrongly becomes a result with its failure and stops nothing. `resume` takes over
    good results that are there and were made from the same file. The runtime "auto" is the fastest in a short trial of each
    that is installed, in processes of their own; a model, precision and batch have it once, and every protocol uses it.
    `sgemm` tells the rate, FLOP/s, that goes into a processor's results; it is asked before one is measured.
    """
    chosen: dict[tuple[str, int], BenchJob] = {}
    for run, asked in product(range(1, runs + 1), todo):
        job = asked
        if asked.case.runtime == AUTO:
            key = asked.artifact, asked.case.batch
            chosen[key] = chosen.get(key) or _chosen(asked, results, timeout, resume)
            job = _by(asked, chosen[key].case.runtime, chosen[key].selection_reason)
        path = results / job.device.key / f"{job.case.name}.json"
        further = path.parent / RUNS
        if run > 1:
            path = further / f"{job.case.name}.{run}.json"
        result = _kept(path, job) if resume else None
        if result is None:
            result = _run(replace(job, sgemm=sgemm()) if job.device.kind == "cpu" else job, timeout)
            for old in further.glob(f"{job.case.name}.*.json") if run == 1 else ():
                old.unlink()
            write_record(path, result)
        yield result


def _by(job: BenchJob, runtime: str, reason: str = "") -> BenchJob:
    return replace(job, case=replace(job.case, runtime=runtime), selection_reason=reason)


def _chosen(job: BenchJob, results: Path, timeout: float, resume: bool) -> BenchJob:
    """The job by the runtime that a good earlier result was chosen for, or else by the fastest in a trial of each."""
    ways = [_by(job, name) for name in installed_candidates()]
    for way in ways if resume else ():
        kept = _kept(results / way.device.key / f"{way.case.name}.json", way)
        if kept and kept.selection_reason:
            return _by(job, kept.case.runtime, kept.selection_reason)
    if len(ways) == 1:
        return _by(job, ways[0].case.runtime, f"only {ways[0].case.runtime} is installed")
    trials = [_try(way, timeout) for way in ways]
    turns, (best, *others) = "", sorted(trials, key=_seconds)
    if others and _seconds(others[0]) < CLOSE * _seconds(best):
        turns = ", the better of two turns"
        trials = [min(first, _try(way, timeout), key=_seconds) for first, way in zip(trials, ways, strict=True)]
        best = min(trials, key=_seconds)
    return _by(job, best.case.runtime, f"a trial of each{turns}: {', '.join(map(_told, trials))}")


def _try(job: BenchJob, timeout: float) -> Result:
    return _run(replace(job, case=replace(job.case, protocol="trial"), seconds=0.0), timeout)


def _seconds(trial: Result) -> float:
    return math.inf if trial.failure else reported_latency(trial)


def _told(trial: Result) -> str:
    name, failure = trial.case.runtime, trial.failure
    return f"{name} failed ({failure.kind})" if failure else f"{name} {reported_latency(trial) * 1e3:.1f} ms"


def _kept(path: Path, job: BenchJob) -> Result | None:
    """The good result that is there for this very file, or None."""
    try:
        result = decode(path.read_bytes(), Result, where=str(path))
        made_from = msgspec.json.decode(sidecar_path(Path(job.artifact)).read_bytes(), type=dict[str, Any])["sha256"]
    except (OSError, StoreError, msgspec.MsgspecError, KeyError):
        return None
    return result if not result.failure and result.artifact_sha256 == made_from else None


def _run(job: BenchJob, timeout: float) -> Result:
    """The child's result, or one that says how the child ended."""
    command = [sys.executable, "-m", "trtzoo.benchmark.worker"]
    try:
        done = subprocess.run(command, input=msgspec.json.encode(job), capture_output=True, timeout=timeout, check=False)
        if done.returncode == 0:
            return decode(done.stdout, Result, where="the result")
        failure = exit_failure(done.returncode, done.stderr.decode(errors="replace"))
    except subprocess.TimeoutExpired:
        failure = Failure(kind="timeout", reason=f"no result after {timeout:.0f} s")
    except StoreError as error:
        failure = Failure(kind="crash", reason=str(error))
    return Result(case=job.case, device=job.device, selection_reason=job.selection_reason, failure=failure)
