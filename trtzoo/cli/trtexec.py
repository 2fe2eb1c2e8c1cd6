"""`trtzoo import`, which reads what trtexec measured, and the trtexec commands that measure what `bench` would."""

import re
import shlex
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from trtzoo.api import selection
from trtzoo.benchmark import sweep, trtexec
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.cli import options
from trtzoo.cli.application import command
from trtzoo.core.console import print_result
from trtzoo.core.errors import UsageError
from trtzoo.core.files import write_record
from trtzoo.core.precisions import PRECISIONS, find_precision
from trtzoo.core.records import Case, Device, Result
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import GPUS, find_gpu
from trtzoo.models.table import find_model, zoo


@command("import")
def import_trtexec(
    times: Annotated[Path, Argument(metavar="TIMES", help="The file of trtexec --exportTimes.")],
    model: Annotated[str, Option(help="Name from `trtzoo models`.", autocompletion=options.one_of(zoo))],
    gpu: Annotated[str, Option(help="The GPU's name, such as t4.", autocompletion=options.one_of(GPUS))],
    precision: Annotated[str, Option(help=f"{', '.join(PRECISIONS)}.", autocompletion=options.one_of(PRECISIONS))],
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


def print_commands(cases: list[tuple[sweep.Subject, Case]], protocol: MeasurementProtocol) -> None:
    """Print the command for each case with TensorRT 10's trtexec and with 11's, or that trtexec cannot measure it."""
    for subject, case in cases:
        shape = (3, subject.identity.height, subject.identity.width)
        if not trtexec.can_measure(case, protocol):
            print_result(f"# {case.name}: trtexec has no equivalent")
            continue
        for release in (10, 11):
            print_result(shlex.join(trtexec.command_line(case, protocol, release=release, onnx=subject.artifact, io=shape)))
