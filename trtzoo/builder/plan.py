"""Stage 2: ONNX files become engines with sidecars. This module decides what is built; targets.py decides for which GPU.

TensorRT runs in child processes only, one for each engine: a crash, or a lack of memory, costs that engine and no other.
"""

import os
import platform
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict

from trtzoo.artifacts import engines
from trtzoo.artifacts.engines import EngineSidecar, OptimizationProfile, Recipe, Stamp
from trtzoo.builder.targets import Target
from trtzoo.builder.tensorrt_worker import GRACE, BuildJob, BuildOutput, BuildProgress
from trtzoo.core.errors import BuildError, StoreError, TrtzooError
from trtzoo.core.files import encode, free_space, replacing, sha256_file, sidecar_path, size_text
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Device, Identity, Record
from trtzoo.core.subprocesses import ChildError, module_command, run_child
from trtzoo.core.system import available_cores, total_memory
from trtzoo.hardware.gpu_lock import exclusive_gpu

COMMAND = module_command("trtzoo.builder.tensorrt_worker")
WORKSPACE = 1 << 30  # bytes of scratch memory that kernels may use
CODE = ("tensorrt_worker.py", "layer_types.py", "options.py", "widening.py")  # our code that decides an engine
TIMEOUT = 3600.0  # seconds after which a build is stopped; the slowest build ahead of time took six
BYTES_PER_JOB = 3 << 29

OnBuildProgress = Callable[["BuildOrder", str, float], None]  # order, phase and the fraction that is done, from another thread


class BuildOrder(Record, frozen=True, kw_only=True):
    """One engine to build from one ONNX file, which computes `identity`."""

    identity: Identity
    onnx: Path
    precision: str
    batch: int

    @property
    def file_name(self) -> str:
        return engines.engine_name(self.identity, self.precision, self.batch)


class BuildSettings(Record, frozen=True, kw_only=True):
    """How to build: `workspace` in bytes, `timeout` in seconds, `jobs` at once; `options` as in builder/options.py.

    `dump_layers` writes the engine inspector's JSON beside the engine, which is then built with its details.
    """

    workspace: int = WORKSPACE
    detailed: bool = False
    options: dict[str, int] = msgspec.field(default_factory=dict)
    dump_layers: bool = False
    force: bool = False
    jobs: int = 1
    timeout: float = TIMEOUT


class BuildResult(Record, frozen=True, kw_only=True):
    """The outcome of one order: its sidecar, or the error."""

    order: BuildOrder
    path: Path
    seconds: float = 0.0
    up_to_date: bool = False
    sidecar: EngineSidecar | None = None
    error: str = ""


def check_space(orders: list[BuildOrder], target: Target, folder: Path, *, force: bool) -> int:
    """The approximate size in bytes of the engines that will be built. Raises StoreError if the disk has less space."""
    place = engines.engine_folder(folder, target.gpu, target.flavour.name, target.version)
    sizes = [
        order.onnx.stat().st_size + 20_000_000  # the weights, and kernels: 5 to 23 MB in the ten networks
        for order in orders
        if order.onnx.is_file() and (force or not (place / order.file_name).is_file())
    ]
    needed, free = sum(sizes), free_space(folder)
    if needed > free:
        raise StoreError(
            f"{pluralize(len(sizes), 'engine')} will need about {size_text(needed)}, but only {size_text(free)} is free "
            f"for {folder}. Free some space, build fewer engines, or use --engines-dir"
        )
    return needed


def default_jobs(target: Target) -> int:
    """Builds at once: one where the builder times kernels on the GPU, else one per core as far as memory allows."""
    jobs = min(available_cores(), (total_memory() or 4 << 30) // BYTES_PER_JOB)
    return 1 if target.flavour.name == "tensorrt" else max(1, jobs)


def pluralize(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def build(
    orders: list[BuildOrder], target: Target, folder: Path, settings: BuildSettings, on_progress: OnBuildProgress
) -> Generator[BuildResult]:
    """Build the engines, `settings.jobs` at once, and yield each result as it ends; a failed build does not stop the others.

    An engine whose inputs have not changed is not rebuilt unless forced. Closing the generator, as Ctrl-C does, cancels the
    running builds and leaves no partial files.
    """
    stop = threading.Event()
    builder = _Builder(target, folder, settings, on_progress, stop)
    ended: queue.SimpleQueue[BuildResult] = queue.SimpleQueue()
    waiting = iter(orders)  # shared by the threads

    def work() -> None:
        for order in waiting:
            if stop.is_set():
                return
            ended.put(builder.run(order))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(max(1, settings.jobs))]
    for thread in threads:
        thread.start()
    try:
        for _ in orders:
            yield ended.get()
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=15)  # a cancelled child ends sooner; a thread that waits for a lock is left behind


@dataclass(frozen=True)
class _Builder:
    """Runs orders for one target; `stop` cancels them."""

    target: Target
    folder: Path
    settings: BuildSettings
    on_progress: OnBuildProgress
    stop: threading.Event

    def run(self, order: BuildOrder) -> BuildResult:
        """Build one engine unless it is up to date. Every error becomes the result's: nobody waits for a thread that died."""
        target, start = self.target, time.perf_counter()
        path = engines.engine_folder(self.folder, target.gpu, target.flavour.name, target.version) / order.file_name
        sidecar, error = None, ""
        try:
            current = self._up_to_date(order, path)
            if current is None:
                self.on_progress(order, "waiting for its lock", 0.0)
                with replacing(path) as work:
                    current = self._up_to_date(order, path)  # another process may have built it while this one waited
                    sidecar = current or self._build(order, path, work / path.name)
                if not current and not self.settings.dump_layers:
                    engines.layers_path(path).unlink(missing_ok=True)  # it describes the engine before
        except BaseException as failure:
            current, sidecar = None, None
            error = str(failure) if isinstance(failure, TrtzooError) else f"{type(failure).__name__}: {failure}"
        seconds, up_to_date, sidecar = time.perf_counter() - start, current is not None, current or sidecar
        return BuildResult(order=order, path=path, seconds=seconds, up_to_date=up_to_date, sidecar=sidecar, error=error)

    def _up_to_date(self, order: BuildOrder, path: Path) -> EngineSidecar | None:
        """The sidecar of an engine that need not be built. Raises BuildError for an intact one with other builder options."""
        sidecar = None if self.settings.force else engines.read_sidecar_unchecked(path)
        if sidecar is None:
            return None
        onnx, _ = engines.read_source(order.onnx, sidecar.onnx)
        if not engines.is_intact(path, sidecar) or not engines.has_golden(path, sidecar):
            return None
        if sidecar.options != self.settings.options:
            here, wanted = (
                engines.options_text(each) or "no builder options" for each in (sidecar.options, self.settings.options)
            )
            raise BuildError(
                f"{path} was built with {here}, and now {wanted} would replace it. "
                "Keep both: --engines-dir OTHER. Replace it: --force"
            )
        dumped = engines.layers_path(path).is_file() or not self.settings.dump_layers
        return sidecar if dumped and sidecar.inputs_sha256 == self._recipe(order, onnx).sha256 else None

    def _recipe(self, order: BuildOrder, onnx: Stamp) -> Recipe:
        return Recipe(
            onnx_sha256=onnx.sha256,
            precision=order.precision,
            tf32=PRECISIONS[order.precision].tf32,
            batch=order.batch,
            gpu=self.target.gpu.name,
            sm=self.target.gpu.sm,
            card=self.target.card,
            flavour=self.target.flavour.name,
            version=self.target.version,
            workspace=self.settings.workspace,
            detailed=self.settings.detailed or self.settings.dump_layers,
            options=self.settings.options,
            code=_code(),
        )

    def _build(self, order: BuildOrder, path: Path, work: Path) -> EngineSidecar:
        """Write the engine to `work`, and beside it its sidecar and the graph's golden sample, for the machine that runs it."""
        target = self.target
        onnx, exported = engines.read_source(order.onnx, None)
        recipe = self._recipe(order, onnx)
        job = BuildJob(
            recipe=recipe,
            onnx=str(order.onnx),
            engine=str(work),
            visible=_visible(target.device),
            timing_cache=str(path.parent / timing_cache(recipe.options)) if recipe.flavour == "tensorrt" else "",
            layers=str(engines.layers_path(work)) if self.settings.dump_layers else "",
        )
        self.on_progress(order, "waiting to start", 0.0)
        with exclusive_gpu(target.device if recipe.flavour == "tensorrt" else None, self.stop):  # RTX times no kernels
            output = run_build(
                job,
                stop=self.stop,
                timeout=self.settings.timeout,
                on_progress=lambda progress: self.on_progress(order, progress.phase, progress.done),
            )
        if output.version != recipe.version:
            raise BuildError(f"{target.flavour.title} changed from {recipe.version} to {output.version}. Run the command again")
        status = work.stat()
        unknown: dict[str, Any] = {"weights": None, "golden": "", "golden_sha256": ""}
        sidecar = EngineSidecar(
            model=order.identity.model,
            identity=order.identity,
            **{name: getattr(exported, name, default) for name, default in unknown.items()},  # trtzoo may not have exported it
            **{name: getattr(recipe, name) for name in ("precision", "batch", "gpu", "sm", "card", "flavour", "options")},
            **asdict(output),
            onnx=onnx,
            profile={each.name: OptimizationProfile(min=each.shape, opt=each.shape, max=each.shape) for each in output.inputs},
            host=platform.node(),
            driver=target.driver,
            inputs_sha256=recipe.sha256,
            bytes=status.st_size,
            modified=status.st_mtime_ns,
            versions={"trtzoo": version("trtzoo"), target.flavour.module: recipe.version},
        )
        if exported:
            shutil.copyfile(order.onnx.with_name(exported.golden), work.with_name(exported.golden))
        sidecar_path(work).write_bytes(encode(sidecar))
        return sidecar


def is_current(sidecar: EngineSidecar) -> bool:
    """Whether this code would build the engine as its sidecar says that it was built."""
    names = ("precision", "batch", "gpu", "sm", "card", "flavour", "version", "options")
    facts: dict[str, Any] = {name: getattr(sidecar, name) for name in names}
    facts |= {name: sidecar.flags.get(name) for name in ("tf32", "workspace", "detailed")}
    return Recipe(onnx_sha256=sidecar.onnx.sha256, code=_code(), **facts).sha256 == sidecar.inputs_sha256


def _code() -> str:
    """Hashes of our code that decides an engine."""
    return " ".join(sha256_file(Path(__file__).with_name(name)) for name in CODE)


def timing_cache(options: Mapping[str, int]) -> str:
    """The file with kernels' times: one for each set of options, because longer timing must not find the times of shorter."""
    return "-".join(["timing", *(f"{name}{value}" for name, value in options.items())]) + ".cache"


def run_build(
    job: BuildJob,
    *,
    stop: threading.Event,
    timeout: float,
    on_progress: Callable[[BuildProgress], None],
    command: list[str] = COMMAND,
) -> BuildOutput:
    """Build one engine; `timeout` in seconds. Raises BuildError with the child's own reason, or with how the child ended."""
    try:
        return run_child(
            command,
            job,
            answer=BuildOutput,
            progress=BuildProgress,
            on_progress=on_progress,
            timeout=timeout,
            stop=stop,
            grace=GRACE,
            name="the builder's process",
        )
    except ChildError as error:
        reasons = {
            "memory": f"{error}. Try --jobs 1",
            "timeout": f"the build timed out after {timeout:g} s. Allow more with --timeout",
        }
        raise BuildError(reasons.get(error.failure.kind, str(error))) from error


def _visible(device: Device | None) -> str:
    """CUDA_VISIBLE_DEVICES with this one GPU, by UUID if the driver reports it: TensorRT builds for the first that it sees."""
    if device is None or device.uuid:
        return device.uuid if device else ""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return allowed.split(",")[device.index] if allowed else str(device.index)
