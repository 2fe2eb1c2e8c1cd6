"""`export` and `build`: networks → ONNX files → engines."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rich.progress import TaskID

from trtzoo.api.selection import Folder, Names, Sizes, select_batch, select_batches, select_models, select_precisions
from trtzoo.artifacts.graphs import Batch, ExportOrder
from trtzoo.builder import plan
from trtzoo.builder.plan import TIMEOUT, WORKSPACE, BuildOrder, BuildResult, BuildSettings, Target
from trtzoo.core.console import ALERT, log, progress_bars
from trtzoo.core.errors import StoreError, UsageError
from trtzoo.core.files import size_text
from trtzoo.core.precisions import PRECISIONS, check_tf32
from trtzoo.exporter.plan import ExportResult
from trtzoo.exporter.plan import export as export_model
from trtzoo.hardware import probes
from trtzoo.models.sources import locate
from trtzoo.models.table import MODELS

FALLBACK = """SEEDED WEIGHTS: Could not download the published weights; using seeded ones. Latency is valid, accuracy is not.
{reason} To fail instead: --weights paddle"""


def export(
    models: Names | None = None,
    *,
    weights: str | None = None,
    precision: Names = "fp32",
    batch: int | str = "dynamic",
    opset: int = 17,
    io: str = "fp32",
    classes: int = 1000,
    input_size: int = 224,
    onnx_dir: Folder = "onnx",
    force: bool = False,
    on_result: Callable[[ExportResult], None] | None = None,
) -> list[ExportResult]:
    """Export networks to checked ONNX files in `onnx_dir`: all ten, or those with these names.

    `weights` is paddle, torchvision, timm, seeded, or a file; by default paddle's, or seeded ones if they cannot be downloaded,
    with a warning. A file that is up to date is kept unless `force`. `on_result` receives each record as it is made. A file
    that could not be made has `error` set. Raises UsageError and WeightsError before anything is made.

    >>> import trtzoo
    >>> (small,) = trtzoo.export("dpn68", weights="seeded", classes=10, input_size=32)
    >>> print(small.path, small.error or "ok")
    onnx/dpn68-fp32-c10-s32.onnx ok
    """
    if io not in ("fp32", "fp16"):
        raise UsageError(f"--io {io!r}: choose fp32 or fp16.")
    graphs = dict.fromkeys(PRECISIONS[name].graph for name in select_precisions(precision))
    fixed: Batch = "dynamic" if batch == "dynamic" else select_batch(batch)
    checkpoints = [(MODELS[name], locate(MODELS[name], weights)) for name in select_models(models)]
    if reason := next((checkpoint.fallback for _, checkpoint in checkpoints if checkpoint.fallback), ""):
        log.log(ALERT, FALLBACK.format(reason=reason))
    records = []
    with progress_bars() as bars:
        bar = bars.add_task("exporting", total=len(checkpoints) * len(graphs))
        for model, checkpoint in checkpoints:
            bars.update(bar, description=f"exporting {model.name}")
            orders = [
                ExportOrder(
                    model=model.name,
                    precision=graph,
                    io=io if graph == "fp16" else "fp32",
                    batch=fixed,
                    opset=opset,
                    classes=classes,
                    size=input_size,
                )
                for graph in graphs
            ]
            for record in export_model(model, checkpoint, orders, Path(onnx_dir), force=force):
                records.append(record)
                bars.advance(bar)
                if on_result:
                    on_result(record)
    return records


def build(
    models: Names | None = None,
    *,
    onnx: Folder | None = None,
    precision: Names = "fp32",
    batch: Sizes | None = None,
    gpu: str = "auto",
    flavour: str = "auto",
    jobs: int | None = None,
    workspace: int = WORKSPACE >> 20,
    detailed: bool = False,
    timeout: float = TIMEOUT,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    force: bool = False,
    on_result: Callable[[BuildResult], None] | None = None,
) -> list[BuildResult]:
    """Build TensorRT engines of exported models, or of any classifier's file `onnx`, one per precision and batch size.

    By default the batch sizes are 1, 4 and 8, or 1 for `onnx`. `gpu` is auto (the GPU of this machine, else a T4) or a GPU's
    name; `flavour` is tensorrt (for the GPU of this machine), rtx (ahead of time) or auto. `workspace` is in MiB, `timeout` in
    seconds per engine. An engine that is up to date is kept unless `force`. `on_result` receives each record as it is made. An
    engine that could not be built has `error` set. Raises UsageError, StoreError and MachineError before anything is built.

    >>> import trtzoo
    >>> for engine in trtzoo.build(onnx="mine.onnx", batch=[1, 4], gpu="t4", flavour="rtx"):
    ...     print(engine.path.name, engine.error or "ok")
    mine-fp32-b1.engine ok
    mine-fp32-b4.engine ok
    """
    if onnx is not None and models is not None:
        raise UsageError("Give either model names or --onnx FILE, not both.")
    precisions = select_precisions(precision)
    batches = select_batches(batch if batch is not None else 1 if onnx else (1, 4, 8))
    orders = _orders_for_file(Path(onnx), precisions, batches) if onnx is not None else None
    names = select_models(models)
    plan.check_names(gpu, flavour)
    target = plan.choose_target(gpu, flavour, probes.run_probes("cuda", "tensorrt", "tensorrt_rtx"))
    check_tf32(precisions, target.gpu.title, target.gpu.sm)
    orders = orders or plan.build_orders(names, precisions, batches, Path(onnx_dir))
    settings = BuildSettings(
        workspace=workspace << 20,
        detailed=detailed,
        force=force,
        jobs=min(jobs or plan.default_jobs(target), len(orders)),
        timeout=timeout,
    )
    folder = Path(engines_dir)
    log.info(_summary(orders, target, plan.check_space(orders, target, folder, force=force), settings))
    return _build(orders, target, folder, settings, on_result or (lambda record: None))


def _orders_for_file(onnx: Path, precisions: list[str], batches: list[int]) -> list[BuildOrder]:
    """Engines of a file that trtzoo did not export; its name without the precision becomes the engine's."""
    if not onnx.is_file():
        raise StoreError(f"There is no {onnx}.")
    return [
        BuildOrder(name=onnx.stem.replace(f"-{PRECISIONS[name].graph}", "", 1), onnx=onnx, precision=name, batch=batch)
        for name in precisions
        for batch in batches
    ]


def _summary(orders: list[BuildOrder], target: Target, needed: int, settings: BuildSettings) -> str:
    engines = f"{plan.pluralize(len(orders), 'engine')} for {target.gpu.title} (SM{target.gpu.sm})"
    mode = "for the GPU of this machine" if target.flavour.name == "tensorrt" else "ahead of time"
    space = f", about {size_text(needed)} on disk" if needed else ""
    return f"Building {engines}, {mode} by {target.flavour.title} {target.version}, {settings.jobs} at once{space}"


def _build(
    orders: list[BuildOrder], target: Target, folder: Path, settings: BuildSettings, on_result: Callable[[BuildResult], None]
) -> list[BuildResult]:
    """Build with one bar for all engines and one for each that is being built."""
    records = []
    with progress_bars() as bars:
        total = bars.add_task("engines", total=len(orders))
        running: dict[str, TaskID] = {}

        def show(order: BuildOrder, phase: str, done: float) -> None:
            name = order.file_name
            if name not in running:
                running[name] = bars.add_task(name, total=100)
            bars.update(running[name], completed=round(100 * done), description=f"{name}  {phase.lower()}")

        with closing(plan.build(orders, target, folder, settings, show)) as stream:
            for record in stream:
                if record.order.file_name in running:
                    bars.remove_task(running.pop(record.order.file_name))
                bars.advance(total)
                records.append(record)
                on_result(record)
    return sorted(records, key=lambda record: orders.index(record.order))  # they end in any order
