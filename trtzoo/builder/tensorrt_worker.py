"""TensorRT of either flavour: an ONNX file becomes an engine, in a process of its own. Running it is runtimes/tensorrt.py's.

`python -m trtzoo.builder.tensorrt_worker` reads one BuildJob from stdin and writes lines of JSON: any number of
BuildProgress, then one Finished or Failed. When stdin closes the build is cancelled, so it ends when its parent ends,
however that happens. A process builds once: TensorRT-RTX's first build after a failed one silently gives a different plan.
"""

import hashlib
import importlib
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from trtzoo.artifacts.engines import LayerTypes, Tensor
from trtzoo.builder.inspector import layer_types
from trtzoo.builder.messages import GRACE, BuildJob, BuildProgress, Failed, Finished, Message
from trtzoo.core.errors import BuildError, StoreError
from trtzoo.core.files import replacing
from trtzoo.runtimes.trt_logger import logger, said

FLOATS = {"FLOAT": "FP32", "HALF": "FP16", "BF16": "BF16", "INT8": "INT8", "FP8": "FP8", "INT4": "INT4", "FP4": "FP4"}
COMPUTE = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "FULLY_CONNECTED")
GRAPH = {"fp32": "FP32", "fp16": "FP16"}

Report = Callable[[str, float], None]


# --- what differs between versions and flavours: by name, never by version ---


def strongly_typed(trt: Any) -> bool:
    """Whether the graph's types are the engine's: TensorRT 10 on, and TensorRT-RTX."""
    return hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED") or not hasattr(trt.BuilderFlag, "FP16")


def network_flags(trt: Any) -> int:
    """Explicit batch where that is still a choice, strong typing where it is one."""
    flags = trt.NetworkDefinitionCreationFlag
    names = [name for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED") if hasattr(flags, name)]
    return sum(1 << int(getattr(flags, name)) for name in names)


def aim(trt: Any, config: Any, sm: int) -> None:
    """Build for one compute capability, where the flavour compiles ahead of time; elsewhere for the GPU that is here."""
    if not hasattr(config, "set_compute_capability"):
        return
    target = getattr(trt.ComputeCapability, f"SM{sm}", None)
    if target is None:
        raise BuildError(f"this {trt.__name__} {trt.__version__} does not build for SM{sm}")
    config.num_compute_capabilities = 1
    config.set_compute_capability(target, 0)


def monitor(trt: Any, report: Report, stopped: threading.Event) -> Any:
    """Tells progress and cancels when `stopped` is set; None for TensorRT 8, which has none (its process is ended instead)."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc] # the base is known at run time only
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[str | None, int, int]] = {}
            self.told = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (parent, 0, steps)

        def step_complete(self, name: str, step: int) -> bool:
            parent, _, steps = self.phases[name]
            self.phases[name] = (parent, step + 1, steps)
            if time.monotonic() - self.told > 0.1:
                self.told = time.monotonic()
                report(name, self.fraction(None))
            return not stopped.is_set()

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)

        def fraction(self, parent: str | None) -> float:
            """The steps done in the phases under `parent`, a running step counted by its own phases."""
            under = [(name, done, steps) for name, (above, done, steps) in self.phases.items() if above == parent]
            return max((min(1.0, (done + self.fraction(name)) / max(steps, 1)) for name, done, steps in under), default=0.0)

    return Monitor()


def node_error(error: Any) -> str:
    """A parser's error with its node, as far as the version tells it."""
    name = error.node_name() if hasattr(error, "node_name") else ""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    told = " ".join(filter(None, [f"node {error.node()}", name, f"({operator})" if operator else ""]))
    where = f"{told}: " if error.node() >= 0 else ""
    reason = "" if error.desc() == "false" else f": {error.desc()}"  # "false" is all that it says of an unknown operation
    return f"{where}{error.code().name.lower().replace('_', ' ')}{reason}"


# --- one build ---


def build(trt: Any, job: BuildJob, report: Report, stopped: threading.Event) -> Finished:
    """Parse, compile and write the plan to `job.engine`.

    Raises BuildError, in TensorRT's own words, for a graph it cannot take, a build that fails or is stopped, and an engine
    that is not of the precision asked for. Raises OSError where the plan cannot be written.
    """
    start = time.perf_counter()
    log = logger(trt)
    builder = started(trt, log)
    network = builder.create_network(network_flags(trt))
    parser = parse(trt, network, log, job.onnx)
    fix_batch(network, job)
    layers = network_types(network)
    prove(layers, job)
    config = configure(trt, builder, job)
    watch = monitor(trt, report, stopped)
    if watch is not None:
        config.progress_monitor = watch
    cache = timing_cache(config, job.timing_cache)
    plan = builder.build_serialized_network(network, config)
    del parser  # only now: it owns the weights that the network points to
    if plan is None or stopped.is_set():
        raise BuildError("cancelled" if stopped.is_set() else f"the build failed. {said(log)}")
    keep_timings(config, cache, job.timing_cache)
    if job.opens and (job.detailed or not strongly_typed(trt)):
        layers = inspect(trt, log, plan)
        prove(layers, job)
    view = memoryview(plan)
    Path(job.engine).write_bytes(view)
    return Finished(
        sha256=hashlib.sha256(view).hexdigest(),
        version=trt.__version__,
        flags={"strongly_typed": strongly_typed(trt), "tf32": job.tf32, "workspace": job.workspace, "detailed": job.detailed},
        inputs=tuple(tensor(network.get_input(index)) for index in range(network.num_inputs)),
        outputs=tuple(tensor(network.get_output(index)) for index in range(network.num_outputs)),
        layers=layers,
        seconds=time.perf_counter() - start,
        peak_memory=peak_memory(),
    )


def started(trt: Any, log: Any) -> Any:
    """A builder. Where CUDA cannot be used its constructor gives nothing, which the bindings tell as a TypeError."""
    try:
        return trt.Builder(log)
    except TypeError as error:
        raise BuildError(f"TensorRT does not start. {said(log)}") from error


def parse(trt: Any, network: Any, log: Any, path: str) -> Any:
    """Fill the network from an ONNX file. The parser must outlive the build."""
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(path):
        errors = [node_error(parser.get_error(index)) for index in range(parser.num_errors)]
        raise BuildError(f"TensorRT cannot read {Path(path).name}: " + ("; ".join(errors) or said(log)))
    if not network.num_layers:
        raise BuildError(f"{Path(path).name} holds no network: it is empty or not an ONNX file")
    return parser


def fix_batch(network: Any, job: BuildJob) -> None:
    """Give the input its final shape, so that the engine is optimised for one batch and nothing is decided at run time."""
    if network.num_inputs != 1:
        raise BuildError(f"{Path(job.onnx).name} has {network.num_inputs} inputs; an image classifier has one")
    images = network.get_input(0)
    shape = list(images.shape)
    if not shape or -1 in shape[1:]:
        raise BuildError(
            f"input {images.name} has shape {shape}: only its batch may be left open. Export it for one image size"
        )
    if shape[0] not in (-1, job.batch):
        raise BuildError(
            f"the batch of {Path(job.onnx).name} is fixed at {shape[0]}, and {job.batch} was asked for. "
            f"Say --batch {shape[0]}, or export it with a dynamic batch"
        )
    images.shape = (job.batch, *shape[1:])


def configure(trt: Any, builder: Any, job: BuildJob) -> Any:
    """The builder's settings. Precision is the graph's; only TensorRT 8, which has no typed networks, needs a flag for it."""
    config = builder.create_builder_config()
    aim(trt, config, job.sm)
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, job.workspace)
    (config.set_flag if job.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    if not strongly_typed(trt) and job.graph == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    if job.detailed or not strongly_typed(trt):  # without typed networks only the detailed engine can prove its types
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    return config


def network_types(network: Any) -> LayerTypes:
    """The floating types that the parsed layers give."""
    types: Counter[str] = Counter()
    compute: Counter[str] = Counter()
    for layer in (network.get_layer(index) for index in range(network.num_layers)):
        if layer.num_outputs and (kind := FLOATS.get(layer.get_output(0).dtype.name)) is not None:
            types[kind] += 1
            compute[kind] += layer.type.name in COMPUTE
    return LayerTypes(source="network", types=dict(types), compute=dict(+compute))


def inspect(trt: Any, log: Any, plan: Any) -> LayerTypes:
    """The types of the built engine's layers, from its inspector."""
    runtime = trt.Runtime(log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BuildError(f"the engine that was just built cannot be opened. {said(log)}")
    return layer_types(engine.create_engine_inspector().get_engine_information(trt.LayerInformationFormat.JSON))


def prove(layers: LayerTypes, job: BuildJob) -> None:
    """Raises BuildError unless nine tenths of the convolutions and matrix products are of the type asked for, all for fp32."""
    counts = layers.compute or layers.types
    wanted, total = GRAPH[job.graph], sum(counts.values())
    if total and counts.get(wanted, 0) >= (0.9 if job.graph == "fp16" else 1.0) * total:
        return
    found = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) or "no floating type at all"
    raise BuildError(
        f"{job.graph} was asked for, but the layers of {Path(job.onnx).name} compute in {found} (from the {layers.source}). "
        f"Precision is the graph's: export it as {job.graph}, or say --precision {_main_type(counts)}"
    )


def _main_type(counts: dict[str, int]) -> str:
    return max(counts, key=lambda kind: counts[kind], default="fp32").lower()


def tensor(value: Any) -> Tensor:
    return Tensor(name=value.name, dtype=value.dtype.name, shape=tuple(value.shape))


def timing_cache(config: Any, path: str) -> Any:
    """Set the kernel timings of earlier builds, where a file for them is named; one that does not fit is begun anew."""
    if not path:
        return None
    known = Path(path).read_bytes() if Path(path).exists() else b""
    for data in (known, b""):
        cache = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    raise BuildError("TensorRT takes no timing cache, not even an empty one")


def keep_timings(config: Any, cache: Any, path: str) -> None:
    """Merge this build's timings with those that others have written meanwhile, under the file's lock."""
    if cache is None:
        return
    with replacing(Path(path)) as work:
        if Path(path).exists():
            others = config.create_timing_cache(Path(path).read_bytes())
            if others is not None:
                cache.combine(others, ignore_mismatch=False)  # those of another GPU or version do not fit, and are dropped
        (work / Path(path).name).write_bytes(memoryview(cache.serialize()))


def peak_memory() -> int:
    """This process's largest resident size, bytes; without what the process it was started from had."""
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        return int(found[1]) * 1024 if found else 0
    import resource  # not on Windows, where this is the one thing amiss

    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


# --- the process ---


def main() -> None:
    """Build the one job on stdin. Whatever libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; we end by stdin
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=BuildJob)
    stopped = threading.Event()
    threading.Thread(target=_stop_at_end_of_input, args=(stopped,), daemon=True).start()

    def answer(message: Message) -> None:
        try:
            answers.write(msgspec.json.encode(message) + b"\n")
        except OSError:  # nobody listens any more
            stopped.set()

    if job.visible:
        os.environ["CUDA_VISIBLE_DEVICES"] = job.visible
    try:
        trt = importlib.import_module(job.module)
        answer(build(trt, job, lambda phase, done: answer(BuildProgress(phase=phase, done=done)), stopped))
    except (BuildError, StoreError) as error:
        answer(Failed(reason=str(error)))
    except OSError as error:
        answer(Failed(reason=f"the engine could not be written: {error.strerror or error}"))
    except ImportError as error:
        answer(Failed(reason=f"{job.module} cannot be loaded: {error}"))
    os._exit(0)  # the answer is out and the plan closed: TensorRT's tear-down has nothing to add


def _stop_at_end_of_input(stopped: threading.Event) -> None:
    """Cancel when the parent is gone or closes stdin; a build that does not hear of it is ended."""
    sys.stdin.buffer.read()
    stopped.set()
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
