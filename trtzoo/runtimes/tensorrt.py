"""Runs an engine of either TensorRT flavour, with buffers made once, one stream, and CUDA events around each stage.

Each resource lives in one attribute, and dropping the attribute frees it. At the end, or after any error, all attributes made
since the context are dropped in the reverse order of their creation, before it is released. Resources must not be held in
local variables, which an error's traceback would keep alive.
"""

import hashlib
import importlib
import re
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from trtzoo.artifacts import engines
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError, RunError, StoreError
from trtzoo.core.files import replacing
from trtzoo.core.records import Opening, Sample
from trtzoo.hardware.gpus import FLAVOURS
from trtzoo.runtimes import cuda
from trtzoo.runtimes.cuda import drv
from trtzoo.runtimes.trt_logger import make_logger

DTYPES = {"FLOAT": np.float32, "HALF": np.float16}
ACTIVATIONS = ("device_memory_size_v2", "device_memory_size")  # an engine's attribute since TensorRT 10.1, and before


class Session:
    """One engine at its batch on one GPU, in the thread that opened it.

    cuda_graph  launch the computation as a CUDA graph
    fallback    enqueue the computation if its graph cannot be captured, and say why in `settings`; else that is a RunError
    wait        "spin" or "block": how the host waits for the end of an inference, as trtexec does
    flush_l2    before each inference, and not timed, overwrite the L2 cache
    transfers   include in a sample the copies of images and logits; without, both stay on the GPU and only compute is timed
    pinned      copy from and to pinned memory, else pageable

    `opening` says what opening it took. Raises StoreError for an engine of another GPU, TensorRT or batch, MachineError without
    a GPU or TensorRT, RunError with TensorRT's or the driver's message for an engine that does not run, and MemoryError.
    """

    threads = 1
    _images: Array
    _logits: Array
    _input: Any
    _output: Any

    def __init__(
        self,
        path: Path,
        *,
        batch: int,
        flavour: str,
        device: int = 0,
        cuda_graph: bool = True,
        fallback: bool = True,
        wait: str = "spin",
        flush_l2: bool = False,
        transfers: bool = True,
        pinned: bool = True,
    ) -> None:
        self._batch, self._transfers, self._pinned, self._flush_l2 = batch, transfers, pinned, flush_l2
        self._error = f"{path.name} cannot be run"
        self.settings = {"transfers": "on" if transfers else "off", "host memory": "pinned" if pinned else "pageable"}
        self.settings["wait"] = wait
        self.versions: dict[str, str] = {}
        self._seconds: dict[str, float] = {}  # of each step of opening
        self._resources = ExitStack()
        try:
            with cuda.translated_errors(self._error):
                gpu = self._resources.enter_context(cuda.primary_context(device))
                self._resources.callback(self._free, len(vars(self)))
                self._load(path, flavour, gpu)
                self._make_buffers(cuda.EVENT_FLAGS[wait])
                if flush_l2:
                    l2 = gpu.get_attribute(drv.device_attribute.L2_CACHE_SIZE)
                    self._flushed, self._flushed_size = drv.mem_alloc(2 * l2), 2 * l2  # more than L2 can keep
                with self._timed("first inference"):
                    drv.memcpy_htod_async(self._input, self._images, self._stream)
                    self._enqueue()  # TensorRT makes its last allocations, which a capture would not allow
                    self._stream.synchronize()
                self.settings["cuda graph"] = "off"
                self._launch = self._capture(fallback=fallback) if cuda_graph else self._enqueue
                self._save_kernels(path.with_suffix(".kernels"))
        except BaseException:
            self.close()
            raise

    @property
    def opening(self) -> Opening:
        """What opening the engine took, and TensorRT's warnings until now."""
        size = next(getattr(self._engine, name) for name in ACTIVATIONS if hasattr(self._engine, name))
        return Opening(
            deserialisation=self._seconds["deserialisation"],
            context=self._seconds["context"],
            first_inference=self._seconds["first inference"],
            compilation=self._seconds.get("compilation"),
            engine_size=self._plan_size,
            context_memory=size,
            notes=tuple(self._logger.warnings),
        )

    def prepare(self, images: Array) -> Array:
        """Convert images to the engine's type and flush L2, if that was asked for."""
        self._flush()
        return np.ascontiguousarray(images, self._input_type)

    def infer(self, images: Array) -> Array:
        """Images (batch, 3, S, S) → logits (batch, classes), in the engine's types, by the same calls that `sample` times."""
        if images.shape != self._images.shape:
            raise RunError(f"{self._error} on images of shape {images.shape}: it takes {self._images.shape}")
        with cuda.translated_errors(self._error):
            if self._pinned:
                self._images[:] = images
            else:
                self._images = np.ascontiguousarray(images, self._input_type)
            drv.memcpy_htod_async(self._input, self._images, self._stream)
            drv.memset_d8_async(self._output, 0xFF, self._logits.nbytes, self._stream)  # NaN, so that no old logits pass
            self._launch()
            drv.memcpy_dtoh_async(self._logits, self._output, self._stream)
            self._finished.record(self._stream)
            self._finished.synchronize()
            return self._logits.copy()

    def sample(self) -> Sample:
        """Time one inference in seconds: `total` and `enqueue` by the host's clock, copies and compute by events on the GPU."""
        self._flush()
        with cuda.translated_errors(self._error):
            start = time.perf_counter()
            self._started.record(self._stream)
            if self._transfers:
                drv.memcpy_htod_async(self._input, self._images, self._stream)
                self._uploaded.record(self._stream)
            before = time.perf_counter()
            self._launch()
            enqueue = time.perf_counter() - before
            if self._transfers:
                self._computed.record(self._stream)
                drv.memcpy_dtoh_async(self._logits, self._output, self._stream)
            self._finished.record(self._stream)
            self._finished.synchronize()
            total = time.perf_counter() - start
            if not self._transfers:
                return Sample(total=total, compute=self._started.time_till(self._finished) * 1e-3, enqueue=enqueue)
            return Sample(
                total=total,
                compute=self._uploaded.time_till(self._computed) * 1e-3,
                h2d=self._started.time_till(self._uploaded) * 1e-3,
                d2h=self._computed.time_till(self._finished) * 1e-3,
                enqueue=enqueue,
            )

    def close(self) -> None:
        """Wait for the stream and free everything. A second call does nothing."""
        with suppress(drv.Error, AttributeError):
            self._stream.synchronize()
        self._resources.close()

    def _free(self, kept: int) -> None:
        """Drop the attributes made after the first `kept`, the last one first."""
        while len(vars(self)) > kept:
            vars(self).popitem()

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        """Keep how long a step of opening takes."""
        start = time.perf_counter()
        yield
        self._seconds[step] = time.perf_counter() - start

    def _flush(self) -> None:
        """Fill the GPU's L2 cache with other data, and wait until that is done."""
        if self._flush_l2:
            with cuda.translated_errors(self._error):
                drv.memset_d8_async(self._flushed, 0, self._flushed_size, self._stream)
                self._stream.synchronize()

    def _enqueue(self) -> None:
        """Enqueue one computation."""
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._failure("the computation was not enqueued")

    def _failure(self, message: str) -> Exception:
        """The error for a call that TensorRT refused, with the errors it logged: MemoryError or RunError."""
        logged = self._logger.reason()
        kind = MemoryError if re.search("out of memory|could not be allocated", logged, re.IGNORECASE) else RunError
        return kind(f"{self._error}: {message}. {logged}")

    def _load(self, path: Path, flavour: str, gpu: Any) -> None:
        """Open the engine and read the shapes and types of its input and output."""
        row = FLAVOURS[flavour]
        try:
            trt: Any = importlib.import_module(row.module)
        except ImportError as error:
            raise MachineError(f"{row.title} cannot be loaded ({error}). Run: trtzoo doctor") from error
        self.versions |= {trt.__name__: trt.__version__} | cuda.versions()
        major, minor = gpu.compute_capability()
        sm, name = 10 * major + minor, gpu.name()
        memory = gpu.total_memory()
        plan, sidecar = engines.load_plan(path, flavour=flavour, version=trt.__version__, sm=sm, device=name, memory=memory)
        self._plan_sha256, self._plan_size = sidecar.sha256, len(plan)
        if sidecar.options:
            self.settings["builder options"] = engines.options_text(sidecar.options)
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        with self._timed("deserialisation"):
            self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._failure("it was not opened")
        configs = [self._kernel_config(path.with_suffix(".kernels"))] if hasattr(trt, "IRuntimeCache") else []
        with self._timed("context"):
            self._context = self._engine.create_execution_context(*configs)
        if self._context is None:
            raise self._failure("no execution context could be made")
        self._input_name, self._input_shape, self._input_type = self._tensor(trt.TensorIOMode.INPUT)
        self._output_name, self._output_shape, self._output_type = self._tensor(trt.TensorIOMode.OUTPUT)
        if self._input_shape[0] != self._batch:
            other = path.with_name(re.sub(r"-b\d+$", f"-b{self._batch}", path.stem) + ".engine")
            remedy = engines.build_command(other, sidecar, options=f" --gpu {quote(sidecar.gpu)} --flavour {flavour}")
            raise StoreError(f"{path} takes batches of {self._input_shape[0]}, not of {self._batch}. Run: {remedy}")

    def _tensor(self, mode: Any) -> tuple[str, tuple[int, ...], Any]:
        """Name, shape and type of the only input or output."""
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        found = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        if len(found) != 1:
            raise RunError(f"{self._error}: it has {len(found)} tensors of kind {mode.name}; a classifier has one")
        shape, dtype = tuple(self._engine.get_tensor_shape(found[0])), self._engine.get_tensor_dtype(found[0]).name
        if -1 in shape or dtype not in DTYPES:
            raise RunError(f"{self._error}: {found[0]} is {dtype} {list(shape)}, not FLOAT or HALF of a fixed shape")
        return found[0], shape, DTYPES[dtype]

    def _make_buffers(self, event_flags: int) -> None:
        """Make the stream, the events and the buffers of images and logits."""
        self._stream = drv.Stream(cuda.NON_BLOCKING)
        self._started, self._uploaded, self._computed, self._finished = (drv.Event(event_flags) for _ in range(4))
        host_array = drv.pagelocked_empty if self._pinned else np.empty
        self._images = host_array(self._input_shape, self._input_type)
        self._logits = host_array(self._output_shape, self._output_type)
        self._images[:] = 0
        self._input = drv.mem_alloc(self._images.nbytes)
        self._output = drv.mem_alloc(self._logits.nbytes)
        for name, address in {self._input_name: int(self._input), self._output_name: int(self._output)}.items():
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"the address of {name} was refused")

    def _capture(self, *, fallback: bool) -> Callable[[], None]:
        """A function that launches the computation as a CUDA graph, or one that enqueues it where it cannot be captured."""
        try:
            graph = self._resources.enter_context(cuda.captured_graph(self._stream.handle, self._enqueue))
        except (RunError, MemoryError) as error:
            if not fallback:
                raise RunError(f"{self._error} as a CUDA graph: {error}. To measure without: --cuda-graph off") from error
            self._enqueue()  # the engine must still run
            self._stream.synchronize()
            self.settings["cuda graph"] = f"off: {error}"
            return self._enqueue
        self.settings["cuda graph"] = "on"
        return graph

    # --- TensorRT-RTX compiles kernels when it makes a context; a file beside the engine keeps them and the time it took ---

    def _kernel_config(self, path: Path) -> Any:
        """The configuration of a context that uses the kernels of the file, if it is intact and of this engine."""
        self._config = self._engine.create_runtime_config()
        self._kernels = self._config.create_runtime_cache()
        data = b""
        with suppress(OSError):
            data = path.read_bytes()
        seal, seconds, kernels = data[:32], data[32:40], data[40:]
        intact = seal == self._seal(seconds, kernels) and self._kernels.deserialize(kernels)
        self.settings["kernel cache"] = "used" if intact else "new"
        if intact:
            (self._seconds["compilation"],) = struct.unpack("<d", seconds)
        self._config.set_runtime_cache(self._kernels)
        return self._config

    def _save_kernels(self, path: Path) -> None:
        if self.settings.get("kernel cache") != "new":
            return
        self._seconds["compilation"] = self._seconds["context"]
        seconds, kernels = struct.pack("<d", self._seconds["compilation"]), bytes(self._kernels.serialize() or b"")
        try:
            with replacing(path) as work:
                (work / path.name).write_bytes(self._seal(seconds, kernels) + seconds + kernels)
        except StoreError as error:
            self.settings["kernel cache"] = f"not kept: {error}"

    def _seal(self, seconds: bytes, kernels: bytes) -> bytes:
        """A hash of the engine, the time to compile its kernels, and the kernels."""
        return hashlib.sha256(b"2" + self._plan_sha256.encode() + seconds + kernels).digest()


tensorrt = partial(Session, flavour="tensorrt")
rtx = partial(Session, flavour="rtx")
