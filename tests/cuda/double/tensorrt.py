"""TensorRT, emulated: its runtime and its builder, of the version of the installed package or TRTZOO_EMULATED_TENSORRT."""

import os
from importlib import metadata

from emulated_builder import LayerInformationFormat, MemoryPoolType, OnnxParser, ProfilingVerbosity
from emulated_tensorrt import DataType, ICudaEngine, IExecutionContext, ILogger, Runtime, TensorIOMode, script

try:
    __version__ = os.environ.get("TRTZOO_EMULATED_TENSORRT") or metadata.version("tensorrt-cu12").partition("+")[0]
except metadata.PackageNotFoundError:  # outside of a rehearsal's box
    __version__ = "10.13.2.6"

if __version__.startswith("8."):
    from emulated_builder8 import Builder, BuilderFlag, ILayer, NetworkDefinitionCreationFlag
else:
    from emulated_builder import Builder, BuilderFlag, ILayer, IProgressMonitor, NetworkDefinitionCreationFlag

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "ICudaEngine",
    "IExecutionContext",
    "ILayer",
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
