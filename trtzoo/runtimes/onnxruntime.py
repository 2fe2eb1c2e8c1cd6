"""ONNX Runtime: on the CPU, and on a GPU with its CUDA or TensorRT provider."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.artifacts.rounding import in_float32
from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError
from trtzoo.core.files import read_record, sidecar_path
from trtzoo.core.precisions import GRAPHS
from trtzoo.core.system import available_cores
from trtzoo.hardware.onnx_providers import CUDA, TENSORRT, load_libraries, provider_problem
from trtzoo.runtimes.host_timed import HostSession, StagedSession, int8_settings, memory_errors, set_tf32

WITHOUT_SATURATION = ("session.x64quantprecision", "1")
"""With AVX2 and without VNNI, sums of two products of INT8 and UINT8 have 16 bits, which overflow. This prevents it."""

Provider = tuple[str, dict[str, Any]]  # an execution provider's name and options


class Session(HostSession):
    """One ONNX file on the CPU. Input and output keep their place between samples.

    Unless `optimised`, every node is computed as it is, and so are those of graphs for GPUs alone: ONNX Runtime makes wrong
    graphs of Q/DQ nodes with scales in FP16, and it has no convolution in BF16, so that is rounded to after each node. `kind`
    is the graph's, in GRAPHS, where the file has no sidecar.
    """

    def __init__(self, path: Path, *, batch: int, threads: int = 0, optimised: bool = True, kind: str = "") -> None:
        options = onnxruntime.SessionOptions()
        graph = GRAPHS.get(kind or _kind(path), GRAPHS["fp32"])
        emulated = graph.floats == "bf16"
        if not optimised or emulated or (graph.quantized and graph.floats == "fp16"):
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry(*WITHOUT_SATURATION)
        options.intra_op_num_threads = self.threads = threads or available_cores()
        self._session = _open(path, options, [("CPUExecutionProvider", {})], emulated=emulated)
        (source,) = self._session.get_inputs()
        self._input, self._type = source.name, _type(source)
        self._images: dict[str, Array] = {}
        self.settings = {"arithmetic": "FP32, rounded to BF16"} if emulated else int8_settings(path)
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def infer(self, images: Array) -> Array:
        self._images = {self._input: self.prepare(images)}
        return np.asarray(self._compute()[0])

    def _compute(self) -> Any:
        return self._session.run(None, self._images)


class DeviceSession(StagedSession):
    """One ONNX file on the first of `providers`, with images and logits in `memory` ("cuda") of the device.

    No node falls back to the CPU. ONNX Runtime offers no pinned memory, so copies are pageable. Raises MachineError where
    the provider is missing or does not accept the whole network, MemoryError where the GPU's memory is full.
    """

    def __init__(
        self, path: Path, *, batch: int, providers: list[Provider], memory: str, device: int = 0, **staged: bool
    ) -> None:
        super().__init__(**staged | {"pinned": False})
        self.settings["provider"] = name = providers[0][0]
        self.versions = {"onnxruntime": onnxruntime.__version__}
        if name not in onnxruntime.get_available_providers():
            raise MachineError(f"ONNX Runtime {onnxruntime.__version__} here has no {name}. Run: trtzoo setup")
        options = onnxruntime.SessionOptions()
        if memory != "cpu":
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            self._session = _open(path, options, providers)
        except MachineError:
            _check_provider(name)
            raise
        if self._session.get_providers()[0] != name:
            _check_provider(name)
            raise MachineError(f"ONNX Runtime {onnxruntime.__version__} does not use its {name} for {path}.")
        (source,), (logits,) = self._session.get_inputs(), self._session.get_outputs()
        self._type = _type(source)
        self._blank = np.full((batch, *logits.shape[1:]), np.nan, _type(logits))
        images = np.zeros((batch, *source.shape[1:]), self._type)
        on_device = onnxruntime.OrtValue.ortvalue_from_numpy
        self._source, self._result = on_device(images, memory, device), on_device(self._blank.copy(), memory, device)
        self._binding = self._session.io_binding()
        self._binding.bind_ortvalue_input(source.name, self._source)
        self._binding.bind_ortvalue_output(logits.name, self._result)

    def infer(self, images: Array) -> Array:
        self._result.update_inplace(self._blank)  # NaN, so that logits of an earlier inference cannot pass for new ones
        return super().infer(self.prepare(images))

    def _upload(self, images: Array) -> None:
        self._source.update_inplace(images)

    def _compute(self) -> None:
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()

    def _download(self) -> Array:
        return np.asarray(self._result.numpy())


def cuda(
    path: Path, *, batch: int, device: int = 0, tf32: bool = False, with_tensorrt: bool = False, **staged: bool
) -> DeviceSession:
    """A session with the CUDA provider, with the options of StagedSession except `pinned`.

    `with_tensorrt` prefers the TensorRT provider, which builds its engines when it opens; CUDA runs what it does not accept.
    """
    set_tf32(tf32)
    load_libraries(onnxruntime, TENSORRT if with_tensorrt else CUDA)
    providers: list[Provider] = [(CUDA, {"device_id": device, "use_tf32": int(tf32)})]
    if with_tensorrt:
        half = read_record(sidecar_path(path), OnnxSidecar).precision == "fp16"
        providers.insert(0, (TENSORRT, {"device_id": device, "trt_fp16_enable": half}))
    return DeviceSession(path, batch=batch, providers=providers, memory="cuda", device=device, **staged)


tensorrt = partial(cuda, with_tensorrt=True)


def _check_provider(name: str) -> None:
    """Raise MachineError, with the reason, if a provider works for no network: ONNX Runtime's own error names another cause."""
    if problem := provider_problem(onnxruntime, name):
        raise MachineError(
            f"ONNX Runtime {onnxruntime.__version__} cannot use its {name}: {problem}. What fits this machine: trtzoo doctor"
        )


def _kind(path: Path) -> str:
    """The kind of an exported graph, in GRAPHS; empty for a file without a sidecar."""
    return read_record(sidecar_path(path), OnnxSidecar).precision if sidecar_path(path).is_file() else ""


def _open(path: Path, options: Any, providers: list[Provider], *, emulated: bool = False) -> Any:
    """Raises MemoryError, or MachineError where ONNX Runtime cannot load the file."""
    options.log_severity_level = 3
    try:
        with memory_errors():
            model = in_float32(onnx.load(path)).SerializeToString() if emulated else path
            return onnxruntime.InferenceSession(model, options, providers=providers)
    except MemoryError:
        raise
    except Exception as error:  # its errors have no common class
        raise MachineError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error


def _type(value: Any) -> Any:
    return np.float16 if "float16" in value.type else np.float32
