"""Stage 2: ONNX → engines and their sidecars. Policy only: what to build, for which GPU, with which TensorRT, and when not to.

TensorRT is known to the child processes alone, one for each engine: a crash, or the system running out of memory, costs
that engine and no other.
"""

import os
import platform
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trtzoo.artifacts import engines
from trtzoo.artifacts.engines import EngineSidecar, Profile, Recipe, Stamp
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.builder.messages import BuildJob, Finished
from trtzoo.builder.process import run
from trtzoo.core.errors import BuildError, MachineError, StoreError, TrtzooError
from trtzoo.core.files import encode, free_space, replacing, sidecar_path, size_text
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Record
from trtzoo.core.system import available_cores, total_memory
from trtzoo.hardware.gpus import GPUS, Flavour, Gpu, check_target, find_flavour, find_gpu, identify_gpu, requirement
from trtzoo.hardware.probes import ProbeResult

WORKSPACE = 1 << 30
TIMEOUT = 3600.0
"""Seconds after which a build is given up. The slowest seen ahead of time took six."""

OnBuildProgress = Callable[["BuildOrder", str, float], None]


class BuildOrder(Record, frozen=True, kw_only=True):
    """One engine to be made of one ONNX file."""

    name: str
    onnx: Path
    precision: str
    batch: int

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.precision}-b{self.batch}.engine"


class Target(Record, frozen=True, kw_only=True):
    """What engines are built for and by. `device` is the GPU's place among those in this machine; -1: it is elsewhere."""

    gpu: Gpu
    flavour: Flavour
    version: str
    driver: str = ""
    device: int = -1

    @property
    def here(self) -> bool:
        """Whether a plan can be opened on this machine."""
        return self.device >= 0


class BuildSettings(Record, frozen=True, kw_only=True):
    """How to build; `workspace` in bytes, `timeout` in seconds."""

    workspace: int = WORKSPACE
    detailed: bool = False
    force: bool = False
    jobs: int = 1
    timeout: float = TIMEOUT


class BuildResult(Record, frozen=True, kw_only=True):
    """How one order went."""

    order: BuildOrder
    path: Path
    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: EngineSidecar | None = None
    error: str = ""


def choose_target(gpu: str, flavour: str, answers: dict[str, ProbeResult]) -> Target:
    """What `--gpu` and `--flavour` mean on a machine whose probes gave `answers`; "auto" is decided here.

    The GPU is the one in this machine, else a T4. It is TensorRT's if it is in this machine and TensorRT is, too; otherwise
    TensorRT-RTX compiles ahead of time. Raises UsageError for unknown names, MachineError where this machine cannot.
    """
    here = [identify_gpu(device.name, device.sm) for device in answers["cuda"].devices]
    wanted = find_gpu(gpu) if gpu != "auto" else here[0] if here else GPUS["t4"]
    present = wanted in here
    native = present and not answers["tensorrt"].error
    chosen = find_flavour(flavour if flavour != "auto" else "tensorrt" if native else "rtx")
    answer = answers[chosen.module]
    if chosen.name == "tensorrt" and not present:
        found = ", ".join(row.title for row in here) or answers["cuda"].error
        instead = (
            f"Run: trtzoo build --gpu {wanted.name} --flavour rtx" if not wanted.not_rtx else f"Only there: {wanted.not_rtx}"
        )
        raise MachineError(f"TensorRT builds for a GPU in this machine, and {wanted.title} is not here ({found}). {instead}")
    if chosen.name == "rtx" or not answer.error:
        check_target(wanted, chosen, answer.version)
    if answer.error:
        raise MachineError(f"{chosen.title} is needed and is {answer.error}. Run: pip install {_requirement(chosen, wanted)}")
    driver = answers["cuda"].version if present else ""
    device = here.index(wanted) if present else -1
    return Target(gpu=wanted, flavour=chosen, version=answer.version, driver=driver, device=device)


def _requirement(flavour: Flavour, gpu: Gpu) -> str:
    return requirement(gpu) if flavour.name == "tensorrt" else flavour.install


def build_orders(names: list[str], precisions: list[str], batches: list[int], onnx: Path) -> list[BuildOrder]:
    """Engines of our own networks, model by model. Raises StoreError when none of the graphs has been exported."""
    made = [
        BuildOrder(name=name, onnx=onnx / f"{name}-{PRECISIONS[precision].graph}.onnx", precision=precision, batch=batch)
        for name in names
        for precision in precisions
        for batch in batches
    ]
    if not any(order.onnx.is_file() for order in made):
        graphs = ",".join(dict.fromkeys(PRECISIONS[precision].graph for precision in precisions))
        first = dict.fromkeys(str(order.onnx) for order in made)
        what = " ".join(names) if len(names) < 4 else "--all"
        listed = f"{next(iter(first))} and {len(first) - 1} more are" if len(first) > 1 else f"{next(iter(first))} is"
        raise StoreError(f"Nothing is exported: {listed} not there. Run: trtzoo export {what} --precision {graphs}")
    return made


def check_names(gpu: str, flavour: str) -> None:
    """Raises UsageError for a name that is in no table, before anything is asked of the machine."""
    if gpu != "auto":
        find_gpu(gpu)
    if flavour != "auto":
        find_flavour(flavour)


def check_space(todo: list[BuildOrder], aim: Target, folder: Path, *, force: bool) -> int:
    """Bytes that the engines to be built will take, about. Raises StoreError when the disk has less."""
    where = engines.folder(folder, aim.gpu, aim.flavour.name, aim.version)
    sizes = [
        engines.likely_bytes(order.onnx.stat().st_size)
        for order in todo
        if order.onnx.is_file() and (force or not (where / order.file_name).is_file())
    ]
    needed, free = sum(sizes), free_space(folder)
    if needed > free:
        raise StoreError(
            f"{pluralize(len(sizes), 'engine')} will take about {size_text(needed)}, "
            f"and {size_text(free)} are free where {folder} is. Free some, build fewer, or say --engines-dir"
        )
    return needed


def build(
    todo: list[BuildOrder], aim: Target, folder: Path, settings: BuildSettings, watch: OnBuildProgress
) -> Generator[BuildResult]:
    """Make the engines, `settings.jobs` at once, and yield each as it ends; a failed one stops nothing.

    An engine whose inputs have not changed is not made again unless forced. Closing the iterator, as Ctrl-C does, cancels
    what is being built and leaves nothing half-written. `watch` is told of each build's progress, from other threads.
    """
    stop = threading.Event()
    waiting: queue.SimpleQueue[BuildOrder] = queue.SimpleQueue()
    ended: queue.SimpleQueue[BuildResult] = queue.SimpleQueue()
    for order in todo:
        waiting.put(order)

    def work() -> None:
        while not stop.is_set():
            try:
                order = waiting.get_nowait()
            except queue.Empty:
                return
            ended.put(_one(order, aim, folder, settings, stop, watch))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(1, settings.jobs))]
    for thread in threads:
        thread.start()
    try:
        for _ in todo:
            yield ended.get()
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=15)  # longer than a cancelled child lives; a thread that waits for another's lock may stay


def _one(
    order: BuildOrder, aim: Target, folder: Path, settings: BuildSettings, stop: threading.Event, watch: OnBuildProgress
) -> BuildResult:
    """One order, its error caught."""
    path = engines.folder(folder, aim.gpu, aim.flavour.name, aim.version) / order.file_name
    start = time.perf_counter()

    def outcome(**what: Any) -> BuildResult:
        return BuildResult(order=order, path=path, seconds=time.perf_counter() - start, **what)

    try:
        if done := _up_to_date(order, path, aim, settings):
            return outcome(up_to_date=True, sidecar=done)
        watch(order, "waiting for its lock", 0.0)
        with replacing(path) as work:
            if done := _up_to_date(order, path, aim, settings):  # another builder made it while this one waited
                return outcome(up_to_date=True, sidecar=done)
            return outcome(sidecar=_make(order, work / path.name, path, aim, settings, stop, watch))
    except TrtzooError as error:
        return outcome(error=str(error))
    except OSError as error:
        return outcome(error=f"{path} could not be written: {error.strerror or error}. Nothing was changed.")


def _up_to_date(order: BuildOrder, path: Path, aim: Target, settings: BuildSettings) -> EngineSidecar | None:
    sidecar = None if settings.force else engines.read_sidecar_unchecked(path)
    if sidecar is None:
        return None
    found, _ = engines.source(order.onnx, sidecar.onnx)
    same = sidecar.inputs_sha256 == _recipe(order, found, aim, settings).sha256
    return sidecar if same and engines.intact(path, sidecar) else None


def _recipe(order: BuildOrder, onnx: Stamp, aim: Target, settings: BuildSettings) -> Recipe:
    return Recipe(
        onnx_sha256=onnx.sha256,
        precision=order.precision,
        tf32=PRECISIONS[order.precision].tf32,
        batch=order.batch,
        gpu=aim.gpu.name,
        sm=aim.gpu.sm,
        flavour=aim.flavour.name,
        version=aim.version,
        workspace=settings.workspace,
        detailed=settings.detailed,
        code=engines.builder_code(),
    )


def _make(
    order: BuildOrder,
    work: Path,
    path: Path,
    aim: Target,
    settings: BuildSettings,
    stop: threading.Event,
    watch: OnBuildProgress,
) -> EngineSidecar:
    """Build into the hidden folder of `work`: the engine, the graph's golden sample for who runs it, the sidecar."""
    onnx, exported = engines.source(order.onnx, None)
    native = aim.flavour.name == "tensorrt"
    job = BuildJob(
        onnx=str(order.onnx),
        engine=str(work),
        module=aim.flavour.module,
        sm=aim.gpu.sm,
        graph=PRECISIONS[order.precision].graph,
        tf32=PRECISIONS[order.precision].tf32,
        batch=order.batch,
        workspace=settings.workspace,
        detailed=settings.detailed,
        opens=aim.here,
        visible=_visible(aim.device),
        timing_cache=str(path.parent / "timing.cache") if native else "",  # TensorRT-RTX times nothing
    )
    finished = run(job, stop=stop, timeout=settings.timeout, watch=lambda phase, done: watch(order, phase, done))
    if finished.version != aim.version:
        raise BuildError(f"{aim.flavour.title} {finished.version} built it where {aim.version} was found before. Run it again")
    sidecar = _describe(order, work, aim, finished, onnx, exported, _recipe(order, onnx, aim, settings))
    if exported:
        shutil.copyfile(order.onnx.with_name(exported.golden), work.with_name(exported.golden))
    sidecar_path(work).write_bytes(encode(sidecar))
    return sidecar


def _visible(device: int) -> str:
    """The one GPU that a builder may see, as CUDA_VISIBLE_DEVICES wants it: TensorRT builds for the first that it sees."""
    if device < 0:
        return ""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return allowed.split(",")[device] if allowed else str(device)


def _describe(
    order: BuildOrder, work: Path, aim: Target, finished: Finished, onnx: Stamp, exported: OnnxSidecar | None, recipe: Recipe
) -> EngineSidecar:
    status = work.stat()
    return EngineSidecar(
        model=exported.model if exported else order.name,
        precision=order.precision,
        batch=order.batch,
        gpu=aim.gpu.name,
        sm=aim.gpu.sm,
        flavour=aim.flavour.name,
        version=aim.version,
        flags=finished.flags,
        onnx=onnx,
        weights=exported.weights if exported else None,
        golden=exported.golden if exported else "",
        golden_sha256=exported.golden_sha256 if exported else "",
        inputs=finished.inputs,
        outputs=finished.outputs,
        profile={each.name: Profile(min=each.shape, opt=each.shape, max=each.shape) for each in finished.inputs},
        layers=finished.layers,
        build_seconds=finished.seconds,
        peak_memory=finished.peak_memory,
        host=platform.node(),
        driver=aim.driver,
        inputs_sha256=recipe.sha256,
        sha256=finished.sha256,
        bytes=status.st_size,
        modified=status.st_mtime_ns,
        versions={"trtzoo": version("trtzoo"), aim.flavour.module: aim.version},
    )


def pluralize(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def default_jobs(aim: Target) -> int:
    """How many builds at once: one on a GPU that kernels are timed on, else one a core, as far as memory goes."""
    if aim.flavour.name == "tensorrt":
        return 1
    cores = available_cores()
    memory = total_memory() or 4 << 30
    return max(1, min(cores, memory // (3 << 29)))
