"""Q/DQ files as TensorRT takes them: ONNX Runtime quantizes biases to INT32, and TensorRT has no such DequantizeLinear."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper


def with_float_biases(path: Path) -> bytes:
    """The ONNX file with each INT32 constant dequantized in advance: the same numbers, rounded once."""
    model = onnx.load(path)
    graph, kept = model.graph, []
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        given = tensors.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if given is None or given.data_type != TensorProto.INT32 or node.input[1] not in tensors:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
            continue
        scale = numpy_helper.to_array(tensors[node.input[1]])
        values = numpy_helper.to_array(given).astype(np.float64) * scale.astype(np.float64)
        graph.initializer.append(numpy_helper.from_array(values.astype(scale.dtype), node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return bytes(model.SerializeToString())
