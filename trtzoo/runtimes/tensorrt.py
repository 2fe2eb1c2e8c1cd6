"""Runs an engine of either TensorRT flavour, with buffers made once, one stream, and CUDA events around each stage.

Each resource lives in one attribute, and dropping the attribute frees it. At the end, or after any error, all attributes made
since the context are dropped in the reverse order of their creation, before it is released. Resources must not be held in
local variables, which an error's traceback would keep alive.
"""

import hashlib
import importlib
import itertools
import re
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trtzoo.artifacts import engines
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError, RunError, StoreError
from trtzoo.core.files import replacing
from trtzoo.core.records import Sample
from trtzoo.hardware.gpus import FLAVOURS
from trtzoo.runtimes import cuda
from trtzoo.runtimes.cuda import drv
from trtzoo.runtimes.trt_logger import make_logger

DTYPES = {"FLOAT": np.float32, "HALF": np.float16}


class Session:
    """One engine at its batch on one GPU, in the thread that opened it.

    cuda_graph  launch the computation as a CUDA graph; if it cannot be captured, it is enqueued and `settings` says why
    transfers   include in a sample the copies of images and logits; without, both stay on the GPU and only compute is timed
    pinned      copy from and to pinned memory, else pageable
    rotate      cycle through enough copies of the images to exceed the L2 cache

    Raises StoreError for an engine of another GPU, TensorRT or batch, MachineError without a GPU or TensorRT, RunError with
    TensorRT's or the driver's message for an engine that does not run, and MemoryError.
    """

    threads = 1
    _images: Array
    _logits: Array
    _output: Any

    def __init__(
        self,
        path: Path,
        *,
        batch: int,
        flavour: str,
        device: int = 0,
        cuda_graph: bool = True,
        transfers: bool = True,
        pinned: bool = True,
        rotate: bool = False,
    ) -> None:
        self._batch, self._transfers, self._pinned = batch, transfers, pinned
        self._error = f"{path.name} cannot be run"
        self.settings = {"transfers": "on" if transfers else "off", "host memory": "pinned" if pinned else "pageable"}
        self.versions: dict[str, str] = {}
        self._resources = ExitStack()
        try:
            with cuda.translated_errors(self._error):
                gpu = self._resources.enter_context(cuda.primary_context(device))
                self._resources.callback(self._free, len(vars(self)))
                self._load(path, flavour, gpu)
                copies = 2 + gpu.get_attribute(drv.device_attribute.L2_CACHE_SIZE) // self._size if rotate else 1
                self._prepare(copies=copies, cuda_graph=cuda_graph)
                self._save_kernels(path.with_suffix(".kernels"))
        except BaseException:
            self.close()
            raise

    def infer(self, images: Array) -> Array:
        """Images (batch, 3, S, S) → logits (batch, classes), in the engine's types, by the same calls that `sample` times."""
        if images.shape != self._images.shape:
            raise RunError(f"{self._error} on images of shape {images.shape}: it takes {self._images.shape}")
        with cuda.translated_errors(self._error):
            if self._pinned:
                self._images[:] = images
            else:
                self._images = np.ascontiguousarray(images, self._input_type)
            for address, _ in self._turns:
                drv.memcpy_htod_async(address, self._images, self._stream)
            drv.memset_d8_async(self._output, 0xFF, self._logits.nbytes, self._stream)  # NaN, so that no old logits pass
            _, launch = next(self._next_turn)
            launch()
            drv.memcpy_dtoh_async(self._logits, self._output, self._stream)
            self._stream.synchronize()
            return self._logits.copy()

    def sample(self) -> Sample:
        """Time one inference in seconds: `total` and `enqueue` by the host's clock, copies and compute by events on the GPU."""
        address, launch = next(self._next_turn)
        with cuda.translated_errors(self._error):
            start = time.perf_counter()
            self._started.record(self._stream)
            if self._transfers:
                drv.memcpy_htod_async(address, self._images, self._stream)
                self._uploaded.record(self._stream)
            before = time.perf_counter()
            launch()
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

    def _enqueue(self, images: int) -> None:
        """Enqueue one computation on the copy of the images at this address."""
        if len(self._inputs) > 1:
            self._context.set_tensor_address(self._input_name, images)
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
        self._plan_sha256 = sidecar.sha256
        if sidecar.options:
            self.settings["builder options"] = engines.options_text(sidecar.options)
        self._logger = make_logger(trt)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise self._failure("it was not opened")
        if hasattr(trt, "IRuntimeCache"):
            self._config = self._engine.create_runtime_config()
            self._kernels = self._config.create_runtime_cache()
            data = b""
            with suppress(OSError):
                data = path.with_suffix(".kernels").read_bytes()
            intact = data[:32] == self._seal(data[32:]) and self._kernels.deserialize(data[32:])
            self.settings["kernel cache"] = "used" if intact else "new"
            self._config.set_runtime_cache(self._kernels)
            self._context = self._engine.create_execution_context(self._config)
        else:
            self._context = self._engine.create_execution_context()
        if self._context is None:
            raise self._failure("no execution context could be made")
        self._input_name, self._input_shape, self._input_type = self._tensor(trt.TensorIOMode.INPUT)
        self._output_name, self._output_shape, self._output_type = self._tensor(trt.TensorIOMode.OUTPUT)
        if self._input_shape[0] != self._batch:
            other = path.with_name(f"{sidecar.model}-{sidecar.precision}-b{self._batch}.engine")
            remedy = engines.build_command(other, sidecar, options=f" --gpu {sidecar.gpu} --flavour {flavour}")
            raise StoreError(f"{path} takes batches of {self._input_shape[0]}, not of {self._batch}. Run: {remedy}")
        self._size = int(np.prod(self._input_shape)) * np.dtype(self._input_type).itemsize

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

    def _prepare(self, *, copies: int, cuda_graph: bool) -> None:
        """Make the stream, the events and every buffer, with this number of copies of the images, and a graph for each copy.

        TensorRT makes its last allocations in a first inference, before the graphs are captured.
        """
        self._stream = drv.Stream(cuda.NON_BLOCKING)
        self._started, self._uploaded, self._computed, self._finished = (drv.Event() for _ in range(4))
        host_array = drv.pagelocked_empty if self._pinned else np.empty
        self._images = host_array(self._input_shape, self._input_type)
        self._logits = host_array(self._output_shape, self._output_type)
        self._images[:] = 0
        self._inputs: list[Any] = []
        for _ in range(copies):
            self._inputs.append(drv.mem_alloc(self._size))
        self._output = drv.mem_alloc(self._logits.nbytes)
        self.settings["input copies"] = str(copies)
        addresses = [int(images) for images in self._inputs]
        for name, address in {self._input_name: addresses[0], self._output_name: int(self._output)}.items():
            if not self._context.set_tensor_address(name, address):
                raise self._failure(f"the address of {name} was refused")
        drv.memcpy_htod_async(addresses[0], self._images, self._stream)
        self._enqueue(addresses[0])
        self._stream.synchronize()
        self.settings["cuda graph"] = "off"
        launches = [partial(self._enqueue, address) for address in addresses]
        self._turns = list(zip(addresses, self._capture(launches) if cuda_graph else launches, strict=True))
        self._next_turn = itertools.cycle(self._turns)

    def _capture(self, launches: Sequence[Callable[[], None]]) -> Sequence[Callable[[], None]]:
        """Capture each launch as a CUDA graph. If one cannot be captured, no graph is kept and `settings` says why."""
        stack = self._resources.enter_context(ExitStack())
        try:
            graphs = [stack.enter_context(cuda.captured_graph(self._stream.handle, launch)) for launch in launches]
        except (RunError, MemoryError) as error:
            stack.close()
            launches[0]()  # the engine must still run
            self._stream.synchronize()
            self.settings["cuda graph"] = f"off: {error}"
            return launches
        self.settings["cuda graph"] = "on"
        return graphs

    # --- TensorRT-RTX compiles kernels when it opens an engine; a file beside the engine keeps them ---

    def _save_kernels(self, path: Path) -> None:
        if self.settings.get("kernel cache") != "new":
            return
        kernels = bytes(self._kernels.serialize() or b"")
        try:
            with replacing(path) as work:
                (work / path.name).write_bytes(self._seal(kernels) + kernels)
        except StoreError as error:
            self.settings["kernel cache"] = f"not kept: {error}"

    def _seal(self, kernels: bytes) -> bytes:
        """A hash of the engine and its kernels."""
        return hashlib.sha256(self._plan_sha256.encode() + kernels).digest()


tensorrt = partial(Session, flavour="tensorrt")
rtx = partial(Session, flavour="rtx")
