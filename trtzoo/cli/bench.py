"""`trtzoo bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from trtzoo import machine, protocols, runtimes
from trtzoo.bench import TIMEOUT, bench, cases, jobs
from trtzoo.cli.common import (
    All,
    Batches,
    Models,
    OnnxFolder,
    Precisions,
    Results,
    app,
    batches,
    items,
    precisions,
    rows,
    say,
    talk,
)
from trtzoo.errors import MachineError, UsageError
from trtzoo.noise import doubt
from trtzoo.protocols import PROTOCOLS, headline
from trtzoo.runtimes import RUNTIMES
from trtzoo.spec import Device, Result, need
from trtzoo.stats import interval, summarise


@app.command("bench")
def bench_command(
    names: Models = None,
    every: All = False,
    gpu: Annotated[
        str, typer.Option("--gpu", help="cpu, a GPU's name such as t4, or auto: the first GPU, else the CPU.")
    ] = "auto",
    precision_list: Precisions = "fp32",
    batch: Batches = "1,4,8",
    runtime: Annotated[str | None, typer.Option(help="What runs the networks. Default: the device's own.")] = None,
    protocol: Annotated[str, typer.Option(help=f"How a number is taken; a comma list of {', '.join(PROTOCOLS)}.")] = "trtzoo",
    seconds: Annotated[float, typer.Option(help="Sample for at least so long.", min=0)] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Keep good results that are there and measure the rest.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds after which a case is given up.", min=1)] = TIMEOUT,
    artifacts: OnnxFolder = Path("onnx"),
    results: Results = Path("benchmarks"),
) -> None:
    """Measure latencies, one process a case, after checking each case's outputs.

    Examples: trtzoo bench --all --gpu cpu; trtzoo bench dpn68 dpn92 --batch 1; trtzoo bench --all --gpu t4
    """
    models, kinds, sizes = rows(names, every), precisions(precision_list), batches(batch)
    device = machine.choose(gpu)
    how = runtimes.find(runtime).name if runtime else _default_runtime(device)
    if RUNTIMES[how].device != device.kind:
        raise UsageError(f"The runtime {how} does not run on {device.name}.")
    need(how, module=RUNTIMES[how].module, extra=RUNTIMES[how].extra)
    ways = [protocols.find(name) for name in items(protocol, "--protocol")]
    for way in ways:
        need(way.name, module=way.module, extra=way.extra)
    todo = cases(
        [model.name for model in models],
        kinds,
        sizes,
        runtime=how,
        device=device.key,
        protocols=[way.name for way in ways],
    )
    work = jobs(todo, device, artifacts, seconds=seconds)
    failed = 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False) as progress:
        task = progress.add_task(f"measuring on {device.name}", total=len(todo))
        for result in bench(work, results, timeout=timeout, resume=resume):
            failed += result.failure is not None
            say(_line(result))
            if sentence := doubt(result):
                talk.print(f"    {sentence}", style="yellow", markup=False)
            progress.advance(task)
    if failed:
        talk.print(f"{failed} of {len(todo)} cases failed; the others are kept in {results / device.key}.", style="red")
        raise typer.Exit(1)


def _default_runtime(device: Device) -> str:
    for row in RUNTIMES.values():
        if row.device == device.kind:
            return row.name
    raise MachineError(f"This version measures processors only, and {device.name} is a GPU. Run: trtzoo bench --gpu cpu")


def _line(result: Result) -> str:
    case = result.case
    head = f"{case.model:<12} {case.precision}  batch {case.batch:<3}"
    if result.failure:
        return f"{head} failed: {result.failure.kind}: {result.failure.reason}"
    totals = [sample.total for sample in result.samples]
    latency, known = summarise(totals), interval(totals)
    return (
        f"{head} {case.protocol:<10} {headline(result) * 1e3:9.2f} ms   median in [{known.low * 1e3:.2f}, "
        f"{known.high * 1e3:.2f}]   p99 {latency.p99 * 1e3:.2f}   {latency.count} samples"
    )
