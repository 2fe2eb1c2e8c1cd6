"""`trtzoo export` and `trtzoo build`."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from typer import Option

from trtzoo import api
from trtzoo.artifacts.engines import EngineSidecar
from trtzoo.artifacts.graphs import CALIBRATION_METHODS, DEFAULT_METHOD
from trtzoo.builder.options import OPTIONS
from trtzoo.builder.plan import TIMEOUT, WORKSPACE, BuildResult
from trtzoo.cli import options
from trtzoo.cli.application import command, forward
from trtzoo.cli.lines import file_line, print_line
from trtzoo.core.console import log, print_result
from trtzoo.exporter.plan import ExportResult
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.preprocessing import NAMED
from trtzoo.models.sources import PUBLISHERS, SEEDED

TARGETS = [row.name for row in GPUS.values() if not row.unsupported]


def _builder_option(name: str, text: str) -> Any:
    row = OPTIONS[name]
    return Option(help=f"{text}, trtexec's {row.trtexec} (default: TensorRT's).", min=row.smallest, max=row.largest)


@command("export")
def export(
    models: options.Models = None,
    every: options.All = False,
    onnx: options.OwnFiles = None,
    weights: Annotated[
        str | None,
        Option(
            help=f"{', '.join(PUBLISHERS)}, seeded, or a .pdparams, .pth, .pt, .bin, .ckpt or .safetensors file "
            "(default: paddle's or timm's, or seeded ones if they cannot be downloaded).",
            autocompletion=options.one_of([*PUBLISHERS, "seeded"]),
        ),
    ] = None,
    preprocessing: Annotated[
        str | None,
        Option(
            help="How photographs are prepared for your own weights or files: imagenet, timm, or a .toml file "
            "(default: imagenet; with --weights FILE that of the publisher whose format it has).",
            autocompletion=options.one_of(NAMED),
        ),
    ] = None,
    precision: options.OwnPrecisions = None,
    batch: Annotated[str, Option(help="dynamic, or one fixed batch size.")] = "dynamic",
    opset: Annotated[int, Option(help="ONNX opset.", min=13, max=25)] = 17,
    io: Annotated[str | None, Option(help="Input and output type of an FP16 graph: fp32 or fp16 (default: fp32).")] = None,
    classes: Annotated[
        int | None, Option(help="Number of classes (default: your own checkpoint's, or the network's).", min=2)
    ] = None,
    input_size: Annotated[
        int | None, Option(help="Height and width of the images (default: the network's, usually 224).", min=32)
    ] = None,
    entry: Annotated[
        str | None,
        Option(help="The part of your own checkpoint with the weights, such as state_dict (default: moving averages first)."),
    ] = None,
    form: options.LineFormat = "text",
    name: Annotated[
        str | None, Option(help="Another name for the file of one model, to keep an export with other weights.")
    ] = None,
    calibration: Annotated[
        Path | None, Option(help="For INT8: photographs that set the scales, such as some of the training set.", metavar="DIR")
    ] = None,
    images: Annotated[
        int | None, Option(help="Use at most this many of them, spread over all classes (default: 512).", min=1)
    ] = None,
    method: Annotated[
        str | None,
        Option(
            help=f"How ranges of activations become scales: {', '.join(CALIBRATION_METHODS)} (default: {DEFAULT_METHOD}).",
            autocompletion=options.one_of(CALIBRATION_METHODS),
        ),
    ] = None,
    keep_fp16: Annotated[
        str | None,
        Option(
            help="Blocks that stay in floating point: names, or auto, the fewest with which the calibration images "
            "keep to parity's policy.",
            metavar="auto|BLOCKS",
        ),
    ] = None,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    force: Annotated[bool, Option("--force", help="Re-export even if up to date.")] = False,
) -> bool:
    """Export networks to ONNX files, each checked against float64 before it is written; or adopt your own ONNX files so.

    Examples: trtzoo export dpn131; trtzoo export --all --precision fp32,fp16; trtzoo export densenet121 --weights my.pth;
    trtzoo export dpn68 --precision int8 --calibration photographs; trtzoo export --onnx my.onnx --precision fp32,fp16;
    trtzoo export timm:resnet50 --precision fp32,fp16
    """
    models, onnx = options.select(models, every), onnx or None
    return any(record.error for record in forward(api.export, locals(), on_result=partial(_print, form)))


@command("build")
def build(
    models: options.Models = None,
    every: options.All = False,
    precision: options.OwnPrecisions = None,
    batch: Annotated[
        str | None,
        Option(help="Comma list of batch sizes, one engine each (default: 1,4,8; 1 with --onnx).", show_default=False),
    ] = None,
    gpu: Annotated[
        str,
        Option(
            help=f"auto (the GPU of this machine, else t4), {', '.join(TARGETS)}.",
            autocompletion=options.one_of(["auto", *TARGETS]),
        ),
    ] = "auto",
    device: options.GpuDevice = None,
    flavour: Annotated[str, Option(help="auto, tensorrt (for this machine's GPU), or rtx (ahead of time).")] = "auto",
    onnx: options.OnnxFiles = None,
    jobs: Annotated[
        int | None, Option(help="Number of parallel builds (default: one per core, or one on a GPU).", min=0)
    ] = None,
    workspace: Annotated[int, Option(help="Scratch memory for kernels in MiB.", min=1)] = WORKSPACE >> 20,
    detailed: Annotated[bool, Option("--detailed", help="Keep layer details in the engine for profilers.")] = False,
    opt_level: Annotated[int | None, _builder_option("opt_level", "Optimisation level")] = None,
    timing_iterations: Annotated[
        int | None, _builder_option("timing_iterations", "Timings per kernel that are averaged")
    ] = None,
    aux_streams: Annotated[int | None, _builder_option("aux_streams", "Largest number of auxiliary streams")] = None,
    tiling: Annotated[int | None, _builder_option("tiling", "Tiling optimisation level")] = None,
    dump_layers: Annotated[
        bool, Option("--dump-layers", help="Write the engine inspector's JSON beside the engine (implies --detailed).")
    ] = False,
    form: options.LineFormat = "text",
    timeout: Annotated[float, Option(help="Time limit per build in seconds.", min=0.1)] = TIMEOUT,
    onnx_dir: options.OnnxFolder = Path("onnx"),
    engines_dir: options.EnginesFolder = Path("engines"),
    force: Annotated[bool, Option("--force", help="Rebuild even if up to date.")] = False,
) -> bool:
    """Build TensorRT engines: for this machine's NVIDIA GPU, or ahead of time with TensorRT-RTX on any machine.

    Examples: trtzoo build --precision fp16; trtzoo build dpn131 --batch 1 --gpu rtx4090; trtzoo build --onnx my.onnx --batch 8
    """
    models, onnx = options.select(models, every), onnx or None
    return any(record.error for record in forward(api.build, locals(), on_result=partial(_print, form)))


def _print(form: str, record: BuildResult | ExportResult) -> None:
    if form == "json":
        print_line(file_line(record))
        return
    sidecar = record.sidecar
    seeded = "  SEEDED" if sidecar and sidecar.weights and sidecar.weights.source == SEEDED else ""
    if record.error:
        log.error("%s: %s", record.path, record.error)
    elif record.up_to_date:
        print_result(f"{record.path}  {getattr(record, 'note', '') or 'up to date'}{seeded}")
    elif isinstance(sidecar, EngineSidecar):
        layers, size, memory = sidecar.layers, sidecar.bytes / 2**20, sidecar.peak_memory / 2**20
        types = sorted(layers.types, key=lambda name: -layers.types[name])
        shares = ", ".join(f"{name} {layers.share(name):.1%}" for name in types)
        print_result(f"{record.path}  {size:.0f} MiB  layers {shares}  {record.seconds:.1f} s  peak {memory:.0f} MiB{seeded}")
    elif sidecar:
        size, error = sidecar.bytes / 2**20, sidecar.check.error
        note = f"  {record.note}" if isinstance(record, ExportResult) and record.note else ""
        kept = sidecar.quantization.kept if sidecar.quantization else ()
        note += f"  in floating point: {', '.join(kept)}" if kept else ""
        note += "  by torch.onnx.export" if sidecar.exporter != "direct" else ""
        print_result(f"{record.path}  {size:.0f} MiB  error {error:.1e}  {record.seconds:.1f} s{seeded}{note}")
