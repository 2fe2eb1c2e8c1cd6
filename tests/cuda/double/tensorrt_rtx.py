"""TensorRT-RTX's runtime, emulated: an engine's kernels are compiled when a context is made, and can be kept."""

from __future__ import annotations

import emulated_tensorrt
from emulated_tensorrt import DataType, IExecutionContext, ILogger, TensorIOMode, script

__version__ = "1.7.1.116"
__all__ = ["DataType", "IExecutionContext", "ILogger", "TensorIOMode", "script"]


class IRuntimeCache:
    def __init__(self) -> None:
        self.kernels = b""

    def deserialize(self, blob: bytes) -> bool:
        return blob.startswith(b"kernels of ") and script.fails != "deserialize"

    def serialize(self) -> memoryview:
        return memoryview(self.kernels)


class IRuntimeConfig:
    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


class ICudaEngine(emulated_tensorrt.ICudaEngine):
    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: IRuntimeConfig) -> IExecutionContext | None:
        runtime_config._cache.kernels = f"kernels of {self._plan['onnx']}".encode()
        return super().create_execution_context()


class Runtime(emulated_tensorrt.Runtime):
    _engine = ICudaEngine
