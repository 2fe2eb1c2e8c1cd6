"""`trtzoo verdict`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from trtzoo import api
from trtzoo.api.judging import RUNS
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.cli import InterruptError, options
from trtzoo.cli.application import command, forward
from trtzoo.core.console import log
from trtzoo.core.errors import TrtzooError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.report.tables.formats import render
from trtzoo.report.tables.verdicts import tables
from trtzoo.report.verdict import DOES_NOT_PAY, Verdict, verdict_text

OTHERS = [name for name in PRECISIONS if name != "fp32"]


@command("verdict")
def verdict(
    models: options.Models = None,
    every: options.All = False,
    onnx: options.OwnFiles = None,
    precision: Annotated[
        str, Option(help=f"Comma list of {', '.join(OTHERS)}.", autocompletion=options.list_of(OTHERS))
    ] = "int8",
    data: Annotated[
        Path | None,
        Option(help="Photographs, with or without labels (default: none; then only the golden sample's logits are compared)."),
    ] = None,
    batch: Annotated[str | None, Option(help="Comma list of batch sizes (default: 1, or a file's only one).")] = None,
    gpu: options.Gpu = "auto",
    device: options.GpuDevice = None,
    runtime: options.Runtime = None,
    protocol: Annotated[
        str, Option(help=f"A measurement protocol: {', '.join(PROTOCOLS)}.", autocompletion=options.one_of(PROTOCOLS))
    ] = "trtzoo",
    seconds: Annotated[
        float | None, Option(help="Minimum sampling time of a run in seconds (default: the protocol's).", min=0)
    ] = None,
    runs: Annotated[int, Option(help="Number of runs of each file, back and forth.", min=2)] = RUNS,
    limit: Annotated[int | None, Option(help="Use at most this many images.", min=1)] = None,
    classes: options.ClassFile = None,
    labels: options.Labels = None,
    gate: Annotated[bool, Option("--gate", help="Exit with 1 if a precision is proven not to pay.")] = False,
    form: options.Format = "rich",
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    results: options.Results = Path("benchmarks"),
) -> bool:
    """Say whether a precision pays beside FP32 of the same network: is it faster, and does its accuracy hold?

    PAYS and DOES NOT PAY are proven; UNCLEAR says what is missing. None is an error. Both files are measured in turns by one
    runtime: the GPU's TensorRT, or on a CPU the fastest for FP32 in a trial. Tables and page show the verdicts.

    Examples: trtzoo verdict dpn68 --precision int8,fp16 --data photographs; trtzoo verdict dpn68 --batch 1,8 --gpu t4
    """
    models, onnx = options.select(models, every), onnx or None
    arguments, failed = locals(), []

    def show(name: str, error: TrtzooError) -> None:
        failed.append(name)
        log.error("%s: no verdict: %s", name, error)

    try:
        found = forward(api.verdict, arguments, on_result=_log, on_error=show)
    except KeyboardInterrupt:
        raise InterruptError("Interrupted. Finished runs and verdicts are kept.") from None
    if found:
        print(render(tables(found), form), end="")
    against = [made.title for made in found if made.word == DOES_NOT_PAY]
    if gate and against:
        log.error("%d of %d verdicts: does not pay: %s.", len(against), len(found), ", ".join(against))
    return bool(failed or (gate and against))


def _log(made: Verdict) -> None:
    log.info("%s: %s", made.title, verdict_text(made))
