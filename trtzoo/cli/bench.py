"""`trtzoo bench`."""

import shlex
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trtzoo.benchmark.protocols import PROTOCOLS, find_protocol, reported_latency
from trtzoo.benchmark.sweep import TIMEOUT, bench, bench_jobs, cases
from trtzoo.benchmark.trtexec import command_line
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.cli import completion
from trtzoo.cli.common import (
    All,
    Batches,
    EnginesFolder,
    GpuOption,
    Models,
    OnnxFolder,
    Precisions,
    Results,
    app,
    batches,
    engines_for,
    items,
    precisions,
    ready,
    rows,
    say,
    talk,
)
from trtzoo.core.errors import UsageError
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import BenchJob, Case, Result
from trtzoo.core.statistics import interval, summarise
from trtzoo.hardware.cpu_peak import measure_peak
from trtzoo.runtimes.registry import AUTO, installed_candidates


@app.command("bench")
def bench_command(
    names: Models = None,
    every: All = False,
    gpu: GpuOption = "auto",
    precision_list: Precisions = "fp32",
    batch: Batches = "1,4,8",
    runtime: Annotated[
        str | None,
        typer.Option(
            help="What runs the networks. auto: the device's own; on a processor the fastest in a short trial of each.",
            autocompletion=completion.runtime,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(
            help=f"How a number is taken; a comma list of {', '.join(PROTOCOLS)}.", autocompletion=completion.protocols
        ),
    ] = "trtzoo",
    seconds: Annotated[float, typer.Option(help="Sample for at least so long.", min=0)] = 0.0,
    runs: Annotated[
        int, typer.Option(help="Measure everything so many times over. A table shows the first; compare wants five.", min=1)
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Keep good results that are there and measure the rest.")] = False,
    print_trtexec: Annotated[
        bool, typer.Option("--print-trtexec", help="Print the equal trtexec commands and measure nothing.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds after which a case is given up.", min=1)] = TIMEOUT,
    cuda_graph: Annotated[
        str | None, typer.Option(help="On a GPU: on, off, or both one after the other. Default: the protocol's.")
    ] = None,
    rotate: Annotated[
        bool, typer.Option("--rotate", help="On a GPU: go round through inputs larger than its L2 cache.")
    ] = False,
    onnx: OnnxFolder = Path("onnx"),
    engines_root: EnginesFolder = Path("engines"),
    results: Results = Path("benchmarks"),
) -> None:
    """Measure latencies, one process a case, after checking each case's outputs.

    Examples: trtzoo bench --all --gpu cpu; trtzoo bench dpn68 dpn92 --batch 1; trtzoo bench --all --gpu t4
    """
    models, kinds, sizes = [row.name for row in rows(names, every)], precisions(precision_list), batches(batch)
    ways = [find_protocol(name) for name in items(protocol, "--protocol")]
    grid = partial(cases, models=models, precisions=kinds, batches=sizes)
    if print_trtexec:
        _print_trtexec(grid(protocols=[way.name for way in ways], runtime="trtexec", device="", cuda_graphs=[None]), onnx)
        return
    graphs = _graphs(cuda_graph)
    device, how = ready(gpu, runtime, kinds)
    if how.reads == "graph" and (graphs or rotate) and device.kind == "gpu":
        raise UsageError(f"--cuda-graph and --rotate are for engines: {how.name} runs the exported graph.")
    by_trial = device.kind == "cpu" and runtime in (None, AUTO) and bool(installed_candidates())
    for way in ways:
        require_module(way.name, module=way.module, extra=way.extra)
    todo: list[BenchJob] = []
    for way in ways:
        here = partial(grid, protocols=[way.name], runtime=AUTO if by_trial else how.name, device=device.key)
        if how.reads == "graph":
            todo += bench_jobs(here(cuda_graphs=[None]), device, onnx, seconds=seconds)
        else:
            folder = engines_for(engines_root, device, how)
            todo += bench_jobs(
                here(cuda_graphs=graphs or [way.cuda_graph]), device, folder, reads="engine", seconds=seconds, rotate=rotate
            )
    failed = _sweep(
        len(todo) * runs,
        bench(todo, results, timeout=timeout, runs=runs, resume=resume, sgemm=cache(partial(measure_peak, device.cores))),
        f"measuring on {device.name}",
    )
    if failed:
        talk.print(f"{failed} of {len(todo) * runs} cases failed; the others are kept in {results / device.key}.", style="red")
        raise typer.Exit(1)


def _graphs(text: str | None) -> list[bool | None]:
    """What --cuda-graph says; nothing where it says nothing."""
    choices: dict[str, list[bool | None]] = {"on": [True], "off": [False], "both": [True, False]}
    if text is not None and text not in choices:
        raise UsageError(f"--cuda-graph {text!r}: say on, off or both.")
    return choices[text] if text else []


def _sweep(total: int, results: Iterator[Result], title: str) -> int:
    """Tell each result as it comes; how many failed."""
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False, refresh_per_second=1) as progress:
        for result in progress.track(results, total=total, description=title):
            failed += result.failure is not None
            say(_line(result))
            if sentence := warning_sentence(result):
                talk.print(f"    {sentence}", style="yellow", markup=False)
    return failed


def _print_trtexec(todo: list[Case], folder: Path) -> None:
    """For each case the command of TensorRT 10's trtexec and of 11's, where that one can measure the same."""
    for case in todo:
        way, graph = find_protocol(case.protocol), find_precision(case.precision).graph
        for release in (10, 11):
            onnx = folder / f"{case.model}-{graph}.onnx"
            words = command_line(case, way, release=release, onnx=onnx, io=(3, 224, 224))
            say(shlex.join(words) or f"# {case.name}: trtexec {release} has nothing like protocol {way.name}")


def _line(result: Result) -> str:
    case = result.case
    head = f"{case.model:<12} {case.precision}  batch {case.batch:<3}"
    if result.failure:
        return f"{head} failed: {result.failure.kind}: {result.failure.reason}"
    totals = [sample.total for sample in result.samples]
    latency, known = summarise(totals), interval(totals)
    return (
        f"{head} {case.protocol:<10} {reported_latency(result) * 1e3:9.2f} ms   median in [{known.low * 1e3:.2f}, "
        f"{known.high * 1e3:.2f}]   p99 {latency.p99 * 1e3:.2f}   {latency.count} samples"
    )
