"""`trtzoo build`."""

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from trtzoo.builder.plan import (
    TIMEOUT,
    WORKSPACE,
    BuildOrder,
    BuildResult,
    BuildSettings,
    Target,
    build,
    build_orders,
    check_names,
    check_space,
    choose_target,
    default_jobs,
    pluralize,
)
from trtzoo.cli import completion
from trtzoo.cli.common import All, Models, OnnxFolder, Precisions, app, batches, precisions, rows, say, talk
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import size_text
from trtzoo.core.precisions import PRECISIONS, check_tf32
from trtzoo.hardware import probes
from trtzoo.hardware.gpus import GPUS


@app.command("build")
def build_command(
    names: Models = None,
    every: All = False,
    precision_list: Precisions = "fp32",
    batch_list: Annotated[
        str | None, typer.Option("--batch", help="Comma list of sizes, an engine each. Default: 1,4,8; with --onnx 1.")
    ] = None,
    gpu: Annotated[
        str, typer.Option(help=f"auto (the GPU here, else t4), {', '.join(GPUS)}.", autocompletion=completion.gpu)
    ] = "auto",
    flavour: Annotated[str, typer.Option(help="auto, tensorrt (for the GPU here), or rtx (ahead of time).")] = "auto",
    onnx: Annotated[Path | None, typer.Option("--onnx", help="Any classifier's ONNX file instead of models.")] = None,
    jobs: Annotated[int, typer.Option(help="Builds at once; 0: one a core, or one where a GPU is timed.", min=0)] = 0,
    workspace: Annotated[int, typer.Option(help="Scratch memory that kernels may use, MiB.", min=1)] = WORKSPACE >> 20,
    detailed: Annotated[bool, typer.Option("--detailed", help="Keep layers' details in the engine, for profilers.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds after which a build is given up.", min=0.1)] = TIMEOUT,
    onnx_folder: OnnxFolder = Path("onnx"),
    folder: Annotated[Path, typer.Option("--engines-dir", help="Where engines go.")] = Path("engines"),
    force: Annotated[bool, typer.Option("--force", help="Make engines that are up to date, too.")] = False,
) -> None:
    """Build TensorRT engines: on an NVIDIA GPU for that GPU, anywhere else ahead of time with TensorRT-RTX.

    Examples: trtzoo build --precision fp16; trtzoo build dpn131 --batch 1 --gpu rtx4090; trtzoo build --onnx my.onnx --batch 8
    """
    kinds, sizes = precisions(precision_list), batches(batch_list or ("1" if onnx else "1,4,8"))
    todo = _foreign(onnx, kinds, sizes, names, every) if onnx else None
    models = [] if onnx else [row.name for row in rows(names, every)]
    check_names(gpu, flavour)
    aim = choose_target(gpu, flavour, probes.run_probes("cuda", "tensorrt", "tensorrt_rtx"))
    check_tf32(kinds, aim.gpu.title, aim.gpu.sm)
    todo = todo or build_orders(models, kinds, sizes, onnx_folder)
    settings = BuildSettings(
        workspace=workspace << 20,
        detailed=detailed,
        force=force,
        jobs=min(jobs or default_jobs(aim), len(todo)),
        timeout=timeout,
    )
    needed = check_space(todo, aim, folder, force=force)
    talk.print(_plan(todo, aim, needed, settings), markup=False)
    if any(done.error for done in _follow(todo, aim, folder, settings)):
        raise typer.Exit(1)


def _foreign(onnx: Path, kinds: list[str], sizes: list[int], names: list[str] | None, every: bool) -> list[BuildOrder]:
    """Orders for a file that is not ours; its name, less the precision, becomes the engine's."""
    if names or every:
        raise UsageError("Say either model names or --onnx FILE.")
    if not onnx.is_file():
        raise StoreError(f"There is no {onnx}.")
    return [
        BuildOrder(name=onnx.stem.replace(f"-{PRECISIONS[kind].graph}", "", 1), onnx=onnx, precision=kind, batch=size)
        for kind in kinds
        for size in sizes
    ]


def _plan(todo: list[BuildOrder], aim: Target, needed: int, settings: BuildSettings) -> str:
    what = f"{pluralize(len(todo), 'engine')} for {aim.gpu.title} (SM{aim.gpu.sm})"
    how = "for the GPU here" if aim.flavour.name == "tensorrt" else "ahead of time"
    space = f", about {size_text(needed)} to be written" if needed else ""
    return f"{what}, {how} by {aim.flavour.title} {aim.version}, {settings.jobs} at once{space}"


def _follow(todo: list[BuildOrder], aim: Target, folder: Path, settings: BuildSettings) -> list[BuildResult]:
    """Build, with a bar for the whole and one for each build that runs, and a line on stdout for each that ends."""
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    outcomes = []
    with Progress(*columns, console=talk, transient=True, redirect_stdout=False) as bars:
        whole = bars.add_task("engines", total=len(todo))
        running: dict[str, TaskID] = {}

        def watch(order: BuildOrder, phase: str, done: float) -> None:
            name = order.file_name
            if name not in running:
                running[name] = bars.add_task(name, total=100)
            bars.update(running[name], completed=round(100 * done), description=f"{name}  {phase.lower()}")

        with closing(build(todo, aim, folder, settings, watch)) as stream:
            for done in stream:
                if done.order.file_name in running:
                    bars.remove_task(running.pop(done.order.file_name))
                bars.advance(whole)
                _report(done)
                outcomes.append(done)
    return outcomes


def _report(done: BuildResult) -> None:
    if done.error:
        talk.print(f"{done.path}: {done.error}", style="red", markup=False)
    elif done.up_to_date:
        say(f"{done.path}  up to date")
    elif done.sidecar:
        types = done.sidecar.layers.types
        shares = ", ".join(
            f"{kind} {done.sidecar.layers.share(kind):.1%}" for kind in sorted(types, key=lambda kind: -types[kind])
        )
        memory = done.sidecar.peak_memory / 2**20
        say(f"{done.path}  {done.sidecar.bytes / 2**20:.0f} MiB  layers {shares}  {done.seconds:.1f} s  peak {memory:.0f} MiB")
