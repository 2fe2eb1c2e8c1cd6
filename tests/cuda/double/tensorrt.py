"""TensorRT's runtime, emulated."""

from emulated_tensorrt import DataType, ICudaEngine, IExecutionContext, ILogger, Runtime, TensorIOMode, script

__version__ = "10.13.2.6"
__all__ = ["DataType", "ICudaEngine", "IExecutionContext", "ILogger", "Runtime", "TensorIOMode", "script"]
