"""`trtzoo bench`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from trtzoo import api
from trtzoo.api import artifacts, selection
from trtzoo.benchmark import sweep
from trtzoo.benchmark.protocols import PROTOCOLS, find_protocol, reported
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.cli import InterruptError, options
from trtzoo.cli.application import command, forward
from trtzoo.cli.lines import bench_line, print_line
from trtzoo.cli.trtexec import print_commands
from trtzoo.core.console import log, print_result
from trtzoo.core.errors import UsageError
from trtzoo.core.records import Result
from trtzoo.core.statistics import percentile
from trtzoo.runtimes.registry import AUTO, OFFERED


@command("bench")
def bench(
    models: options.Models = None,
    every: options.All = False,
    onnx: options.OnnxFiles = None,
    gpu: options.Gpu = "auto",
    device: options.GpuDevice = None,
    precision: options.OwnPrecisions = None,
    batch: options.OwnBatches = None,
    runtime: Annotated[
        str | None,
        Option(
            help="Comma list of runtimes (default: auto, the GPU's TensorRT; on a CPU the fastest in a trial).",
            autocompletion=options.list_of([AUTO, *OFFERED]),
        ),
    ] = None,
    threads: Annotated[
        int | None, Option(help="Number of threads of a CPU runtime (default: one for each core).", min=1)
    ] = None,
    protocol: Annotated[
        str,
        Option(help=f"Comma list of measurement protocols: {', '.join(PROTOCOLS)}.", autocompletion=options.list_of(PROTOCOLS)),
    ] = "trtzoo",
    seconds: Annotated[float | None, Option(help="Minimum sampling time in seconds (default: the protocol's).", min=0)] = None,
    runs: Annotated[
        int, Option(help="Number of runs of the whole sweep. Tables show the first; compare needs about five.", min=1)
    ] = 1,
    resume: Annotated[bool, Option("--resume", help="Keep existing good results and measure the rest.")] = False,
    form: options.LineFormat = "text",
    print_trtexec: Annotated[
        bool, Option("--print-trtexec", help="Print the equivalent trtexec commands and measure nothing.")
    ] = False,
    timeout: Annotated[
        float | None,
        Option(help=f"Time limit per case in seconds (default: {sweep.TIMEOUT:g} and twice the protocol's time).", min=1),
    ] = None,
    cuda_graph: Annotated[
        str | None,
        Option(help="CUDA graphs of engines: on, off, or both; on fails without a graph (default: the protocol's, or none)."),
    ] = None,
    wait: Annotated[
        str | None, Option(help="How the host waits for an engine: spin or block (default: the protocol's).")
    ] = None,
    flush_l2: Annotated[
        bool, Option("--flush-l2", help="Overwrite the GPU's L2 cache before each query of an engine, outside of its time.")
    ] = False,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> bool:
    """Measure latencies, one process per case, after checking each case's outputs.

    Examples: trtzoo bench --all --gpu cpu; trtzoo bench dpn68 dpn92 --batch 1; trtzoo bench --all --gpu t4;
    trtzoo bench --onnx my.onnx --gpu cpu
    """
    models, onnx = options.select(models, every), onnx or None
    if print_trtexec:
        ignored = {"--runtime": runtime, "--threads": threads, "--seconds": seconds, "--resume": resume, "--timeout": timeout}
        if given := [name for name, value in ignored.items() if value]:
            raise UsageError(f"--print-trtexec measures nothing: leave out {', '.join(given)}.")
        for name in selection.select_names(protocol, "--protocol"):
            row = find_protocol(name)
            sources, _ = artifacts.select_sources(models, onnx, precision, onnx_dir)
            subjects = [
                sweep.Subject(artifact=source.path, identity=source.identity, precision=source.precision, batch=size)
                for source, size in artifacts.pairs(sources, selection.select_batches(batch) if batch else None, (1, 4, 8))
            ]
            conditions = sweep.engine_conditions(row, cuda_graph, wait, flush_l2)
            print_commands(sweep.cases(subjects, protocol=row.name, runtime="trtexec", device="", conditions=conditions), row)
        return False
    arguments, shown = locals(), _Shown(form)
    try:
        records = forward(api.bench, arguments, on_result=shown.measured, on_kept=shown.kept)
    except KeyboardInterrupt:
        raise InterruptError(shown.interrupted(results)) from None
    failed = sum(record.failure is not None for record in records)
    if failed:
        kept = f"; the others are kept in {results / records[0].device.key}" if failed < len(records) else ""
        log.error("%d of %d cases failed%s.", failed, len(records), kept)
    return failed > 0


class _Shown:
    """Prints results as they come, and knows which came."""

    def __init__(self, form: str) -> None:
        self._form, self._notes, self._good = form, set[str](), list[Result]()

    def measured(self, result: Result) -> None:
        self._show(result, kept=False)

    def kept(self, result: Result) -> None:
        self._show(result, kept=True)

    def _show(self, result: Result, *, kept: bool) -> None:
        self._good += [] if result.failure else [result]
        if self._form == "json":
            print_line(bench_line(result, kept=kept))
            return
        name = case_text(result)
        print_result(f"{name:<33}  {_numbers(result)}{'  kept' if kept else ''}")
        if sentence := warning_sentence(result):
            print_result(f"    doubtful: {name}: {sentence}")
        for note in result.opening.notes if result.opening else ():
            if note not in self._notes:
                log.warning("    %s: TensorRT warns: %s", name, note)
                self._notes.add(note)

    def interrupted(self, results: Path) -> str:
        """What is kept after Ctrl-C."""
        if not self._good:
            return "Interrupted. No case was finished."
        count, folder = len(self._good), results / self._good[0].device.key
        kept = "1 good result is" if count == 1 else f"{count} good results are"
        return f"Interrupted. {kept} kept in {folder}. To measure the rest, run it again with --resume."


def case_text(result: Result) -> str:
    """Name a result's case: "densenet121 fp32 b4 onnxruntime"; the protocol only if it is not the usual one."""
    case = result.case
    usual = "" if case.protocol == "trtzoo" else case.protocol
    words = [result.subject.title, case.precision, f"b{case.batch}", case.runtime, usual, *case.conditions]
    return " ".join(filter(None, words))


def _numbers(result: Result) -> str:
    if result.failure:
        return f"failed: {result.failure.kind}: {result.failure.reason}"
    found = reported(result)
    seconds = (found.latency, found.low, found.high, percentile(found.samples, 0.99))
    latency, low, high, p99 = (1e3 * value for value in seconds)
    return f"{latency:8.2f} ms [{low:.2f}, {high:.2f}]  p99 {p99:.2f}  n={len(found.samples)}"
