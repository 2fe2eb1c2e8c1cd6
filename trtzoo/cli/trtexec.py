"""`trtzoo import`: trtexec's measurements as results."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.api.selection import select_batch
from trtzoo.benchmark.trtexec import read_profile, read_times
from trtzoo.cli import completion, options
from trtzoo.cli.application import command
from trtzoo.core.console import print_result
from trtzoo.core.errors import UsageError
from trtzoo.core.files import write_record
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import Case, Device, Result
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import find_gpu
from trtzoo.models.table import find_model


@command("import")
def import_command(
    times: Annotated[Path, typer.Argument(metavar="TIMES", help="The file of trtexec --exportTimes.")],
    model: Annotated[str, typer.Option(help="Name from `trtzoo models`.", autocompletion=completion.model)],
    gpu: Annotated[str, typer.Option(help="The GPU's name, such as t4.", autocompletion=completion.gpu)],
    precision: Annotated[str, typer.Option(help="fp32, tf32 or fp16.", autocompletion=completion.precision)],
    batch: Annotated[str, typer.Option(help="The batch size.")],
    release: Annotated[str, typer.Option("--tensorrt", help="The version of TensorRT, for example 10.13.2.")],
    profile: Annotated[Path | None, typer.Option(help="The file of trtexec --exportProfile.")] = None,
    results: options.Results = Path("benchmarks"),
) -> None:
    """Import a measurement by trtexec: its raw queries become a result file like any other; outputs are not checked.

    Example: trtzoo import times.json --model dpn131 --gpu t4 --precision fp16 --batch 4 --tensorrt 10.13.2
    """
    if not release[:1].isdigit():
        raise UsageError(f"--tensorrt {release!r} is not a version. Example: --tensorrt 10.13.2")
    row = find_gpu(gpu)
    device = Device(key=slug(row.names[0]), name=row.names[0], kind="gpu", driver="unknown")
    case = Case(
        model=find_model(model).name,
        precision=find_precision(precision).name,
        batch=select_batch(batch),
        runtime="trtexec",
        device=device.key,
        protocol="trtexec11" if int(release.split(".")[0]) >= 11 else "trtexec10",
    )
    result = Result(
        case=case,
        device=device,
        versions={"trtexec": release},
        started=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        samples=read_times(times),
        layers=read_profile(profile) if profile else (),
    )
    path = results / device.key / f"{case.name}.json"
    write_record(path, result)
    print_result(f"{path}  {len(result.samples)} queries, {len(result.layers)} layers")
