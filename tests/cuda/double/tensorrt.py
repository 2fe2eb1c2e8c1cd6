"""TensorRT, emulated: its runtime and its builder."""

from importlib import metadata

from emulated_builder import (
    Builder,
    BuilderFlag,
    IProgressMonitor,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParser,
    ProfilingVerbosity,
)
from emulated_tensorrt import DataType, ICudaEngine, IExecutionContext, ILogger, Runtime, TensorIOMode, script

try:
    __version__ = metadata.version("tensorrt-cu12").partition("+")[0]  # in a rehearsal's box
except metadata.PackageNotFoundError:
    __version__ = "10.13.2.6"

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "ICudaEngine",
    "IExecutionContext",
    "ILogger",
    "IProgressMonitor",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "script",
]
