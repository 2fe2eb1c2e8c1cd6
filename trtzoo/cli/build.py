"""`trtzoo build`."""

from pathlib import Path
from typing import Annotated

import typer

from trtzoo.api import build
from trtzoo.builder.plan import TIMEOUT, WORKSPACE, BuildResult
from trtzoo.cli import completion, options
from trtzoo.cli.application import command
from trtzoo.core.console import log, print_result
from trtzoo.hardware.gpus import GPUS


@command("build")
def build_command(
    names: options.Models = None,
    every: options.All = False,
    precision: options.Precisions = "fp32",
    batch: Annotated[
        str | None,
        typer.Option(help="Comma list of batch sizes, one engine each (default: 1,4,8; 1 with --onnx).", show_default=False),
    ] = None,
    gpu: Annotated[
        str,
        typer.Option(
            help=f"auto (the GPU of this machine, else t4), {', '.join(GPUS)}.",
            autocompletion=completion.gpu,
        ),
    ] = "auto",
    flavour: Annotated[str, typer.Option(help="auto, tensorrt (for this machine's GPU), or rtx (ahead of time).")] = "auto",
    onnx: Annotated[Path | None, typer.Option(help="Build any classifier's ONNX file instead of models.")] = None,
    jobs: Annotated[
        int | None, typer.Option(help="Number of parallel builds (default: one per core, or one on a GPU).", min=0)
    ] = None,
    workspace: Annotated[int, typer.Option(help="Scratch memory for kernels in MiB.", min=1)] = WORKSPACE >> 20,
    detailed: Annotated[bool, typer.Option("--detailed", help="Keep layer details in the engine for profilers.")] = False,
    timeout: Annotated[float, typer.Option(help="Time limit per build in seconds.", min=0.1)] = TIMEOUT,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    force: Annotated[bool, typer.Option("--force", help="Rebuild even if up to date.")] = False,
) -> None:
    """Build TensorRT engines: for this machine's NVIDIA GPU, or ahead of time with TensorRT-RTX on any machine.

    Examples: trtzoo build --precision fp16; trtzoo build dpn131 --batch 1 --gpu rtx4090; trtzoo build --onnx my.onnx --batch 8
    """
    records = build(
        options.select(names, every, onnx),
        onnx=onnx,
        precision=precision,
        batch=batch,
        gpu=gpu,
        flavour=flavour,
        jobs=jobs,
        workspace=workspace,
        detailed=detailed,
        timeout=timeout,
        onnx_dir=onnx_dir,
        engines_dir=engines_dir,
        force=force,
        on_result=_print,
    )
    if any(record.error for record in records):
        raise typer.Exit(1)


def _print(record: BuildResult) -> None:
    if record.error:
        log.error("%s: %s", record.path, record.error)
    elif record.up_to_date:
        print_result(f"{record.path}  up to date")
    elif record.sidecar:
        layers = record.sidecar.layers
        types = sorted(layers.types, key=lambda name: -layers.types[name])
        shares = ", ".join(f"{name} {layers.share(name):.1%}" for name in types)
        size, memory = record.sidecar.bytes / 2**20, record.sidecar.peak_memory / 2**20
        print_result(f"{record.path}  {size:.0f} MiB  layers {shares}  {record.seconds:.1f} s  peak {memory:.0f} MiB")
