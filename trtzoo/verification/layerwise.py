"""Where an FP16 graph departs from the FP32 graph of the same network: what each block hands on, compared by ONNX Runtime."""

import math
import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from trtzoo.core.arrays import Array
from trtzoo.core.errors import RunError
from trtzoo.core.system import available_cores
from trtzoo.verification.tolerances import Divergence, block_limit

BLOCK = re.compile(r"features_(denseblock\d+_denselayer\d+|transition\d+|conv[2-5]_\d+)(?=_|$)")
"""A node's name is its module's path; functions between modules (Concat, Split, Add) belong to the block before them."""


def layer_divergences(single: Path, half: Path, images: Array) -> list[Divergence]:
    """Every block of two graphs of one network, first to last; images (N, 3, S, S) float32.

    Raises RunError where the graphs are not of one network or cannot be run.
    """
    theirs, ours = _load(single), _load(half)
    handed = blocks(theirs.graph)
    if blocks(ours.graph) != handed:
        raise RunError(f"{half} and {single} are not graphs of one network: their blocks differ.")
    names = [name for tensors in handed.values() for name in tensors]
    sums = {name: _Sums() for name in names}
    sessions = _session(single, theirs, names), _session(half, ours, names)
    for image in images:
        wanted, mine = (_run(session, names, image[None]) for session in sessions)
        for name, right, own in zip(names, wanted, mine, strict=True):
            sums[name].add(right.astype(np.float64), own.astype(np.float64))
    depths = _depths(theirs.graph)
    return [_departure(block, depths[block], [sums[name] for name in tensors]) for block, tensors in handed.items()]


class _Sums:
    """What is kept of a tensor: for each channel the mean squares of values and differences, over images."""

    def __init__(self) -> None:
        self.values, self.differences = np.zeros(1), np.zeros(1)
        self.largest, self.overflows = 0.0, 0

    def add(self, right: Array, own: Array) -> None:
        finite = np.isfinite(own)
        rest = tuple(range(2, right.ndim))
        self.values = self.values + (right**2).mean(axis=rest)[0]
        self.differences = self.differences + (np.where(finite, own - right, 0) ** 2).mean(axis=rest)[0]
        self.largest = max(self.largest, float(np.abs(right).max()))
        self.overflows += int(np.count_nonzero(~finite))

    @property
    def error(self) -> float:
        if self.overflows:
            return math.inf
        scale = np.maximum(self.values, self.values.mean())
        return math.sqrt(float(np.divide(self.differences, scale, out=np.zeros_like(scale), where=scale > 0).max()))


def _departure(block: str, depth: int, tensors: list[_Sums]) -> Divergence:
    return Divergence(
        block=block,
        error=max(sums.error for sums in tensors),
        limit=block_limit(depth),
        largest=max(sums.largest for sums in tensors),
        overflows=sum(sums.overflows for sums in tensors),
    )


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's errors have no class in common
        raise RunError(f"{path} is no ONNX file ({type(error).__name__}: {error}).") from error


def _session(path: Path, model: onnx.ModelProto, names: list[str]) -> onnxruntime.InferenceSession:
    """The graph with the named tensors as outputs, too."""
    (source,) = {tensor.data_type for tensor in model.graph.initializer} & {TensorProto.FLOAT, TensorProto.FLOAT16}
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.make_tensor_value_info(name, source, None) for name in names if name not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = available_cores()
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no class in common
        raise RunError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load {path} with its blocks' outputs: {error}"
        ) from error


def _run(session: onnxruntime.InferenceSession, names: list[str], image: Array) -> list[Array]:
    (source,) = session.get_inputs()
    kind = np.float16 if "float16" in source.type else np.float32
    with np.errstate(over="ignore"):
        return [np.asarray(value) for value in session.run(names, {source.name: image.astype(kind)})]


def blocks(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """The tensors that each block hands on to a later one or to the outside, by the nodes' order."""
    owner: dict[str, str] = {}
    handed: dict[str, list[str]] = {}
    block = "stem"
    for node in graph.node:
        block = _block(node.name, block)
        for name in node.input:
            if owner.get(name, block) != block and name not in handed[owner[name]]:
                handed[owner[name]].append(name)
        handed.setdefault(block, [])
        owner.update((name, block) for name in node.output)
    for output in graph.output:
        handed[owner[output.name]].append(output.name)
    return {name: tensors for name, tensors in handed.items() if tensors}


def _depths(graph: onnx.GraphProto) -> dict[str, int]:
    """How many convolutions and BNs there are up to each block's end."""
    depths: dict[str, int] = {}
    block, depth = "stem", 0
    for node in graph.node:
        block = _block(node.name, block)
        depth += node.op_type in ("Conv", "BatchNormalization")
        depths[block] = depth
    return depths


def _block(name: str, before: str) -> str:
    """The block of a node, where the node before it is of block `before`."""
    if found := BLOCK.match(name):
        return found[1].replace("_denselayer", ".denselayer")
    if before != "stem" and name.startswith(("features_", "pool", "classifier")):
        return "head"
    return before
