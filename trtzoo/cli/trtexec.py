"""`trtzoo import`: what trtexec measured, as results."""

from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import typer

from trtzoo.benchmark.trtexec import read_profile, read_times
from trtzoo.cli import completion
from trtzoo.cli.common import Results, app, batches, one, say
from trtzoo.core.errors import UsageError
from trtzoo.core.files import write_record
from trtzoo.core.precisions import find_precision
from trtzoo.core.records import Case, Device, Result
from trtzoo.hardware.devices import slug
from trtzoo.hardware.gpus import find_gpu
from trtzoo.models.table import find_model


@app.command("import")
def import_command(
    times: Annotated[Path, typer.Argument(metavar="TIMES", help="The file of trtexec --exportTimes.")],
    model: Annotated[str, typer.Option(help="Which of the ten models it was.", autocompletion=completion.model)],
    gpu: Annotated[str, typer.Option("--gpu", help="Which GPU it was.", autocompletion=completion.gpu)],
    kind: Annotated[str, typer.Option("--precision", help="fp32, tf32 or fp16.", autocompletion=completion.precision)],
    batch: Annotated[str, typer.Option(help="The batch size.")],
    release: Annotated[str, typer.Option("--tensorrt", help="The version of TensorRT it was, for example 10.13.2.")],
    profile: Annotated[Path | None, typer.Option(help="The file of trtexec --exportProfile.")] = None,
    results: Results = Path("benchmarks"),
) -> None:
    """Take over what trtexec measured: its raw queries become a result file like any other, outputs not checked.

    Example: trtzoo import times.json --model dpn131 --gpu t4 --precision fp16 --batch 4 --tensorrt 10.13.2
    """
    if not release[:1].isdigit():
        raise UsageError(f"--tensorrt {release!r} is not a version. Example: --tensorrt 10.13.2")
    row = find_gpu(gpu)
    device = Device(key=slug(row.names[0]), name=row.names[0], kind="gpu", driver="unknown")
    case = Case(
        model=find_model(model).name,
        precision=find_precision(kind).name,
        batch=one(batches(batch), "--batch"),
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
    say(f"{path}  {len(result.samples)} queries, {len(result.layers)} layers")
