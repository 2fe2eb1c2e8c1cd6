"""A float32 ONNX graph as a strongly typed FP16 or BF16 graph: every tensor is rounded once, none stays float32."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.core.precisions import GRAPHS
from trtzoo.exporter.float64 import DTYPES
from trtzoo.exporter.onnx_writer import ELEMENTS, LARGEST, TYPES
from trtzoo.exporter.rewriting import Rewriter, affine_of_norm, convert, opset_of

KEPT = {("Resize", 1), ("Resize", 2), ("Upsample", 1)}  # inputs that ONNX defines as float32


def halve(model: onnx.ModelProto, precision: str, io: str) -> onnx.ModelProto:
    """A copy in FP16 or BF16, with input and output of type `io`: "fp32", by a Cast each, or that precision.

    Raises ExportError for a weight beyond the type's range, for a graph in which quantized values meet, and for an opset that
    onnx cannot convert to one that has the type.
    """
    halved = onnx.ModelProto()
    halved.CopyFrom(model)
    if opset_of(halved) < GRAPHS[precision].opset:
        halved = convert(halved, GRAPHS[precision].opset)
    work = Rewriter(halved)
    _plain_norms(work)
    halved = work.finish()
    graph = halved.graph
    _halve_graph(graph, precision)
    if io == "fp32":
        _cast_ends(graph, ELEMENTS[precision])
    return halved


def _plain_norms(work: Rewriter) -> None:
    """BN as a scale and a shift, each rounded once: mean 0, variance 1 and epsilon 0 are exact in every type."""
    for node in work.graph.node:
        affine = affine_of_norm(work, node) if node.op_type == "BatchNormalization" else None
        if affine is None:
            continue
        values = [*affine, np.zeros_like(affine[0]), np.ones_like(affine[0])]
        names = ("scale", "shift", "mean", "variance")
        prefix = node.name or node.output[0]
        given = [work.constant(f"{prefix}.{name}", value.astype(np.float32)) for name, value in zip(names, values, strict=True)]
        node.input[1:5] = given
        kept = [attribute for attribute in node.attribute if attribute.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("epsilon", 0.0)])


def _halve_graph(graph: Any, precision: str) -> None:
    element = ELEMENTS[precision]
    kept = {name for node in graph.node for index, name in enumerate(node.input) if (node.op_type, index) in KEPT and name}
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.elem_type == TensorProto.FLOAT:
            value.type.tensor_type.elem_type = element
    for tensor in graph.initializer:
        if tensor.name not in kept:
            _halve_tensor(tensor, tensor.name, precision)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in DTYPES and attribute.i == TensorProto.FLOAT:
                attribute.i = element
            if attribute.HasField("t") and not kept & set(node.output):
                _halve_tensor(attribute.t, node.output[0], precision)
            for inner in (attribute.g, *attribute.graphs) if attribute.HasField("g") or attribute.graphs else ():
                _halve_graph(inner, precision)


def _halve_tensor(tensor: TensorProto, name: str, precision: str) -> None:
    if tensor.data_type != TensorProto.FLOAT:
        return
    values: Array = numpy_helper.to_array(tensor)
    with np.errstate(over="ignore"):
        rounded = values.astype(TYPES[precision])
    if not np.isfinite(rounded).all():
        raise ExportError(
            f"{name} has a weight of {np.abs(values).max():.3g}, and {precision.upper()} ends at {LARGEST[precision]:g}. "
            "Use --precision fp32"
        )
    tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))


def _cast_ends(graph: Any, element: int) -> None:
    """Input and output in float32, with a Cast between each and the graph."""
    (images,), (logits,) = graph.input, graph.output
    inside = {images.name: f"{images.name}.half", logits.name: f"{logits.name}.half"}
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [inside.get(name, name) for name in names]
    first = helper.make_node("Cast", [images.name], [inside[images.name]], name="images_cast", to=element)
    last = helper.make_node("Cast", [inside[logits.name]], [logits.name], name="logits_cast", to=TensorProto.FLOAT)
    nodes = [first, *(onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node), last]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (images, logits):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
