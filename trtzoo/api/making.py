"""`export` and `build`: networks → ONNX files → engines."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

from msgspec.structs import replace
from rich.progress import TaskID

from trtzoo.api import selection
from trtzoo.api.adopting import export_files
from trtzoo.api.artifacts import pairs, require_some, select_sources
from trtzoo.api.keeping import AUTO, blocks_to_keep
from trtzoo.api.selection import Files, Folder, Names, Sizes
from trtzoo.artifacts.graphs import CALIBRATION_METHODS, DEFAULT_METHOD, Calibration, ExportOrder
from trtzoo.builder import plan
from trtzoo.builder.options import check_options
from trtzoo.builder.plan import TIMEOUT, WORKSPACE, BuildOrder, BuildResult, BuildSettings
from trtzoo.builder.targets import check_names, check_precisions, choose_target
from trtzoo.core.console import ALERT, log, progress_bars
from trtzoo.core.errors import TrtzooError, UsageError, WeightsError
from trtzoo.core.files import size_text
from trtzoo.core.modules import require_module
from trtzoo.core.precisions import GRAPHS, PRECISIONS, precision_of
from trtzoo.core.records import Batch, is_plain
from trtzoo.exporter.plan import ExportResult
from trtzoo.exporter.plan import export as export_model
from trtzoo.hardware import probes
from trtzoo.images.dataset import DataSet, read_calibration
from trtzoo.models.preprocessing import with_preprocessing
from trtzoo.models.sources import SEEDED, Checkpoint, locate, usual
from trtzoo.models.table import FILE, TIMM, Model, find_model, zoo

CALIBRATION_IMAGES, SYNTHETIC_IMAGES = 512, 16
FALLBACK = """SEEDED WEIGHTS: Could not download the published weights; using seeded ones. Latency is valid, accuracy is not.
%s To fail instead: --weights %s"""


def export(
    models: Names | None = None,
    *,
    onnx: Files | None = None,
    weights: str | None = None,
    preprocessing: str | None = None,
    precision: Names | None = None,
    batch: int | str = "dynamic",
    opset: int = 17,
    io: str | None = None,
    classes: int | None = None,
    input_size: int | None = None,
    entry: str | None = None,
    name: str | None = None,
    calibration: Folder | None = None,
    images: int | None = None,
    method: str | None = None,
    keep_fp16: Names | None = None,
    onnx_dir: Folder = "onnx",
    force: bool = False,
    on_result: Callable[[ExportResult], None] | None = None,
) -> list[ExportResult]:
    """Export networks to checked ONNX files in `onnx_dir`: all of the zoo, those with these names, or the user's files `onnx`.

    A name is a row's of the zoo, or "timm:resnet50" for any architecture of timm. `weights` is paddle, torchvision, timm,
    seeded, or a file, whose part `entry` has the weights; by default that of the zoo's row, or timm's or paddle's, or seeded
    ones if they cannot be downloaded, with a warning. `classes` and `input_size` are by default those of the weights: of a file
    what its classifier says, and else 1000 and 224, or what timm's configuration says. `preprocessing` (imagenet, timm or a
    .toml file) is that of photographs for own files and own weights. `precision` is fp32, or of own files theirs. A file that
    is up to date is kept unless `force`, and so is one with other weights; `name` is another name for the files of one model.
    int8 needs photographs in the folder `calibration`; at most `images` (512) set the scales, by `method` (minmax, mse,
    percentile or entropy); with seeded weights, synthetic images do. The blocks `keep_fp16` stay in floating point; "auto" is
    the fewest, the worst first, with which the calibration images keep to the policy. `on_result` receives each record as it is
    made. A file that could not be made has `error` set. Raises UsageError, DataError, StoreError and WeightsError before
    anything is made.

    >>> import trtzoo
    >>> (small,) = trtzoo.export("dpn68", weights="seeded", classes=10, input_size=32)
    >>> print(small.path, small.error or "ok")
    onnx/dpn68-fp32-c10-s32.onnx ok
    """
    if io not in (None, "fp32", "fp16"):
        raise UsageError(f"--io {io!r}: choose fp32 or fp16.")
    given = None if precision is None else selection.select_precisions(precision)
    if onnx is not None:
        kinds = list(dict.fromkeys(PRECISIONS[each].graph for each in given or ()))
        unused = {
            "MODEL": models is not None,
            "--weights": weights is not None,
            "--batch": batch != "dynamic",
            "--opset": opset != 17,
            "--classes": classes is not None,
            "--input-size": input_size is not None,
            "--calibration": calibration is not None,
            "--images": images is not None,
            "--method": method is not None,
            "--keep-fp16": keep_fp16 is not None,
        }
        check_name(name)
        return export_files(
            onnx,
            kinds,
            Path(onnx_dir),
            unused=[option for option, used in unused.items() if used],
            io=io,
            name=name,
            preprocessing=preprocessing,
            force=force,
            on_result=on_result,
        )
    graphs = dict.fromkeys(kind for each in given or ["fp32"] for kind in PRECISIONS[each].graphs)
    if io == "fp16" and not any(GRAPHS[graph].floats == "fp16" for graph in graphs):
        raise UsageError("--io fp16 is the input and output of an FP16 graph. Add --precision fp16, or leave it out.")
    types = {graph: io or "fp32" if GRAPHS[graph].floats == "fp16" else "fp32" for graph in graphs}
    quantized = [graph for graph in graphs if GRAPHS[graph].quantized]
    data = read_calibration_data(calibration, images, method, quantized)
    kept = _kept_names(keep_fp16, quantized)
    fixed: Batch = "dynamic" if batch == "dynamic" else selection.select_batch(batch)
    check_name(name)
    rows = [find_model(name) for name in selection.select_models(models)]
    if all(row.family == FILE for row in rows):
        raise UsageError(f"{', '.join(row.name for row in rows)}: ONNX files of the zoo need no export.")
    checkpoints = []
    for row in (row for row in rows if row.family != FILE):
        found = locate(row, weights, entry=entry or "")
        size, length = _form(row, found, input_size, classes)
        checkpoints.append((row, with_preprocessing(found, preprocessing, size), size, length))
    if entry and not all(checkpoint.is_local for _, checkpoint, *_ in checkpoints):
        raise UsageError("--entry is for a checkpoint of your own: --weights FILE")
    if name and len(checkpoints) > 1:
        raise UsageError(f"--name is for one model, and these are {len(checkpoints)}.")
    if reason := next((checkpoint.fallback for _, checkpoint, *_ in checkpoints if checkpoint.fallback), ""):
        log.log(ALERT, FALLBACK, reason, "timm" if all(row.family == TIMM for row in rows) else "paddle")
    if quantized and data is None and (trained := [row.name for row, each, *_ in checkpoints if each.source != SEEDED]):
        raise UsageError(f"{quantized[0]} needs photographs like those that {trained[0]} will see. Add --calibration DIR")
    data = data or DataSet(synthetic=SYNTHETIC_IMAGES)
    source = Calibration(
        data=data.name if data.photographs else "synthetic",
        fingerprint=data.fingerprint,
        images=len(data.photographs) or data.synthetic,
        method=next((each for each in CALIBRATION_METHODS if each == method), DEFAULT_METHOD),
    )
    records = []
    with progress_bars() as bars:
        bar = bars.add_task("exporting", total=len(checkpoints) * len(graphs))
        for model, checkpoint, size, length in checkpoints:
            bars.update(bar, description=f"exporting {model.name}")
            orders = [
                ExportOrder(
                    model=model.stem,
                    name=name or "",
                    precision=graph,
                    io=kind,
                    batch=fixed,
                    opset=opset,
                    classes=length,
                    size=size,
                    calibration=source if graph in quantized else None,
                )
                for graph, kind in types.items()
            ]
            for record in _exported(model, checkpoint, orders, Path(onnx_dir), data, kept, force=force):
                records.append(record)
                bars.advance(bar)
                if on_result:
                    on_result(record)
    return records


def _exported(
    model: Model,
    checkpoint: Checkpoint,
    orders: list[ExportOrder],
    folder: Path,
    data: DataSet,
    kept: tuple[str, ...],
    *,
    force: bool,
) -> Iterator[ExportResult]:
    """The results of one model's orders, in which the blocks `kept` stay in floating point."""
    try:
        wanted = [_with_kept(order, kept, model, checkpoint, data) for order in orders]
    except TrtzooError as error:
        yield from (ExportResult(order=order, path=folder / order.file_name, error=str(error)) for order in orders)
        return
    yield from export_model(model, checkpoint, wanted, folder, calibration=data, force=force)


def _kept_names(keep: Names | None, quantized: list[str]) -> tuple[str, ...]:
    """The blocks to keep, or AUTO alone. Raises UsageError for options that do not go together."""
    if keep is None:
        return ()
    if not quantized:
        raise UsageError("--keep-fp16 is for quantized precisions. Add --precision int8, or leave it out.")
    words = keep.split(",") if isinstance(keep, str) else keep
    names = tuple(dict.fromkeys(name.strip() for name in words if name.strip()))
    if not names or (AUTO in names and len(names) > 1):
        raise UsageError(f"--keep-fp16 {','.join(names)!r}: say auto, or name blocks as `trtzoo parity --layers` does.")
    return names


def _with_kept(order: ExportOrder, kept: tuple[str, ...], model: Model, checkpoint: Checkpoint, data: DataSet) -> ExportOrder:
    """The order with the blocks to keep: those that the graph for GPUs needs, which rounds more than that for processors."""
    if not order.calibration or not kept:
        return order
    if kept == (AUTO,):
        judged = replace(order, precision=PRECISIONS[precision_of(order.precision)].graphs[-1], io="fp32", batch="dynamic")
        kept = blocks_to_keep(model, checkpoint, judged, data)
    return replace(order, kept=tuple(sorted(kept)))


def _form(model: Model, checkpoint: Checkpoint, size: int | None, classes: int | None) -> tuple[int, int]:
    """The size of the images and the number of classes: the user's, the checkpoint's, or the network's usual ones.

    Raises nothing for a checkpoint that cannot be read: the export says what is wrong with it.
    """
    usual_size, usual_classes = usual(model)
    if classes is None and checkpoint.is_local:
        from trtzoo.models.weights import infer_classes

        with suppress(WeightsError):
            classes = infer_classes(model, checkpoint)
        if classes is not None and classes != usual_classes:
            log.info("%s: its classifier has %d classes", checkpoint.path, classes)
    return size or usual_size, classes or usual_classes


def check_name(name: str | None) -> None:
    """Raise UsageError for a name that no file may have, or a model has."""
    if name is not None and not (is_plain(name) and re.fullmatch(r"[\w.+-]+", name)):
        raise UsageError(f"--name {name!r} is not a name of letters, digits and . _ + -")
    if name in zoo():
        raise UsageError(f"--name {name} is a model's own name. Choose another")


def read_calibration_data(
    folder: Folder | None, images: int | None, method: str | None, quantized: list[str]
) -> DataSet | None:
    """The photographs in the folder, None without one. Raises UsageError for options that do not go together."""
    given = {"--calibration": folder, "--images": images, "--method": method}
    if not quantized and (useless := [option for option, value in given.items() if value is not None]):
        raise UsageError(f"{useless[0]} is for precisions with INT8. Add --precision int8, or leave it out.")
    if method not in (None, *CALIBRATION_METHODS):
        raise UsageError(f"--method {method!r}: choose {', '.join(CALIBRATION_METHODS)}.")
    if images is not None and folder is None:
        raise UsageError("--images is the number of photographs of --calibration DIR, which is missing.")
    if folder is None:
        return None
    for module in ("cv2", "PIL"):
        require_module("trtzoo export --calibration", module=module, extra="eval")
    data = read_calibration(Path(folder), limit=images or CALIBRATION_IMAGES)
    for note in data.notes:
        log.warning(note)
    return data


def build(
    models: Names | None = None,
    *,
    onnx: Files | None = None,
    precision: Names | None = None,
    batch: Sizes | None = None,
    gpu: str = "auto",
    device: str | int | None = None,
    flavour: str = "auto",
    jobs: int | None = None,
    workspace: int = WORKSPACE >> 20,
    detailed: bool = False,
    opt_level: int | None = None,
    timing_iterations: int | None = None,
    aux_streams: int | None = None,
    tiling: int | None = None,
    dump_layers: bool = False,
    timeout: float = TIMEOUT,
    onnx_dir: Folder = "onnx",
    engines_dir: Folder = "engines",
    force: bool = False,
    on_result: Callable[[BuildResult], None] | None = None,
) -> list[BuildResult]:
    """Build TensorRT engines of exported models, or of any classifiers' files `onnx`, one per precision and batch size.

    By default the batch sizes are 1, 4 and 8, or 1 for `onnx`, and the precision is fp32, or that of `onnx`. `gpu` is auto (the
    GPU of this machine, else a T4) or a GPU's name; `device` is the index, UUID or PCI bus id of one of several GPUs; `flavour`
    is tensorrt (for the GPU of this machine), rtx (ahead of time) or auto. `workspace` is in MiB, `timeout` in seconds per
    engine. `opt_level`, `timing_iterations`, `aux_streams` and `tiling` are options of TensorRT's builder (None: its own); an
    engine that was built with others is replaced only by `force`. `dump_layers` writes the engine inspector's JSON beside an
    engine, on the machine with its GPU. An engine that is up to date is kept unless `force`. `on_result` receives each record
    as it is made. An engine that could not be built has `error` set. Raises UsageError, StoreError and MachineError before
    anything is built.

    >>> import trtzoo
    >>> for engine in trtzoo.build(onnx="mine.onnx", batch=[1, 4], gpu="t4", flavour="rtx"):
    ...     print(engine.path.name, engine.error or "ok")
    mine-e10c6bc7-fp32-b1.engine ok
    mine-e10c6bc7-fp32-b4.engine ok
    """
    sources, precisions = select_sources(models, onnx, precision, Path(onnx_dir), for_engines=True)
    batches = None if batch is None else selection.select_batches(batch)
    check_names(gpu, flavour, precisions)
    target = choose_target(gpu, flavour, probes.run_probes("cuda", "tensorrt", "tensorrt_rtx"), device=device)
    check_precisions(precisions, target)
    given = {"opt_level": opt_level, "timing_iterations": timing_iterations, "aux_streams": aux_streams, "tiling": tiling}
    options = {name: value for name, value in given.items() if value is not None}
    check_options(options, target.flavour)
    if dump_layers and target.device is None:
        raise UsageError(f"--dump-layers opens the engine, and {target.gpu.title} is not in this machine. Leave it out.")
    if onnx is None:
        require_some(sources)
    orders = [
        BuildOrder(identity=each.identity, onnx=each.path, precision=each.precision, batch=size)
        for each, size in pairs(sources, batches, (1, 4, 8) if onnx is None else (1,))
    ]
    jobs = min(jobs or plan.default_jobs(target), len(orders))
    settings = BuildSettings(
        workspace=workspace << 20,
        detailed=detailed,
        options=options,
        dump_layers=dump_layers,
        force=force,
        jobs=jobs,
        timeout=timeout,
    )
    needed = plan.check_space(orders, target, Path(engines_dir), force=force)
    engines = f"{plan.pluralize(len(orders), 'engine')} for {target.gpu.title} (SM{target.gpu.sm})"
    mode = "for the GPU of this machine" if target.flavour.name == "tensorrt" else "ahead of time"
    space = f", about {size_text(needed)} on disk" if needed else ""
    log.info("Building %s, %s by %s %s, %d at once%s", engines, mode, target.flavour.title, target.version, jobs, space)
    records = []
    with progress_bars() as bars:
        running: dict[str, TaskID] = {}

        def show(order: BuildOrder, phase: str, done: float) -> None:
            name = order.file_name
            if name not in running:
                running[name] = bars.add_task(name, total=100)
            bars.update(running[name], completed=round(100 * done), description=f"{name}  {phase.lower()}")

        with closing(plan.build(orders, target, Path(engines_dir), settings, show)) as stream:
            for record in bars.track(stream, total=len(orders), description="engines"):
                if record.order.file_name in running:
                    bars.remove_task(running.pop(record.order.file_name))
                records.append(record)
                if on_result:
                    on_result(record)
    return sorted(records, key=lambda record: orders.index(record.order))  # they end in any order
