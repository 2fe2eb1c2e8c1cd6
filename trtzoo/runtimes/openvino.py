"""OpenVINO on the CPU, quantized graphs in integers, others in float32: its default may be bfloat16, another precision."""

from pathlib import Path

import numpy as np
import openvino

from trtzoo.core.arrays import Array
from trtzoo.core.system import available_cores
from trtzoo.runtimes.host_timed import HostSession, float32_settings, int8_settings


class Session(HostSession):
    """One ONNX file, compiled for one batch. Input and output keep their place between samples."""

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        self.threads = threads or available_cores()
        core = openvino.Core()
        model = core.read_model(path)
        (source,) = model.inputs
        _, *rest = source.get_partial_shape()
        model.reshape([batch, *(dimension.get_length() for dimension in rest)])
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": self.threads}
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        self._compute = self._request.infer
        self._type = self._request.get_input_tensor().data.dtype.type
        self.settings = int8_settings(path) or float32_settings(path)
        self.versions = {"openvino": openvino.__version__.split("-")[0]}

    def infer(self, images: Array) -> Array:
        self._request.get_input_tensor().data[:] = images
        self._compute()
        return np.array(self._request.get_output_tensor().data, np.float32)
