"""A double of TensorRT's builder: the classes and methods that trtzoo's build worker uses.

Its plan is JSON that names the ONNX file and the batch, which the double of the runtime opens. Types and layers are read
from the graph itself, so a graph of the wrong precision is noticed here, too.
"""

from __future__ import annotations

import ctypes
import json
import os
from enum import Enum, IntEnum
from typing import Any

import onnx
from emulated_tensorrt import ILogger

ELEMENTS = {onnx.TensorProto.FLOAT: "FLOAT", onnx.TensorProto.FLOAT16: "HALF", onnx.TensorProto.INT64: "INT64"}


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    TF32 = 1


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class ProfilingVerbosity(IntEnum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 1


class LayerInformationFormat(IntEnum):
    ONELINE = 0
    JSON = 1


class LayerType(Enum):
    CONVOLUTION = 0
    OTHER = 1


class IProgressMonitor:
    pass


class _Named:
    """Something with a name, as an enum's member has one."""

    def __init__(self, name: str) -> None:
        self.name = name


class ITensor:
    def __init__(self, name: str, dtype: str, shape: list[int]) -> None:
        self.name, self.dtype, self.shape = name, _Named(dtype), shape


class ILayer:
    def __init__(self, node: onnx.NodeProto, dtype: str) -> None:
        self.type = LayerType.CONVOLUTION if node.op_type == "Conv" else LayerType.OTHER
        self.name, self.num_outputs, self._output = node.name, 1, ITensor(node.output[0], dtype, [])

    def get_output(self, index: int) -> ITensor:
        return self._output


class INetworkDefinition:
    _layer = ILayer

    def __init__(self, flags: int) -> None:
        self.flags, self.path = flags, ""
        self._layers: list[ILayer] = []
        self._inputs: list[ITensor] = []
        self._outputs: list[ITensor] = []

    num_layers = property(lambda self: len(self._layers))
    num_inputs = property(lambda self: len(self._inputs))
    num_outputs = property(lambda self: len(self._outputs))

    def get_layer(self, index: int) -> ILayer:
        return self._layers[index]

    def get_input(self, index: int) -> ITensor:
        return self._inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self._outputs[index]

    def _read(self, path: str) -> None:
        graph = onnx.load(path).graph
        floats = {tensor.name: ELEMENTS.get(tensor.data_type, "") for tensor in graph.initializer}
        usual = next((kind for kind in floats.values() if kind in ("FLOAT", "HALF")), "FLOAT")
        self.path = path
        self._inputs = [_tensor(value) for value in graph.input]
        self._outputs = [_tensor(value) for value in graph.output]
        self._layers = [self._layer(node, _kind(node, usual)) for node in graph.node]


def _tensor(value: onnx.ValueInfoProto) -> ITensor:
    kind = value.type.tensor_type
    return ITensor(value.name, ELEMENTS[kind.elem_type], [dim.dim_value or -1 for dim in kind.shape.dim])


def _kind(node: onnx.NodeProto, usual: str) -> str:
    """A Cast gives the type it names, any other node the graph's."""
    target = next((attribute.i for attribute in node.attribute if attribute.name == "to"), None)
    return ELEMENTS[target] if node.op_type == "Cast" and target is not None else usual


class OnnxParser:
    num_errors = 0

    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._logger = network, logger

    def parse_from_file(self, model: str) -> bool:
        try:
            self._network._read(model)
        except Exception as error:
            self._logger.log(ILogger.ERROR, f"the file cannot be parsed: {type(error).__name__}")
            return False
        return True


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self._data = bytes(data)

    def combine(self, other: ITimingCache, ignore_mismatch: bool) -> bool:
        self._data = max(self._data, other._data)
        return True

    def serialize(self) -> bytes:
        return self._data or b"timings"


class IBuilderConfig:
    profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    progress_monitor: Any = None
    builder_optimization_level = 3
    avg_timing_iterations = 1
    max_aux_streams = 0

    def __init__(self) -> None:
        self.flags = {BuilderFlag.TF32}

    def set_memory_pool_limit(self, pool: MemoryPoolType, size: int) -> None:
        self.workspace = size

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags.discard(flag)

    def create_timing_cache(self, data: bytes) -> ITimingCache:
        return ITimingCache(data)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        return True


class Builder:
    """Like TensorRT, it makes the first GPU's primary context current, in which its engines can be opened."""

    _network = INetworkDefinition

    def __init__(self, logger: ILogger) -> None:
        self._logger = logger
        driver, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
        driver.cuInit(0)
        driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)
        driver.cuCtxSetCurrent(context)

    def create_network(self, flags: int) -> INetworkDefinition:
        return self._network(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> bytes | None:
        monitor = config.progress_monitor
        if monitor is not None:
            monitor.phase_start("Building engine", None, 2)
            if not all(monitor.step_complete("Building engine", step) for step in range(2)):
                return None
            monitor.phase_finish("Building engine")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")  # the GPU that this builds on is its first
        plan = {"onnx": network.path, "batch": network.get_input(0).shape[0], "built on": visible}
        return json.dumps(plan | {"level": config.builder_optimization_level, "streams": config.max_aux_streams}).encode()
