"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from trtzoo.errors import MachineError
from trtzoo.spec import Sample

Array = np.ndarray[Any, Any]


class Session:
    """One ONNX file; input and output stay where they are between samples."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = self.threads = threads or len(os.sched_getaffinity(0))
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no class in common
            raise MachineError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
        (self._input,) = self._session.get_inputs()
        self._type = np.float16 if "float16" in self._input.type else np.float32
        self._images: dict[str, Array] = {}
        self.batch = batch
        self.settings: dict[str, str] = {}
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def infer(self, images: Array) -> Array:
        self._images = {self._input.name: images.astype(self._type)}
        return np.asarray(self._session.run(None, self._images)[0])

    def sample(self) -> Sample:
        start = time.perf_counter()
        self._session.run(None, self._images)
        total = time.perf_counter() - start
        return Sample(total=total, compute=total)

    def close(self) -> None:
        del self._session
