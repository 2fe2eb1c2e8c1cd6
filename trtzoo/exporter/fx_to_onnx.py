"""Translates a traced network into a typed ONNX graph: one row per ATen operation, BN folded into convolutions in float64.

The only description of a network is its own `forward`, which `tracing.trace` records.
"""

from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import fx, nn

from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.core.precisions import GRAPHS
from trtzoo.exporter import layers, pointwise, products, shapes
from trtzoo.exporter.onnx_writer import ELEMENTS, INPUT, OUTPUT, OnnxGraph
from trtzoo.exporter.tracing import getitem, trace

OPERATIONS: dict[Any, Any] = {**layers.ROWS, **pointwise.ROWS, **products.ROWS, **shapes.ROWS}
"""ATen's operations: functions (graph, fx node, *its arguments, with names of ONNX values) → the names of its results."""


def translate(network: nn.Module, order: ExportOrder) -> OnnxGraph:
    """An eval-mode network as a graph: images (batch, 3, size, size) of type `io` → logits (batch, classes) of the same type.

    Weights and activations have the type `floats`; the number of classes is the network's. Raises ExportError for an operation
    that has no row in OPERATIONS.
    """
    precision, io, quantized = order.floats, order.io, GRAPHS[order.precision].quantized
    graph = OnnxGraph(order.model, precision, order.graph_opset, quantized=quantized)
    try:
        traced = trace(network, order.size, OPERATIONS)
        values: dict[fx.Node, Any] = {}
        for node in traced.nodes:
            arguments, named = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            if node.op == "placeholder":
                values[node] = INPUT if io == precision else graph.node("Cast", "images_cast", INPUT, to=ELEMENTS[precision])
            elif node.op == "output":
                graph.finish(arguments[0], io)
            elif node.target is getitem:
                values[node] = arguments[0][arguments[1]]
            else:
                values[node] = OPERATIONS[node.target](graph, node, *arguments, **named)
    except ExportError as error:
        raise ExportError(f"{order.model}: {error}.") from error
    length = "batch" if order.batch == "dynamic" else order.batch
    classes = node.meta["shape"][1]
    graph.inputs.append(helper.make_tensor_value_info(INPUT, ELEMENTS[io], [length, 3, order.size, order.size]))
    graph.outputs.append(helper.make_tensor_value_info(OUTPUT, ELEMENTS[io], [length, classes]))
    return graph


def reference_logits(network: nn.Module, images: Array) -> Array:
    """Images (N, 3, H, W) → PyTorch's float64 logits (N, classes). Afterwards the network is float32 again, bit for bit."""
    network.double()
    try:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images).double()).numpy())
    finally:
        network.float()
