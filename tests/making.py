"""Small ONNX graphs, for tests that need a graph but not a network."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def tiny(path: Path, *, dtype: str = "fp32", batch: int | str = "batch", seed: int = 0) -> Path:
    """Images (batch, 3, 8, 8) → logits (batch, 5): one convolution, a mean and a Flatten, all of one type."""
    kind = {"fp32": np.float32, "fp16": np.float16}[dtype]
    weights = np.random.default_rng(seed).standard_normal((5, 3, 3, 3)).astype(kind)
    nodes = [
        helper.make_node("Conv", ["images", "weight"], ["features"], name="conv", kernel_shape=[3, 3]),
        helper.make_node("GlobalAveragePool", ["features"], ["pooled"], name="pool"),
        helper.make_node("Flatten", ["pooled"], ["logits"], name="flat"),
    ]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    images = helper.make_tensor_value_info("images", element, [batch, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", element, [batch, 5])
    return save(path, helper.make_graph(nodes, "tiny", [images], [logits], [numpy_helper.from_array(weights, "weight")]))


def unknown(path: Path, *kinds: str) -> Path:
    """A chain of the named operations; the first node is called `node0`."""
    names = ["images", *(f"value{index}" for index in range(len(kinds)))]
    nodes = [
        helper.make_node(kind, [names[index]], [names[index + 1]], name=f"node{index}") for index, kind in enumerate(kinds)
    ]
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])
    result = helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, None)
    return save(path, helper.make_graph(nodes, "unknown", [images], [result]))


def save(path: Path, graph: onnx.GraphProto) -> Path:
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path
