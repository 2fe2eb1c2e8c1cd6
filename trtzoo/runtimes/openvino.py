"""OpenVINO on the CPU: quantized graphs in integers, BF16 in BF16, others in float32, though its default may be BF16."""

from pathlib import Path

import numpy as np
import openvino

from trtzoo.core.arrays import Array
from trtzoo.core.errors import MachineError
from trtzoo.core.system import available_cores
from trtzoo.runtimes.host_timed import HostSession, bf16_settings, float32_settings, int8_settings


class Session(HostSession):
    """One ONNX file, compiled for one batch. Input and output keep their place between samples.

    Raises MachineError if a convolution of a BF16 graph would be computed in another type.
    """

    def __init__(self, path: Path, *, batch: int, threads: int = 0) -> None:
        self.threads = threads or available_cores()
        core = openvino.Core()
        model = core.read_model(path)
        (source,) = model.inputs
        _, *rest = source.get_partial_shape()
        model.reshape([batch, *(dimension.get_length() for dimension in rest)])
        half = bf16_settings(path)
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": self.threads}
        compiled = core.compile_model(model, "CPU", {**hints, "INFERENCE_PRECISION_HINT": "bf16" if half else "f32"})
        if half:
            _check_bf16(compiled, path)
        self._request = compiled.create_infer_request()
        self._compute = self._request.infer
        self._type = self._request.get_input_tensor().data.dtype.type
        self.settings = int8_settings(path) or half or float32_settings(path)
        self.versions = {"openvino": _version()}

    def infer(self, images: Array) -> Array:
        self._request.get_input_tensor().data[:] = images
        self._compute()
        return np.array(self._request.get_output_tensor().data, np.float32)


def _version() -> str:
    return str(openvino.__version__).split("-")[0]


def _check_bf16(compiled: openvino.CompiledModel, path: Path) -> None:
    """Raise MachineError unless all convolutions compute in BF16, by OpenVINO's own report."""
    facts = [
        {key: node.rt_info[key].astype(str) for key in ("layerType", "runtimePrecision")}
        for node in compiled.get_runtime_model().get_ops()
    ]
    kinds = [fact["runtimePrecision"] for fact in facts if fact["layerType"] == "Convolution"]
    if other := [kind for kind in kinds if kind != "bf16"]:
        raise MachineError(
            f"OpenVINO {_version()} would compute {len(other)} of {len(kinds)} convolutions of {path} in {other[0]} on this "
            "processor. Use --precision fp32"
        )
