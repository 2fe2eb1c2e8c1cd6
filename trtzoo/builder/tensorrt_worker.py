"""The child process that builds one engine with either TensorRT flavour. runtimes/tensorrt.py runs engines.

`python -m trtzoo.builder.tensorrt_worker` follows core/subprocesses.py: it reads a BuildJob and sends BuildProgress messages,
then a BuildOutput or an error. A process builds one engine: after a failed build, TensorRT-RTX silently gives a different
plan. Flavours and versions differ in the names that their modules have; the code never compares version numbers.
"""

import hashlib
import importlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from trtzoo.artifacts.engines import LayerTypes, Recipe, TensorSpec, switch
from trtzoo.builder.layer_types import COMPUTE, check_precision, count_types, graph_types, layer_types
from trtzoo.builder.options import OPTIONS
from trtzoo.builder.widening import widened
from trtzoo.core.errors import BuildError
from trtzoo.core.files import replacing
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Record
from trtzoo.core.subprocesses import serve
from trtzoo.hardware.gpus import FLAVOURS, GPUS
from trtzoo.runtimes.trt_logger import make_logger

GRACE = 3.0  # seconds that a cancelled build has to stop


class BuildJob(Record, frozen=True, kw_only=True):
    """The request: build `recipe` from the file `onnx` into the file `engine`.

    `visible` is the build's CUDA_VISIBLE_DEVICES, or empty if the target GPU is not in this machine. `layers` is the file for
    the engine inspector's JSON, or empty.
    """

    recipe: Recipe
    onnx: str
    engine: str
    visible: str = ""
    timing_cache: str = ""
    layers: str = ""


class BuildProgress(Record, frozen=True, kw_only=True):
    """The phase of a build, and the fraction of the build that is done, from 0 to 1."""

    phase: str
    done: float


class BuildOutput(Record, frozen=True, kw_only=True):
    """The answer: the engine's hash and what TensorRT reports about it, as in EngineSidecar."""

    sha256: str
    version: str
    flags: dict[str, bool | int]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    layers: LayerTypes
    build_seconds: float
    peak_memory: int


Report = Callable[[BuildProgress], None]


def build(trt: Any, job: BuildJob, report: Report, stopped: threading.Event) -> BuildOutput:
    """Parse the graph, compile it and write the plan to `job.engine`.

    Raises BuildError, with TensorRT's own messages, for a graph that TensorRT does not accept, a build that fails or is
    cancelled, an engine of another precision, and a plan that cannot be written.
    """
    start = time.perf_counter()
    recipe, logger = job.recipe, make_logger(trt)
    try:
        builder = trt.Builder(logger)
    except TypeError as error:  # where CUDA does not work, the constructor returns null
        raise BuildError(f"TensorRT does not start. {logger.reason()}") from error
    flags = trt.NetworkDefinitionCreationFlag
    options = [name for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(flags, name)]
    network = builder.create_network(sum(1 << int(getattr(flags, name)) for name in options))
    typed = hasattr(flags, "STRONGLY_TYPED") or not hasattr(trt.BuilderFlag, "FP16")  # TensorRT from 10 on, and TensorRT-RTX
    quantized = PRECISIONS[recipe.precision].quantized
    parser = parse(trt, network, logger, job, model=widened(Path(job.onnx)) if quantized and not typed else None)
    parsed = [network.get_layer(index) for index in range(network.num_layers)]
    if typed and not quantized:
        layers = count_types(
            "network", [(each.type.name, each.get_output(0).dtype.name) for each in parsed if each.num_outputs]
        )
    else:  # TensorRT says FLOAT or HALF of what it dequantizes, and TensorRT 8 FLOAT of all that it has not chosen a type for
        layers = graph_types(Path(job.onnx))
    check_precision(layers, recipe.precision, name=Path(job.onnx).name)
    config = configure(trt, builder, job, typed=typed)
    if not typed and quantized:
        for flag in (trt.BuilderFlag.INT8, trt.BuilderFlag.FP16):
            config.set_flag(flag)
    elif not typed and PRECISIONS[recipe.precision].graph == "fp16":
        constrain(trt, config, parsed, layers)
    if hasattr(trt, "IProgressMonitor"):  # TensorRT 8 has none: the parent ends its process to cancel it
        config.progress_monitor = progress_monitor(trt, report, stopped)
    with timing_cache(config, Path(job.timing_cache)) if job.timing_cache else nullcontext():
        plan = builder.build_serialized_network(network, config)
        del parser  # not before: it owns the weights that the network points to
        if plan is None or stopped.is_set():
            raise BuildError("cancelled" if stopped.is_set() else failure(logger.reason(), recipe))
    information = ""
    if job.visible and (recipe.detailed or not typed):
        runtime = trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BuildError(f"the new engine cannot be opened. {logger.reason()}")
        information = engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON)
        layers = layer_types(information)
        check_precision(layers, recipe.precision, name=Path(job.onnx).name)
    view = memoryview(plan)
    try:
        Path(job.engine).write_bytes(view)
        if job.layers:
            Path(job.layers).write_text(information)
    except OSError as error:
        raise BuildError(f"the engine could not be written: {error.strerror or error}") from error
    return BuildOutput(
        sha256=hashlib.sha256(view).hexdigest(),
        version=trt.__version__,
        flags={"strongly_typed": typed, "tf32": recipe.tf32, "workspace": recipe.workspace, "detailed": recipe.detailed},
        inputs=tuple(tensor(network.get_input(index)) for index in range(network.num_inputs)),
        outputs=tuple(tensor(network.get_output(index)) for index in range(network.num_outputs)),
        layers=layers,
        build_seconds=time.perf_counter() - start,
        peak_memory=peak_memory(),
    )


def parse(trt: Any, network: Any, logger: Any, job: BuildJob, *, model: bytes | None = None) -> Any:
    """Fill the network from the ONNX file, or from `model` in its place, and return the parser, which must outlive the build.

    The input gets its final shape: the engine is then optimised for one batch and decides nothing at run time.
    """
    name, batch, parser = Path(job.onnx).name, job.recipe.batch, trt.OnnxParser(network, logger)
    if not _read(parser, job, model):
        errors = [parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BuildError(f"TensorRT cannot read {name}: " + ("; ".join(errors) or logger.reason()))
    if not network.num_layers:
        raise BuildError(f"{name} contains no network: it is empty or not an ONNX file")
    if network.num_inputs != 1:
        raise BuildError(f"{name} has {network.num_inputs} inputs; an image classifier has one")
    images = network.get_input(0)
    shape = list(images.shape)
    if not shape or -1 in shape[1:]:
        raise BuildError(f"input {images.name} has shape {shape}: only the batch may be dynamic. Export it for one image size")
    if shape[0] not in (-1, batch):
        raise BuildError(
            f"{name} has a fixed batch of {shape[0]}, not {batch}. Use --batch {shape[0]}, or export it with a dynamic batch"
        )
    images.shape = (batch, *shape[1:])
    return parser


def _read(parser: Any, job: BuildJob, model: bytes | None) -> bool:
    """Parse the file, or `model`; a quantized one with its biases in float. Returns whether TensorRT could."""
    if model is None and PRECISIONS[job.recipe.precision].quantized:
        from trtzoo.artifacts.quantized import with_float_biases

        model = with_float_biases(Path(job.onnx))
    return bool(parser.parse_from_file(job.onnx) if model is None else parser.parse(model))


def failure(reason: str, recipe: Recipe) -> str:
    """Why a build failed, and what helps, where that is known."""
    if "FP32 GEMM is not supported" in reason:
        remedy = "quantize convolutions only" if recipe.precision == "int8" else "use --precision fp16"
        return (
            f"the graph has a matrix product that trtzoo cannot write as a convolution, and TensorRT-RTX has none in FP32 for "
            f"{GPUS[recipe.gpu].title}: {remedy}, or build for another GPU ({reason})"
        )
    return f"the build failed. {reason}"


def parser_error(error: Any) -> str:
    """A parser's error with its node, as far as the version reports it."""
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    node = " ".join(filter(None, [f"node {error.node()}", name, f"({operator})" if operator else ""]))
    prefix = f"{node}: " if error.node() >= 0 else ""
    reason = "" if error.desc() == "false" else f": {error.desc()}"  # "false" is all it reports of an unknown operation
    return f"{prefix}{error.code().name.lower().replace('_', ' ')}{reason}"


def configure(trt: Any, builder: Any, job: BuildJob, *, typed: bool) -> Any:
    """The builder's settings.

    Raises BuildError for a compute capability or an option that this TensorRT does not have.
    """
    config = builder.create_builder_config()
    if hasattr(config, "set_compute_capability"):  # the flavour compiles ahead of time; others build for the GPU here
        target = getattr(trt.ComputeCapability, f"SM{job.recipe.sm}", None)
        if target is None:
            raise BuildError(f"this {trt.__name__} {trt.__version__} does not build for SM{job.recipe.sm}")
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.recipe.workspace)
    (config.set_flag if job.recipe.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    for name, value in job.recipe.options.items():
        row = OPTIONS[name]
        if not hasattr(config, row.attribute):
            raise BuildError(f"TensorRT {trt.__version__} has no {row.attribute}. Leave out {switch(name)}")
        setattr(config, row.attribute, getattr(trt, row.enum)(value) if row.enum else value)
    if job.recipe.detailed or not typed:  # without typed networks, only the engine's details show its types
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return config


def constrain(trt: Any, config: Any, parsed: list[Any], graph: LayerTypes) -> None:
    """Without typed networks: make all convolutions and matrix products compute in FP16. The FP16 flag only allows it.

    Raises BuildError for a graph with several types, which such a network does not keep.
    """
    if len(graph.compute) > 1:
        found = ", ".join(f"{count} {name}" for name, count in sorted(graph.compute.items()))
        raise BuildError(
            f"the graph computes in several types ({found}), and TensorRT {trt.__version__} has no typed networks "
            "to keep them: use TensorRT 10 or later, or export it in one type"
        )
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    for layer in parsed:
        if COMPUTE.search(layer.type.name):
            layer.precision = trt.DataType.HALF
            layer.set_output_type(0, trt.DataType.HALF)


def progress_monitor(trt: Any, report: Report, stopped: threading.Event) -> Any:
    """A monitor that reports progress at most ten times a second and cancels the build when `stopped` is set."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the base class is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[str | None, int, int]] = {}
            self.reported = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (parent, 0, steps)

        def step_complete(self, name: str, step: int) -> bool:
            parent, _, steps = self.phases[name]
            self.phases[name] = (parent, step + 1, steps)
            if time.monotonic() - self.reported > 0.1:
                self.reported = time.monotonic()
                report(BuildProgress(phase=name, done=self.fraction(None)))
            return not stopped.is_set()

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)

        def fraction(self, parent: str | None) -> float:
            """The completed steps of the phases below `parent`; a running step counts by its own phases."""
            children = [(name, done, steps) for name, (above, done, steps) in self.phases.items() if above == parent]
            return max((min(1.0, (done + self.fraction(name)) / max(steps, 1)) for name, done, steps in children), default=0.0)

    return Monitor()


def tensor(value: Any) -> TensorSpec:
    return TensorSpec(name=value.name, dtype=value.dtype.name, shape=tuple(value.shape))


@contextmanager
def timing_cache(config: Any, path: Path) -> Iterator[None]:
    """Use the timings in the file `path`, or none if they do not fit; after a build, add its timings, under the file's lock."""
    found = (path.read_bytes() if path.exists() else b"", b"")
    caches = (config.create_timing_cache(data) for data in found)
    cache = next(
        (cache for cache in caches if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False)), None
    )
    if cache is None:
        raise BuildError("TensorRT accepts no timing cache, not even an empty one")
    yield
    with replacing(path) as work:
        others = config.create_timing_cache(path.read_bytes()) if path.exists() else None  # other builds wrote meanwhile
        if others is not None:
            cache.combine(others, ignore_mismatch=False)  # drops timings of another GPU or version
        (work / path.name).write_bytes(memoryview(cache.serialize()))


def peak_memory() -> int:
    """This process's largest resident size in bytes; 0 on Windows. `getrusage` would include the parent process's."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) * 1024 if found else 0


def run(job: BuildJob, report: Report, stopped: threading.Event) -> BuildOutput:
    """Build with the job's flavour, on the GPU that the job makes visible. Raises BuildError as `build` does."""
    if job.visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.visible  # before TensorRT starts CUDA
    module = FLAVOURS[job.recipe.flavour].module
    try:
        trt = importlib.import_module(module)
    except ImportError as error:
        raise BuildError(f"{module} cannot be loaded: {error}") from error
    return build(trt, job, report, stopped)


if __name__ == "__main__":
    serve(BuildJob, run, grace=GRACE)
