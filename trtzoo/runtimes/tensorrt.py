"""An engine of either TensorRT runs: buffers made once, one stream, and an event pair around each copy and the computation.

A resource lives in an attribute and nowhere else, so that dropping the attribute frees it: at the end, or after an error at any
point, all go in the reverse of the order they came, before the context is given back. A local variable would not do: an
error's traceback keeps it alive.
"""

import hashlib
import importlib
import re
import time
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
from trtzoo.runtimes.trt_logger import logged_errors, make_logger

DTYPES = {"FLOAT": np.float32, "HALF": np.float16}


class Session:
    """One engine at its batch on one GPU, in the thread that opened it.

    cuda_graph  launch the computation as a CUDA graph; where it cannot be captured, `settings` says why and it is enqueued
    transfers   a sample copies the images to the GPU and the logits back; without, both stay there and only compute is timed
    pinned      copies are to and from pinned memory; without, pageable
    rotate      computation goes round through so many copies of the images that the L2 cache does not hold them

    Raises StoreError for an engine that is not for this GPU, TensorRT and batch, MachineError where they are missing, RunError
    in TensorRT's or the driver's words for one that cannot be run, and MemoryError.
    """

    versions: dict[str, str]
    threads = 1
    settings: dict[str, str]

    _log: Any
    _runtime: Any
    _engine: Any
    _config: Any  # of TensorRT-RTX
    _kernels: Any
    _context: Any
    _stream: Any
    _begun: Any  # events
    _copied: Any
    _computed: Any
    _done: Any
    _images: Any  # on the host
    _logits: Any
    _inputs: Any  # on the device, one for each turn
    _output: Any
    _graphs: Any

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
        self.batch, self.transfers, self._pinned, self._turn = batch, transfers, pinned, 0
        self._doing = f"{path.name} cannot be run"
        self.settings = {"transfers": "on" if transfers else "off", "host memory": "pinned" if pinned else "pageable"}
        self._resources = ExitStack()
        try:
            gpu = self._resources.enter_context(cuda.primary_context(device))
            self._load(path, flavour, gpu)
            self._allocate(sets=2 + gpu.l2 // self._size if rotate else 1)
            self._warm(cuda_graph)
            self._keep_kernels(path)
        except drv.Error as error:
            self.close()
            raise cuda.explained(error, self._doing) from error
        except BaseException:
            self.close()
            raise

    def infer(self, images: Array) -> Array:
        """Images (batch, 3, S, S) → logits (batch, classes), in the engine's types, by the very work that `sample` times."""
        if images.shape != self._images.shape:
            raise RunError(f"{self._doing} on images of shape {images.shape}: it takes {self._images.shape}")
        try:
            if self._pinned:
                self._images[:] = images
            else:
                self._images = np.ascontiguousarray(images, self._input_type)
            for turn in range(len(self._inputs)):
                drv.memcpy_htod_async(self._inputs[turn], self._images, self._stream)
            drv.memset_d8_async(self._output, 0xFF, self._logits.nbytes, self._stream)  # NaN: old logits pass for none
            self._launch()
            drv.memcpy_dtoh_async(self._logits, self._output, self._stream)
            self._stream.synchronize()
            return self._logits.copy()  # type: ignore[no-any-return]
        except drv.Error as error:
            raise cuda.explained(error, self._doing) from error

    def sample(self) -> Sample:
        """One timed inference. `total`: host clock until the last result is there; copies and compute: between events on the
        GPU; `enqueue`: host clock around the launch."""
        try:
            return self._end_to_end() if self.transfers else self._resident()
        except drv.Error as error:
            raise cuda.explained(error, self._doing) from error

    def close(self) -> None:
        """Free everything; once is enough. What waits on the stream is awaited first."""
        with suppress(drv.Error, AttributeError):
            self._stream.synchronize()
        self._resources.close()

    # --- one inference ---

    def _end_to_end(self) -> Sample:
        begin = time.perf_counter()
        self._begun.record(self._stream)
        drv.memcpy_htod_async(self._inputs[self._turn], self._images, self._stream)
        self._copied.record(self._stream)
        before = time.perf_counter()
        self._launch()
        enqueue = time.perf_counter() - before
        self._computed.record(self._stream)
        drv.memcpy_dtoh_async(self._logits, self._output, self._stream)
        self._done.record(self._stream)
        self._done.synchronize()
        return Sample(
            total=time.perf_counter() - begin,
            compute=self._copied.time_till(self._computed) * 1e-3,
            h2d=self._begun.time_till(self._copied) * 1e-3,
            d2h=self._computed.time_till(self._done) * 1e-3,
            enqueue=enqueue,
        )

    def _resident(self) -> Sample:
        begin = time.perf_counter()
        self._begun.record(self._stream)
        before = time.perf_counter()
        self._launch()
        enqueue = time.perf_counter() - before
        self._done.record(self._stream)
        self._done.synchronize()
        total = time.perf_counter() - begin
        return Sample(total=total, compute=self._begun.time_till(self._done) * 1e-3, enqueue=enqueue)

    def _launch(self) -> None:
        """Enqueue one computation, of the images whose turn it is."""
        turn = self._turn
        self._turn = (turn + 1) % len(self._inputs)
        if self._graphs:
            self._graphs[turn].launch()
        else:
            self._enqueue(turn)

    def _enqueue(self, turn: int) -> None:
        if len(self._inputs) > 1:
            self._context.set_tensor_address(self._input_name, int(self._inputs[turn]))
        if not self._context.execute_async_v3(self._stream.handle):
            raise self._refused("the computation was not enqueued")

    def _refused(self, what: str) -> Exception:
        """What TensorRT did not do, and why: for want of memory, or else."""
        words = logged_errors(self._log)
        kind = MemoryError if re.search("out of memory|could not be allocated", words, re.IGNORECASE) else RunError
        return kind(f"{self._doing}: {what}. {words}")

    # --- opening ---

    def _own(self, **resource: Any) -> None:
        """Hold a resource in an attribute, which is dropped when its turn comes."""
        for name, value in resource.items():
            setattr(self, name, value)
            self._resources.callback(delattr, self, name)

    def _load(self, path: Path, flavour: str, gpu: cuda.CudaGpu) -> None:
        """Open the engine, and learn its input and output."""
        trt = _module(flavour)
        self.versions = {trt.__name__: trt.__version__} | cuda.versions()
        plan, sidecar = engines.load_plan(path, flavour=flavour, version=trt.__version__, sm=gpu.sm, device=gpu.name)
        self._plan = hashlib.sha256(plan).hexdigest()
        self._own(_log=make_logger(trt))
        self._own(_runtime=trt.Runtime(self._log))
        self._own(_engine=self._runtime.deserialize_cuda_engine(plan))
        if self._engine is None:
            raise self._refused("it was not opened")
        if hasattr(trt, "IRuntimeCache"):
            self._configure(path)
            self._own(_context=self._engine.create_execution_context(self._config))
        else:
            self._own(_context=self._engine.create_execution_context())
        if self._context is None:
            raise self._refused("no execution context could be made")
        self._input_name, self._input_shape, self._input_type = self._tensor(trt.TensorIOMode.INPUT)
        self._output_name, self._output_shape, self._output_type = self._tensor(trt.TensorIOMode.OUTPUT)
        if self._input_shape[0] != self.batch:
            other = path.with_name(f"{sidecar.model}-{sidecar.precision}-b{self.batch}.engine")
            remedy = engines.build_command(other, sidecar, options=f" --gpu {sidecar.gpu} --flavour {flavour}")
            raise StoreError(f"{path} takes batches of {self._input_shape[0]}, not of {self.batch}. Run: {remedy}")
        self._size = int(np.prod(self._input_shape)) * np.dtype(self._input_type).itemsize

    def _tensor(self, mode: Any) -> tuple[str, tuple[int, ...], Any]:
        """Name, shape and type of the one input or output."""
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        found = [name for name in names if self._engine.get_tensor_mode(name) == mode]
        if len(found) != 1:
            raise RunError(f"{self._doing}: it has {len(found)} tensors of kind {mode.name}, and a classifier has one")
        shape, dtype = tuple(self._engine.get_tensor_shape(found[0])), self._engine.get_tensor_dtype(found[0]).name
        if -1 in shape or dtype not in DTYPES:
            raise RunError(f"{self._doing}: {found[0]} is {dtype} {list(shape)}, not FLOAT or HALF of a fixed shape")
        return found[0], shape, DTYPES[dtype]

    def _allocate(self, *, sets: int) -> None:
        """The stream, the events and every buffer."""
        self._own(_stream=drv.Stream(cuda.NON_BLOCKING))
        self._own(_begun=drv.Event(), _copied=drv.Event(), _computed=drv.Event(), _done=drv.Event())
        self._own(_images=cuda.host(self._input_shape, self._input_type, pinned=self._pinned))
        self._own(_logits=cuda.host(self._output_shape, self._output_type, pinned=self._pinned))
        self._images[:] = 0
        self._own(_inputs=[])
        for _ in range(sets):
            self._inputs.append(drv.mem_alloc(self._size))
        self._own(_output=drv.mem_alloc(self._logits.nbytes))
        self.settings["input copies"] = str(sets)

    def _warm(self, cuda_graph: bool) -> None:
        """One plain inference, in which TensorRT makes what it makes late; then a graph for each copy of the images."""
        for name, address in {self._input_name: int(self._inputs[0]), self._output_name: int(self._output)}.items():
            if not self._context.set_tensor_address(name, address):
                raise self._refused(f"the address of {name} was refused")
        self._own(_graphs=[])
        drv.memcpy_htod_async(self._inputs[0], self._images, self._stream)
        self._enqueue(0)
        self._stream.synchronize()
        self.settings["cuda graph"] = self._capture() if cuda_graph else "off"

    def _capture(self) -> str:
        """On, or why not: then those graphs that were made go, and each computation is enqueued anew."""
        mine = self._resources.enter_context(ExitStack())
        graphs = []
        try:
            for turn in range(len(self._inputs)):
                graphs.append(cuda.CudaGraph(self._stream.handle, partial(self._enqueue, turn)))
                mine.callback(graphs[-1].close)
        except (RunError, MemoryError) as error:
            mine.close()
            self._enqueue(0)  # which must still be possible
            self._stream.synchronize()
            return f"off: {error}"
        self._graphs = graphs
        return "on"

    # --- TensorRT-RTX compiles kernels when an engine is opened; they are kept beside the engine ---

    def _configure(self, path: Path) -> None:
        self._own(_config=self._engine.create_runtime_config())
        self._own(_kernels=self._config.create_runtime_cache())
        self.settings["kernel cache"] = "used" if self._known_kernels(path) else "new"
        self._config.set_runtime_cache(self._kernels)

    def _known_kernels(self, path: Path) -> bool:
        """Take the kernels of an earlier run: of this very engine, and whole."""
        try:
            data = kernels_path(path).read_bytes()
        except OSError:
            return False
        return data[:32] == self._seal(data[32:]) and bool(self._kernels.deserialize(data[32:]))

    def _keep_kernels(self, path: Path) -> None:
        if self.settings.get("kernel cache") != "new":
            return
        kernels = bytes(self._kernels.serialize() or b"")
        try:
            with replacing(kernels_path(path)) as work:
                (work / kernels_path(path).name).write_bytes(self._seal(kernels) + kernels)
        except StoreError as error:
            self.settings["kernel cache"] = f"not kept: {error}"

    def _seal(self, kernels: bytes) -> bytes:
        return hashlib.sha256(self._plan.encode() + kernels).digest()


def kernels_path(engine: Path) -> Path:
    """Where TensorRT-RTX's kernels for an engine are kept."""
    return engine.with_suffix(".kernels")


def _module(flavour: str) -> Any:
    row = FLAVOURS[flavour]
    try:
        return importlib.import_module(row.module)
    except ImportError as error:
        raise MachineError(f"{row.title} is not here ({error}). Run: pip install {row.install}") from error


tensorrt = partial(Session, flavour="tensorrt")
rtx = partial(Session, flavour="rtx")
