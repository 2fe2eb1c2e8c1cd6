"""`trtzoo bench`, and `trtzoo import`, which reads what trtexec measured."""

import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from trtzoo import api
from trtzoo.api import selection
from trtzoo.benchmark import sweep, trtexec
from trtzoo.benchmark.protocols import PROTOCOLS, find_protocol, reported
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
from trtzoo.models.table import MODELS, find_model


@command("bench")
def bench(
    models: options.Models = None,
    every: options.All = False,
    gpu: options.Gpu = "auto",
    device: options.GpuDevice = None,
    precision: options.Precisions = "fp32",
    batch: options.Batches = "1,4,8",
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
    timeout: Annotated[float, Option(help="Time limit per case in seconds.", min=1)] = sweep.TIMEOUT,
    cuda_graph: Annotated[str | None, Option(help="CUDA graphs: on, off, or both (default: the protocol's).")] = None,
    rotate: Annotated[bool, Option("--rotate", help="On a GPU, cycle through inputs that exceed its L2 cache.")] = False,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> bool:
    """Measure latencies, one process per case, after checking each case's outputs.

    Examples: trtzoo bench --all --gpu cpu; trtzoo bench dpn68 dpn92 --batch 1; trtzoo bench --all --gpu t4
    """
    models = options.select(models, every)
    if print_trtexec:
        _print_trtexec(models, precision, batch, protocol, onnx_dir)
        return False
    records = forward(api.bench, locals(), on_result=_print)
    failed = sum(record.failure is not None for record in records)
    if failed:
        folder = results / records[0].device.key
        log.error("%d of %d cases failed; the others are kept in %s.", failed, len(records), folder)
    return failed > 0


def _print(result: Result) -> None:
    case = result.case
    head = f"{case.model:<12} {case.precision}  batch {case.batch:<3}"
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


def _print_trtexec(models: list[str] | None, precision: str, batch: str, protocol: str, onnx: Path) -> None:
    """Print the command for each case with TensorRT 10's trtexec, and with 11's if that can measure the same."""
    for case in sweep.cases(
        model=selection.select_models(models),
        precision=selection.select_precisions(precision),
        batch=selection.select_batches(batch),
        protocol=[find_protocol(name).name for name in selection.select_names(protocol, "--protocol")],
        runtime="trtexec",
        device="",
    ):
        measured, path = PROTOCOLS[case.protocol], onnx / f"{case.model}-{PRECISIONS[case.precision].graph}.onnx"
        for release in (10, 11):
            words = trtexec.command_line(case, measured, release=release, onnx=path, io=(3, 224, 224))
            print_result(shlex.join(words) or f"# {case.name}: trtexec {release} has no equivalent of protocol {measured.name}")


@command("import")
def import_trtexec(
    times: Annotated[Path, Argument(metavar="TIMES", help="The file of trtexec --exportTimes.")],
    model: Annotated[str, Option(help="Name from `trtzoo models`.", autocompletion=options.one_of(MODELS))],
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
    if not release[:1].isdigit():
        raise UsageError(f"--tensorrt {release!r} is not a version. Example: --tensorrt 10.13.2")
    name = find_gpu(gpu).names[0]
    device = Device(key=slug(name), name=name, kind="gpu", driver="unknown")
    case = Case(
        model=find_model(model).name,
        precision=find_precision(precision).name,
        batch=selection.select_batch(batch),
        runtime="trtexec",
        device=device.key,
        protocol="trtexec11" if int(release.split(".")[0]) >= 11 else "trtexec10",
    )
    result = Result(
        case=case,
        device=device,
        versions={"trtexec": release},
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        samples=trtexec.read_times(times),
        layers=trtexec.read_profile(profile) if profile else (),
    )
    path = results / device.key / f"{case.name}.json"
    write_record(path, result)
    print_result(f"{path}  {len(result.samples)} queries, {len(result.layers)} layers")
