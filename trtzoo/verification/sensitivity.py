"""Which blocks of a quantized graph add the error: each block alone is quantized, the rest computes in FP32."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from itertools import islice
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from trtzoo.artifacts.blocks import node_blocks
from trtzoo.core.arrays import Array
from trtzoo.core.errors import DataError, RunError
from trtzoo.core.precisions import PRECISIONS
from trtzoo.verification.check import LAYERWISE_IMAGES
from trtzoo.verification.tolerances import MIN_TOP1_KEPT, BlockError, compare

SUFFIX = ".dequantized"  # of the value that a Q/DQ pair makes of a tensor: exporter/quantize.py names it so


def block_errors(fp32: Path, quantized: Path, images: Array, *, least_cosine: float) -> list[BlockError]:
    """The blocks with quantized nodes, the one that adds the most first; images (N, 3, S, S) float32.

    Raises RunError if the graphs are of different networks or cannot run.
    """
    whole, other = onnx.load(fp32), onnx.load(quantized)
    if {node.name for node in whole.graph.node} - {node.name for node in other.graph.node}:
        raise RunError(f"{quantized} and {fp32} are not graphs of one network: their nodes differ.")
    expected = _logits(whole, images)
    scale = math.sqrt(float((expected**2).mean()))
    names = node_blocks(whole.graph.node)
    blocks = dict(zip((node.name for node in whole.graph.node), names, strict=True))
    weights = {tensor.name: tensor for tensor in whole.graph.initializer}
    readers = {blocks[node.name] for node in other.graph.node if node.name in blocks and any(map(_is_quantized, node.input))}
    errors = {}
    for block in dict.fromkeys(name for name in names if name in readers):
        logits = _logits(_only(other, block, blocks, weights), images)
        errors[block] = math.sqrt(float(((logits - expected) ** 2).mean())) / scale
    power = sum(error**2 for error in errors.values()) or 1.0
    limit = math.tan(math.acos(least_cosine)) / 2
    found = [BlockError(block, error=error, share=error**2 / power, limit=limit) for block, error in errors.items()]
    return sorted(found, key=lambda row: -row.error)


def fewest_kept(
    fp32: Path,
    make: Callable[[tuple[str, ...]], Path],
    images: Callable[[], AbstractContextManager[Iterable[Array]]],
    *,
    precision: str,
    classes_count: bool,
) -> tuple[str, ...]:
    """The fewest blocks, those that add the most error, that must stay in floating point for the rest to keep to the policy.

    `make` writes the quantized graph in which the named blocks do. The policy on `images`, each (3, S, S): the least cosine of
    the precision, and if `classes_count` the same class for 99 %. Raises DataError without images, and as `block_errors` does.
    """
    least = PRECISIONS[precision].least_cosine or 0.0
    with images() as stream:
        first = list(islice(stream, LAYERWISE_IMAGES))
    if not first:
        raise DataError("None of the calibration images can be read.")
    with images() as stream:
        expected = _logits(onnx.load(fp32), stream)

    def holds(kept: tuple[str, ...]) -> bool:
        with images() as stream:
            metrics = compare(_logits(onnx.load(make(kept)), stream), expected)
        return metrics.cosine >= least and (not classes_count or metrics.same_top1 >= MIN_TOP1_KEPT * metrics.images)

    if holds(()):
        return ()
    ranked = tuple(row.block for row in block_errors(fp32, make(()), np.stack(first), least_cosine=least))
    fails, suffices = 0, len(ranked)
    while suffices - fails > 1:
        middle = (fails + suffices) // 2
        fails, suffices = (fails, middle) if holds(ranked[:middle]) else (middle, suffices)
    return ranked[:suffices]


def _is_quantized(name: str) -> bool:
    return name.endswith(SUFFIX)


def _only(model: onnx.ModelProto, block: str, blocks: dict[str, str], weights: dict[str, onnx.TensorProto]) -> onnx.ModelProto:
    """The graph in which only the nodes of `block` read quantized values: the others read them whole."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    used, scales = set[str](), [tensor for tensor in model.graph.initializer if tensor.name.endswith(".scale")]
    kind = numpy_helper.to_array(scales[0]).dtype  # FP16 in a graph for GPUs
    for node in copy.graph.node:
        if node.name in blocks and blocks[node.name] != block:
            for index, name in enumerate(node.input):
                if _is_quantized(name):
                    tensor = name.removesuffix(SUFFIX)
                    node.input[index] = f"{tensor}.whole" if tensor in weights else tensor
                    used |= {tensor} & weights.keys()
    for name in used:
        values = numpy_helper.to_array(weights[name]).astype(kind)
        copy.graph.initializer.append(numpy_helper.from_array(values, f"{name}.whole"))
    return copy


def _logits(model: onnx.ModelProto, images: Iterable[Array]) -> Array:
    """The logits (N, classes) float64, computed node by node: a rewritten graph must round where the original does."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (source,) = session.get_inputs()
    rows = [np.asarray(session.run(None, {source.name: image[None]})[0], np.float64) for image in images]
    return np.concatenate(rows)
