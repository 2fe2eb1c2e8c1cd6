"""`trtzoo bench`, and `trtzoo import`, which reads what trtexec measured."""

import re
import shlex
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from trtzoo import api
from trtzoo.api import artifacts, selection
from trtzoo.benchmark import sweep, trtexec
from trtzoo.benchmark.protocols import PROTOCOLS, MeasurementProtocol, find_protocol, reported
from trtzoo.benchmark.warnings import warning_sentence
from trtzoo.cli import options
from trtzoo.cli.application import command, forward
from trtzoo.core.console import log, print_result
from trtzoo.core.errors import UsageError
from trtzoo.core.files import write_record
from trtzoo.core.precisions import PRECISIONS, find_precision
from trtzoo.core.records import Case, Device, Result
from trtzoo.core.statistics import percentile
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import GPUS, find_gpu
from trtzoo.models.table import find_model, zoo


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
            help="The runtime that executes the networks (default: auto, the GPU's TensorRT; on a CPU the fastest in a trial).",
            autocompletion=options.runtime_names,
        ),
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
        for name in selection.select_names(protocol, "--protocol"):
            row = find_protocol(name)
            sources, _ = artifacts.select_sources(models, onnx, precision, onnx_dir)
            subjects = [
                sweep.Subject(artifact=source.path, identity=source.identity, precision=source.precision, batch=size)
                for source, size in artifacts.pairs(sources, selection.select_batches(batch) if batch else None, (1, 4, 8))
            ]
            conditions = sweep.engine_conditions(row, cuda_graph, wait, flush_l2)
            _print_trtexec(sweep.cases(subjects, protocol=row.name, runtime="trtexec", device="", conditions=conditions), row)
        return False
    records = forward(api.bench, locals(), on_result=partial(_print, set()))
    failed = sum(record.failure is not None for record in records)
    if failed:
        folder = results / records[0].device.key
        log.error("%d of %d cases failed; the others are kept in %s.", failed, len(records), folder)
    return failed > 0


def _print(noted: set[str], result: Result) -> None:
    """Print a result, its warnings, and those notes of TensorRT that are not in `noted` yet."""
    case = result.case
    head = f"{result.subject.title:<12} {case.precision}  batch {case.batch:<3}"
    if result.failure:
        print_result(f"{head} failed: {result.failure.kind}: {result.failure.reason}")
    else:
        found = reported(result)
        print_result(
            f"{head} {case.protocol:<10} {found.latency * 1e3:9.2f} ms   {found.statistic} in [{found.low * 1e3:.2f}, "
            f"{found.high * 1e3:.2f}]   p99 {percentile(found.samples, 0.99) * 1e3:.2f}   {len(found.samples)} samples"
        )
    if sentence := warning_sentence(result):
        log.warning("    %s", sentence)
    for note in result.opening.notes if result.opening else ():
        if note not in noted:
            log.warning("    TensorRT warns: %s", note)
            noted.add(note)


def _print_trtexec(cases: list[tuple[sweep.Subject, Case]], protocol: MeasurementProtocol) -> None:
    """Print the command for each case with TensorRT 10's trtexec and with 11's, or that trtexec cannot measure it."""
    for subject, case in cases:
        shape = (3, subject.identity.height, subject.identity.width)
        if not trtexec.can_measure(case, protocol):
            print_result(f"# {case.name}: trtexec has no equivalent")
            continue
        for release in (10, 11):
            print_result(shlex.join(trtexec.command_line(case, protocol, release=release, onnx=subject.artifact, io=shape)))


@command("import")
def import_trtexec(
    times: Annotated[Path, Argument(metavar="TIMES", help="The file of trtexec --exportTimes.")],
    model: Annotated[str, Option(help="Name from `trtzoo models`.", autocompletion=options.one_of(zoo))],
    gpu: Annotated[str, Option(help="The GPU's name, such as t4.", autocompletion=options.one_of(["auto", *GPUS]))],
    precision: Annotated[str, Option(help="fp32, tf32 or fp16.", autocompletion=options.one_of(PRECISIONS))],
    batch: Annotated[str, Option(help="The batch size.")],
    release: Annotated[str, Option("--tensorrt", help="The version of TensorRT, for example 10.13.2.")],
    profile: Annotated[Path | None, Option(help="The file of trtexec --exportProfile.")] = None,
    results: options.Results = Path("benchmarks"),
) -> None:
    """Import a measurement by trtexec: its raw queries become a result file like any other; outputs are not checked.

    Example: trtzoo import times.json --model dpn131 --gpu t4 --precision fp16 --batch 4 --tensorrt 10.13.2
    """
    if not (version := re.fullmatch(r"([0-9]{1,3})\.([0-9]{1,4})[0-9a-z.+-]{0,40}", release)):
        raise UsageError(f"--tensorrt {release!r} is not a version. Example: --tensorrt 10.13.2")
    major, minor = map(int, version.groups())
    name = find_gpu(gpu).names[0]
    device = Device(key=slug(name), name=name, kind="gpu", driver="unknown")
    case = Case(
        model=find_model(model).name,
        precision=find_precision(precision).name,
        batch=selection.select_batch(batch),
        runtime="trtexec",
        device=device.key,
        protocol="trtexec11" if major >= 11 else "trtexec10",
    )
    result = Result(
        case=case,
        device=device,
        versions={"trtexec": release},
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        samples=trtexec.read_times(times, release=(major, minor)),
        layers=trtexec.read_profile(profile) if profile else (),
    )
    path = results / device.key / f"{case.name}.json"
    write_record(path, result)
    print_result(f"{path}  {len(result.samples)} queries, {len(result.layers)} layers")
