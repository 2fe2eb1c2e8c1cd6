"""`trtzoo bench`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.api import bench
from trtzoo.api.selection import select_batches, select_models, select_names, select_precisions
from trtzoo.benchmark.protocols import PROTOCOLS, find_protocol, reported_latency
from trtzoo.benchmark.sweep import TIMEOUT, cases
from trtzoo.benchmark.trtexec import command_line
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.cli import completion, options
from trtzoo.cli.application import command
from trtzoo.core.console import log, print_result
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import Case, Result
from trtzoo.core.statistics import interval, summarise


@command("bench")
def bench_command(
    names: options.Models = None,
    every: options.All = False,
    gpu: options.Gpu = "auto",
    precision: options.Precisions = "fp32",
    batch: options.Batches = "1,4,8",
    runtime: Annotated[
        str | None,
        typer.Option(
            help="The runtime that executes the networks (default: auto, the GPU's TensorRT; on a CPU the fastest in a trial).",
            autocompletion=completion.runtime,
        ),
    ] = None,
    protocol: Annotated[
        str,
        typer.Option(help=f"Comma list of measurement protocols: {', '.join(PROTOCOLS)}.", autocompletion=completion.protocols),
    ] = "trtzoo",
    seconds: Annotated[
        float | None, typer.Option(help="Minimum sampling time in seconds (default: the protocol's).", min=0)
    ] = None,
    runs: Annotated[
        int, typer.Option(help="Number of runs of the whole sweep. Tables show the first; compare needs about five.", min=1)
    ] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Keep existing good results and measure the rest.")] = False,
    print_trtexec: Annotated[
        bool, typer.Option("--print-trtexec", help="Print the equivalent trtexec commands and measure nothing.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Time limit per case in seconds.", min=1)] = TIMEOUT,
    cuda_graph: Annotated[str | None, typer.Option(help="CUDA graphs: on, off, or both (default: the protocol's).")] = None,
    rotate: Annotated[bool, typer.Option("--rotate", help="On a GPU, cycle through inputs that exceed its L2 cache.")] = False,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> None:
    """Measure latencies, one process per case, after checking each case's outputs.

    Examples: trtzoo bench --all --gpu cpu; trtzoo bench dpn68 dpn92 --batch 1; trtzoo bench --all --gpu t4
    """
    models = options.select(names, every)
    if print_trtexec:
        _print_trtexec(models, precision, batch, protocol, onnx_dir)
        return
    records = bench(
        models,
        gpu=gpu,
        precision=precision,
        batch=batch,
        runtime=runtime,
        protocol=protocol,
        seconds=seconds,
        runs=runs,
        resume=resume,
        timeout=timeout,
        cuda_graph=cuda_graph,
        rotate=rotate,
        onnx_dir=onnx_dir,
        engines_dir=engines_dir,
        results=results,
        on_result=_print,
    )
    if failed := sum(record.failure is not None for record in records):
        folder = results / records[0].device.key
        log.error("%d of %d cases failed; the others are kept in %s.", failed, len(records), folder)
        raise typer.Exit(1)


def _print(result: Result) -> None:
    print_result(_line(result))
    if sentence := warning_sentence(result):
        log.warning("    %s", sentence)


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


def _print_trtexec(models: list[str] | None, precision: str, batch: str, protocol: str, onnx: Path) -> None:
    """Print the command for each case with TensorRT 10's trtexec, and with 11's if that can measure the same."""
    grid: list[Case] = cases(
        models=select_models(models),
        precisions=select_precisions(precision),
        batches=select_batches(batch),
        protocols=[find_protocol(name).name for name in select_names(protocol, "--protocol")],
        runtime="trtexec",
        device="",
        cuda_graphs=[None],
    )
    for case in grid:
        measured, graph = find_protocol(case.protocol), find_precision(case.precision).graph
        path = onnx / f"{case.model}-{graph}.onnx"
        for release in (10, 11):
            words = command_line(case, measured, release=release, onnx=path, io=(3, 224, 224))
            print_result(shlex.join(words) or f"# {case.name}: trtexec {release} has no equivalent of protocol {measured.name}")
