"""`bench`: latencies."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from trtzoo.api import selection
from trtzoo.api.selection import Folder, Names, Sizes
from trtzoo.benchmark import sweep
from trtzoo.benchmark.protocols import find_protocol
from trtzoo.core.console import progress_bars
from trtzoo.core.errors import UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.records import BenchJob, Result
from trtzoo.hardware.cpu_peak import measure_peak
from trtzoo.runtimes.registry import AUTO, installed_candidates

CUDA_GRAPHS: dict[str, list[bool | None]] = {"on": [True], "off": [False], "both": [True, False]}


def bench(
    models: Names | None = None,
    *,
    gpu: str = "auto",
    precision: Names = "fp32",
    batch: Sizes = (1, 4, 8),
    runtime: str | None = None,
    protocol: Names = "trtzoo",
    seconds: float | None = None,
    runs: int = 1,
    resume: bool = False,
    timeout: float = sweep.TIMEOUT,
    cuda_graph: str | None = None,
    rotate: bool = False,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    results: Folder = "benchmarks",
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Measure latencies, one process per case, after checking each case's outputs; results go to files in `results`, too.

    A case is a model, precision, batch size and protocol. `gpu` is cpu, a GPU's name, or auto (the first GPU, else the CPU).
    `runtime` None or "auto" is the GPU's TensorRT, or on a CPU the fastest in a short trial. `seconds` is the minimum sampling
    time (default: the protocol's), `timeout` the limit per case. `resume` keeps good results that exist. `on_result` receives
    each record as it is made. A case that failed has `failure` set. Raises UsageError and MachineError.

    >>> import trtzoo
    >>> for result in trtzoo.bench("dpn68", gpu="cpu", batch=[1, 4], runtime="onnxruntime"):
    ...     print(result.case.batch, len(result.samples) >= 10, result.failure)
    1 True None
    4 True None
    """
    names, precisions = selection.select_models(models), selection.select_precisions(precision)
    batches = selection.select_batches(batch)
    protocols = [find_protocol(name) for name in selection.select_names(protocol, "--protocol")]
    if cuda_graph is not None and cuda_graph not in CUDA_GRAPHS:
        raise UsageError(f"--cuda-graph {cuda_graph!r}: choose on, off or both.")
    device, row = selection.select_runtime(gpu, runtime, precisions)
    if row.reads == "graph" and (cuda_graph or rotate) and device.kind == "gpu":
        raise UsageError(f"--cuda-graph and --rotate are for engines: {row.name} runs the exported graph.")
    by_trial = device.kind == "cpu" and runtime in (None, AUTO) and bool(installed_candidates())
    folder = Path(onnx_dir) if row.reads == "graph" else selection.engines_folder(Path(engines_dir), device, row)
    jobs: list[BenchJob] = []
    for each in protocols:
        require_module(each.name, module=each.module, extra=each.extra)
        graphs = CUDA_GRAPHS.get(cuda_graph or "", [each.cuda_graph])
        cases = sweep.cases(
            model=names,
            precision=precisions,
            batch=batches,
            protocol=[each.name],
            runtime=AUTO if by_trial else row.name,
            device=device.key,
            cuda_graph=[None] if row.reads == "graph" else graphs,
        )
        jobs += sweep.bench_jobs(cases, device, folder, reads=row.reads, seconds=seconds, rotate=rotate)
    peak = cache(partial(measure_peak, device.cores))
    stream = sweep.bench(jobs, Path(results), timeout=timeout, runs=runs, resume=resume, sgemm=peak)
    records = []
    with progress_bars() as bars:
        for record in bars.track(stream, total=len(jobs) * runs, description=f"measuring on {device.name}"):
            records.append(record)
            if on_result:
                on_result(record)
    return records
