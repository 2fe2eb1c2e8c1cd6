"""ONNX Runtime: on the CPU, and on a GPU by its CUDA or TensorRT provider."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError
from trtzoo.core.files import load_sidecar
from trtzoo.core.records import Sample
from trtzoo.core.system import available_cores
from trtzoo.runtimes.host_timed import Staged, forbid_tf32

Providers = list[str | tuple[str, dict[str, Any]]]


class Session:
    """One ONNX file; input and output stay where they are between samples."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads = threads or available_cores()
        self._session = _open(path, options, ["CPUExecutionProvider"])
        self._input, self._type = _input(self._session)
        self._images: dict[str, Array] = {}
        self.batch = batch
        self.settings: dict[str, str] = {}
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def infer(self, images: Array) -> Array:
        self._images = {self._input: images.astype(self._type)}
        return np.asarray(self._session.run(None, self._images)[0])

    def sample(self) -> Sample:
        start = time.perf_counter()
        self._session.run(None, self._images)
        total = time.perf_counter() - start
        return Sample(total=total, compute=total)

    def close(self) -> None:
        del self._session


class OnDevice(Staged):
    """One ONNX file by the first of `providers`; images and logits are bound to memory of `memory` ("cuda").

    No node falls back to the processor. Raises MachineError where the provider is not there or does not take the whole
    network, and MemoryError. It has no pinned memory to offer: `pinned` is taken and not heeded.
    """

    def __init__(
        self, path: Path, *, batch: int, providers: Providers, memory: str, device: int = 0, transfers: bool, pinned: bool
    ) -> None:
        super().__init__(transfers=transfers, pinned=False)
        name = str(providers[0][0] if isinstance(providers[0], tuple) else providers[0])
        if name not in onnxruntime.get_available_providers():
            raise MachineError(
                f"ONNX Runtime {onnxruntime.__version__} here has no {name}. "
                "Run: pip uninstall onnxruntime onnxruntime-gpu; pip install 'trtzoo[gpu]'"
            )
        options = onnxruntime.SessionOptions()
        if memory != "cpu":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        self._session = _open(path, options, providers)
        if self._session.get_providers()[0] != name:
            raise MachineError(f"ONNX Runtime {onnxruntime.__version__} cannot use its {name}. What is here: trtzoo doctor")
        source, self._type = _input(self._session)
        (logits,) = self._session.get_outputs()
        images = np.zeros((batch, *self._session.get_inputs()[0].shape[1:]), self._type)
        self._blank = np.full((batch, *logits.shape[1:]), np.nan, _type(logits))
        self._source, self._result = (
            onnxruntime.OrtValue.ortvalue_from_numpy(array, memory, device) for array in (images, self._blank.copy())
        )
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(source, self._source)
        self._binding.bind_ortvalue_output(logits.name, self._result)
        self.versions = {"onnxruntime": onnxruntime.__version__}
        self.settings["provider"] = name

    def close(self) -> None:
        del self._binding, self._source, self._result, self._session

    def infer(self, images: Array) -> Array:
        self._result.update_inplace(self._blank)  # NaN: old logits pass for none
        return super().infer(images.astype(self._type))

    def _put(self, images: Array) -> None:
        self._source.update_inplace(images)

    def _run(self) -> None:
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            if _full(error):
                raise MemoryError(str(error)) from error
            raise
        self._binding.synchronize_outputs()

    def _get(self) -> Array:
        return np.asarray(self._result.numpy())


def cuda(path: Path, *, device: int = 0, tf32: bool = False, **rest: Any) -> OnDevice:
    """A session of the CUDA provider."""
    return _on_gpu(path, [_cuda(device, tf32)], device=device, tf32=tf32, **rest)


def tensorrt(path: Path, *, device: int = 0, tf32: bool = False, **rest: Any) -> OnDevice:
    """A session of the TensorRT provider, which builds its engines when it is opened; what TensorRT does not take is CUDA's."""
    half = load_sidecar(path, OnnxSidecar).precision == "fp16"
    first = ("TensorrtExecutionProvider", {"device_id": device, "trt_fp16_enable": half})
    return _on_gpu(path, [first, _cuda(device, tf32)], device=device, tf32=tf32, **rest)


def _cuda(device: int, tf32: bool) -> tuple[str, dict[str, Any]]:
    return "CUDAExecutionProvider", {"device_id": device, "use_tf32": int(tf32)}


def _on_gpu(
    path: Path, providers: Providers, *, tf32: bool, transfers: bool = True, pinned: bool = True, **rest: Any
) -> OnDevice:
    if not tf32:
        forbid_tf32()
    if hasattr(onnxruntime, "preload_dlls"):  # CUDA's and cuDNN's libraries, where pip has put them
        onnxruntime.preload_dlls()
    return OnDevice(path, providers=providers, memory="cuda", transfers=transfers, pinned=pinned, **rest)


def _open(path: Path, options: Any, providers: Providers) -> Any:
    """Raises MachineError in ONNX Runtime's words, and MemoryError."""
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no class in common
        if _full(error):
            raise MemoryError(str(error)) from error
        raise MachineError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error


def _full(error: Exception) -> bool:
    """Whether it is a GPU without room, which ONNX Runtime tells by the text alone."""
    return any(words in str(error) for words in ("out of memory", "Failed to allocate memory", "CUDNN_STATUS_ALLOC_FAILED"))


def _input(session: Any) -> tuple[str, Any]:
    """The one input's name and type."""
    (value,) = session.get_inputs()
    return value.name, _type(value)


def _type(value: Any) -> Any:
    return np.float16 if "float16" in value.type else np.float32
