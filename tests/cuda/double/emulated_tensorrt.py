"""A double of TensorRT's runtime: its classes with the methods that trtzoo uses, on the emulated driver.

A plan is JSON that names an ONNX file. ONNX Runtime computes it in a host function on the stream, in the memory at the tensors'
addresses. As in TensorRT, the engine and its context hold device memory, and the first enqueue allocates more. So both must be
made and dropped while a CUDA context is current, and a capture must follow a plain enqueue.

TRTZOO_EMULATED_ERROR is added to all logits, as a share of the largest: kernels that round more, or a wrong engine.
"""

from __future__ import annotations

import ctypes
import json
import os
from collections.abc import Callable
from enum import Enum, IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime

_driver = ctypes.CDLL("libcuda.so.1")
_driver.emulated_room.restype = ctypes.c_size_t
_HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

script = SimpleNamespace(fails="", allocates=False)
"""Tests set the method that fails and whether every enqueue allocates memory. A plan has what is warned of, in `warns`."""


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2

    ERROR = Severity.ERROR
    WARNING = Severity.WARNING

    def __init__(self) -> None:
        pass


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    FLOAT = "tensor(float)"
    HALF = "tensor(float16)"
    BF16 = "tensor(bfloat16)"


class _Memory:
    """Device memory that is freed with its owner."""

    def __init__(self, size: int) -> None:
        self.address = ctypes.c_uint64()
        status = _driver.cuMemAlloc_v2(ctypes.byref(self.address), ctypes.c_size_t(size))
        self.made = status == 0

    def __del__(self) -> None:
        if self.made:
            _driver.cuMemFree_v2(self.address)


class _Part:
    """The base of all classes: the logger, and the failures of the script."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def _fails(self, method: str, why: str = "the script says so") -> bool:
        if script.fails != method and why == "the script says so":
            return False
        self._logger.log(ILogger.ERROR, f"{method}: {why}")
        return True


class Runtime(_Part):
    _engine: Any

    def __init__(self, logger: Any) -> None:
        super().__init__(logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        if self._fails("deserialize_cuda_engine"):
            return None
        plan = json.loads(serialized_engine)
        lazy = ["CUDA lazy loading is not enabled."] if os.environ.get("CUDA_MODULE_LOADING") == "EAGER" else []
        for warning in (*lazy, *plan.get("warns", ())):
            self._logger.log(ILogger.WARNING, warning)
        memory = _Memory(4096)
        if not memory.made:
            self._fails("deserialize_cuda_engine", "CUDA error: out of memory")
            return None
        return self._engine(self._logger, plan, memory)


class ICudaEngine(_Part):
    def __init__(self, logger: Any, plan: dict[str, Any], memory: _Memory) -> None:
        super().__init__(logger)
        self._memory, self._plan = memory, plan
        model = onnx.load(plan["onnx"])
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = plan["batch"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._modes = {each.name: TensorIOMode.INPUT for each in inputs} | {each.name: TensorIOMode.OUTPUT for each in outputs}
        self._tensors = {each.name: each for each in (*inputs, *outputs)}

    @property
    def device_memory_size_v2(self) -> int:
        return 8192

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._modes[name]

    def get_tensor_shape(self, name: str) -> list[int]:
        return self._plan.get("shapes", {}).get(name) or self._tensors[name].shape

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._plan.get("types", {}).get(name) or self._tensors[name].type)

    def create_engine_inspector(self) -> IEngineInspector:
        return IEngineInspector(self._plan)

    def create_execution_context(self) -> IExecutionContext | None:
        if self._fails("create_execution_context"):
            return None
        memory = _Memory(8192)
        if not memory.made:
            self._fails("create_execution_context", "Requested amount of GPU memory (8192 bytes) could not be allocated")
            return None
        return IExecutionContext(self, memory)


Runtime._engine = ICudaEngine


class IEngineInspector:
    """It has a layer for each node of the graph, with the type of the graph's weights or, if the plan names it, FP32."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._graph, self._single = onnx.load(plan["onnx"]).graph, plan.get("fp32", ())

    def get_engine_information(self, format: Any) -> str:
        half = any(each.data_type == onnx.TensorProto.FLOAT16 for each in self._graph.initializer)
        layers = []
        for node in self._graph.node:
            outputs = [{"Format/Datatype": f"Row major linear {'FP16' if half and node.name not in self._single else 'FP32'}"}]
            layers.append({"Name": node.name, "LayerType": node.op_type, "Outputs": outputs})
        return json.dumps({"Layers": layers})


class IExecutionContext(_Part):
    def __init__(self, engine: ICudaEngine, memory: _Memory) -> None:
        super().__init__(engine._logger)
        self._engine, self._memory, self._late = engine, memory, []
        self._addresses: dict[str, int] = {}
        self._functions: dict[tuple[int, ...], Any] = {}

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return name in self._engine._tensors and not self._fails("set_tensor_address")

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._fails("execute_async_v3"):
            return False
        if not self._late or script.allocates:
            self._late.append(_Memory(256))
            if not self._late[-1].made:
                return not self._fails("execute_async_v3", "memory could not be allocated")
        for name in self._engine._tensors:
            if _driver.emulated_room(ctypes.c_size_t(self._addresses.get(name, 0))) < self._bytes(name):
                return not self._fails("execute_async_v3", f"the buffer of {name} is too small, or not the device's")
        key = tuple(self._addresses[name] for name in self._engine._tensors)
        if key not in self._functions:
            self._functions[key] = _HOST_FUNCTION(self._computation(dict(self._addresses)))
        status = _driver.cuLaunchHostFunc(ctypes.c_void_p(stream_handle), self._functions[key], None)
        return not (status and self._fails("execute_async_v3", f"CUDA error {status}"))

    def _computation(self, addresses: dict[str, int]) -> Callable[[Any], None]:
        """Read the inputs at their addresses, run ONNX Runtime, and write the outputs to theirs."""
        off = float(os.environ.get("TRTZOO_EMULATED_ERROR", "0"))
        session, arrays = self._engine._session, {name: self._array(name, at) for name, at in addresses.items()}
        inputs = {name: array for name, array in arrays.items() if self._engine._modes[name] is TensorIOMode.INPUT}
        outputs = [name for name in arrays if name not in inputs]

        def compute(_: Any) -> None:
            for name, value in zip(outputs, session.run(outputs, inputs), strict=True):
                arrays[name][:] = value + off * np.abs(value).max() if off else value

        return compute

    def _array(self, name: str, address: int) -> np.ndarray[Any, Any]:
        memory = (ctypes.c_char * self._bytes(name)).from_address(address)
        return np.frombuffer(memory, self._dtype(name)).reshape(self._engine._tensors[name].shape)

    def _bytes(self, name: str) -> int:
        return int(np.prod(self._engine._tensors[name].shape)) * np.dtype(self._dtype(name)).itemsize

    def _dtype(self, name: str) -> type[np.floating[Any]]:
        return np.float16 if "float16" in self._engine._tensors[name].type else np.float32
