"""`bench` measures latencies, `read_results` reads those that were measured."""

from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from trtzoo.api import selection
from trtzoo.api.artifacts import ArtifactPaths, Source, pairs, require_some, select_sources
from trtzoo.api.selection import Files, Folder, Names, Sizes
from trtzoo.benchmark import sweep
from trtzoo.benchmark.protocols import find_protocol, reported
from trtzoo.core.console import progress_bars
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.records import BenchJob, Case, Device, Result
from trtzoo.core.statistics import summarise
from trtzoo.hardware.cpu_peak import find_peak
from trtzoo.report.results import load_results
from trtzoo.runtimes.registry import AUTO, Runtime, installed_candidates

if TYPE_CHECKING:
    import pandas


def bench(
    models: Names | None = None,
    *,
    onnx: Files | None = None,
    gpu: str = "auto",
    device: str | int | None = None,
    precision: Names | None = None,
    batch: Sizes | None = None,
    runtime: Names | None = None,
    threads: int | None = None,
    protocol: Names = "trtzoo",
    seconds: float | None = None,
    runs: int = 1,
    resume: bool = False,
    timeout: float | None = None,
    cuda_graph: str | None = None,
    wait: str | None = None,
    flush_l2: bool = False,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    results: Folder = "benchmarks",
    on_result: Callable[[Result], None] | None = None,
    on_kept: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Measure latencies, one process per case, after checking each case's outputs; results go to files in `results`, too.

    A case is a model or a file of `onnx` (graphs, or engines on a GPU), with a precision (default: fp32, or the file's), batch
    size (default: 1, 4 and 8, or the file's) and protocol. `gpu` is cpu, a GPU's name, or auto (the first GPU, else the CPU);
    `device` is the index, UUID or PCI bus id of one of several GPUs. `runtime` is one or several; None or "auto" is the GPU's
    TensorRT, or on a CPU the fastest in a short trial. `threads` is the number for CPU runtimes (None: one a core). `seconds`
    is the minimum sampling time (default: the protocol's), `timeout` the limit per case (default: by the protocol). Engines are
    measured with `cuda_graph` on, off or both, the host's `wait` (spin or block), and with `flush_l2` from a cold L2 cache.
    `resume` keeps good results that exist. `on_result` receives each record as it is made, and `on_kept` each that `resume`
    kept. A case that failed has `failure` set. Raises UsageError and MachineError, and StoreError if none of the files exists.

    >>> import trtzoo
    >>> for result in trtzoo.bench("dpn68", gpu="cpu", batch=[1, 4], runtime="onnxruntime"):
    ...     print(result.case.batch, len(result.samples) >= 10, result.failure)
    1 True None
    4 True None
    """
    sources, precisions = select_sources(models, onnx, precision, Path(onnx_dir))
    wanted = pairs(sources, None if batch is None else selection.select_batches(batch), (1, 4, 8))
    protocols = [find_protocol(name) for name in selection.select_names(protocol, "--protocol")]
    conditions = {each.name: sweep.engine_conditions(each, cuda_graph, wait, flush_l2) for each in protocols}
    for each in protocols:
        require_module(each.name, module=each.module, extra=each.extra)
    names = [None] if runtime is None else selection.select_names(runtime, "--runtime")
    chosen, rows = selection.select_runtimes(gpu, names, precisions, device=device)
    _check_options(chosen, rows.values(), threads, engine_options=bool(cuda_graph or wait or flush_l2))
    jobs: dict[str, list[BenchJob]] = {each.name: [] for each in protocols}
    for name, row in rows.items():
        subjects = _subjects(wanted, ArtifactPaths.find(chosen, row, Path(engines_dir)))
        by_trial = chosen.kind == "cpu" and name == AUTO and bool(installed_candidates())
        facts = {"runtime": AUTO if by_trial else row.name, "device": chosen.key, "threads": threads}
        for each in protocols:
            own = conditions[each.name] if row.reads == "engine" else {}
            cases = sweep.cases(subjects, protocol=each.name, conditions=own, **facts)
            fallback = cuda_graph is None
            jobs[each.name] += sweep.bench_jobs(cases, chosen, reads=row.reads, seconds=seconds, fallback=fallback)
    ordered = [job for each in protocols for job in jobs[each.name]]
    computes = any(not row.hidden for row in rows.values())
    peak = cache(partial(find_peak, threads or chosen.cores)) if computes else (lambda: None)
    records = []
    with progress_bars() as bars:
        bar = bars.add_task("", total=len(ordered) * runs)

        def show(case: Case) -> None:
            bars.update(bar, description=f"measuring {case.name} on {chosen.title}")

        for outcome in sweep.bench(ordered, Path(results), timeout=timeout, runs=runs, resume=resume, peak=peak, on_start=show):
            bars.advance(bar)
            records.append(outcome.result)
            if receive := on_kept if outcome.kept and on_kept else on_result:
                receive(outcome.result)
    return records


def _check_options(device: Device, rows: Iterable[Runtime], threads: int | None, *, engine_options: bool) -> None:
    """Raise UsageError for options that none of the runtimes has."""
    if engine_options and not any(row.reads == "engine" for row in rows):
        names = " and ".join(row.name for row in rows)
        raise UsageError(f"--cuda-graph, --wait and --flush-l2 are for engines on a GPU: {names} runs the exported graph.")
    if threads is None:
        return
    if device.kind == "gpu":
        raise UsageError(f"--threads is for runtimes on a CPU, and {device.name} is a GPU. Leave it out, or say --gpu cpu")
    if not 0 < threads <= device.cores:
        raise UsageError(f"--threads {threads}: this process may use {device.cores} cores. Choose 1 to {device.cores}.")


def _subjects(wanted: list[tuple[Source, int]], paths: ArtifactPaths) -> list[sweep.Subject]:
    """The files that a runtime runs. Raises StoreError if none of them exists."""
    files = [paths.artifact(source, size) for source, size in wanted]
    require_some(files)
    return [
        sweep.Subject(artifact=file.path, identity=file.identity, precision=source.precision, batch=size, remedy=file.remedy)
        for file, (source, size) in zip(files, wanted, strict=True)
    ]


class Results(tuple[Result, ...]):
    """Records of result files; `complaints` has a sentence for each file that was skipped."""

    complaints: tuple[str, ...] = ()

    def to_pandas(self) -> "pandas.DataFrame":
        """A frame with one row per case, times in seconds; a failed case has its `failure` and no times.

        Raises MachineError where pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise MachineError("to_pandas needs pandas, which is not installed. Run: pip install pandas") from None
        return pandas.DataFrame([_row(record) for record in self])


def _row(record: Result) -> dict[str, Any]:
    row = asdict(record.case) | {
        "device": record.device.name,
        "versions": ", ".join(f"{name} {version}" for name, version in record.versions.items()),
        "weights": record.weights.source if record.weights else None,
        "started": record.started,
        "failure": record.failure.reason if record.failure else None,
    }
    if record.failure:
        return row
    found = reported(record)
    return row | {"latency": found.latency, "low": found.low, "high": found.high} | asdict(summarise(found.samples))


def read_results(results: Folder = "benchmarks") -> Results:
    """Read the result files of a folder; of two files of one case the newer counts.

    >>> import trtzoo
    >>> found = trtzoo.read_results("benchmarks")
    >>> [(record.case.model, record.case.batch) for record in found], found.complaints
    ([('dpn68', 1), ('dpn68', 4)], ())
    """
    records, complaints = load_results(Path(results))
    found = Results(records)
    found.complaints = tuple(complaints)
    return found
