"""Where an FP16 or BF16 graph diverges from the FP32 graph of its network: the outputs of each block, by ONNX Runtime."""

import math
from itertools import accumulate
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from trtzoo.artifacts.blocks import node_blocks
from trtzoo.artifacts.rounding import in_float32
from trtzoo.core.arrays import Array
from trtzoo.core.errors import RunError
from trtzoo.core.system import available_cores
from trtzoo.verification.tolerances import Divergence, block_limit


def layer_divergences(fp32: Path, narrow: Path, images: Array, precision: str = "fp16") -> list[Divergence]:
    """Every block of two graphs of one network, in order; images (N, 3, S, S) float32. `precision` is that of `narrow`.

    Raises RunError if the graphs are of different networks or cannot run.
    """
    reference, other = _load(fp32), _load(narrow)
    outputs = blocks(reference.graph)
    if blocks(other.graph) != outputs:
        raise RunError(f"{narrow} and {fp32} are not graphs of one network: their blocks differ.")
    statistics = {name: _Statistics() for tensors in outputs.values() for name in tensors}
    sessions = _session(fp32, reference, list(statistics)), _session(narrow, other, list(statistics))
    for image in images:
        computed = (_run(session, list(statistics), image[None]) for session in sessions)
        for tensor, expected, actual in zip(statistics.values(), *computed, strict=True):
            tensor.add(expected.astype(np.float64), actual.astype(np.float64))
    layers = accumulate(int(node.op_type in ("Conv", "BatchNormalization")) for node in reference.graph.node)
    depths = dict(zip(node_blocks(reference.graph.node), layers, strict=True))  # of each block's last node
    found = []
    for block, names in outputs.items():
        tensors = [statistics[name] for name in names]
        error, largest = max(tensor.error for tensor in tensors), max(tensor.largest for tensor in tensors)
        overflows, limit = sum(tensor.overflows for tensor in tensors), block_limit(depths[block], precision)
        found.append(Divergence(block, error=error, limit=limit, largest=largest, overflows=overflows))
    return found


class _Statistics:
    """Of one tensor: the mean squares of each channel's values and differences, summed over images."""

    def __init__(self) -> None:
        self.values, self.differences = np.zeros(1), np.zeros(1)
        self.largest, self.overflows = 0.0, 0

    def add(self, expected: Array, actual: Array) -> None:
        finite = np.isfinite(actual)
        spatial = tuple(range(2, expected.ndim))
        self.values = self.values + (expected**2).mean(axis=spatial)[0]
        self.differences = self.differences + (np.where(finite, actual - expected, 0) ** 2).mean(axis=spatial)[0]
        self.largest = max(self.largest, float(np.abs(expected).max()))
        self.overflows += int(np.count_nonzero(~finite))

    @property
    def error(self) -> float:
        """The worst channel's, as in Divergence."""
        if self.overflows:
            return math.inf
        scale = np.maximum(self.values, self.values.mean())
        return math.sqrt(float(np.divide(self.differences, scale, out=np.zeros_like(scale), where=scale > 0).max()))


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors have no common base
        raise RunError(f"{path} is not an ONNX file ({type(error).__name__}: {error}).") from error


def _session(path: Path, model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    """A session whose outputs include the named tensors. One of BF16 is computed in FP32 and rounded."""
    if any(tensor.data_type == TensorProto.BFLOAT16 for tensor in model.graph.initializer):
        model = in_float32(model)
    (source,) = {tensor.data_type for tensor in model.graph.initializer} & {TensorProto.FLOAT, TensorProto.FLOAT16}
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_tensor_value_info(name, source, None) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = available_cores()
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common base
        message = f"ONNX Runtime {onnxruntime.__version__} cannot load {path} with its blocks' outputs: {error}"
        raise RunError(message) from error


def _run(session: onnxruntime.InferenceSession, names: list[str], image: Array) -> list[Array]:
    (source,) = session.get_inputs()
    kind = np.float16 if "float16" in source.type else np.float32
    with np.errstate(over="ignore"):
        return [np.asarray(value) for value in session.run(names, {source.name: image.astype(kind)})]


def blocks(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Each block's outputs: its tensors that other blocks or the caller use, in the order of the nodes."""
    owner: dict[str, str] = {}
    outputs: dict[str, list[str]] = {}
    for node, block in zip(graph.node, node_blocks(graph.node), strict=True):
        for name in node.input:
            if owner.get(name, block) != block and name not in outputs[owner[name]]:
                outputs[owner[name]].append(name)
        outputs.setdefault(block, [])
        owner.update((name, block) for name in node.output)
    for output in graph.output:
        outputs[owner[output.name]].append(output.name)
    return {name: tensors for name, tensors in outputs.items() if tensors}
