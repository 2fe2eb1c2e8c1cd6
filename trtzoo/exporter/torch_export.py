"""The other way to a graph: torch.onnx.export(dynamo=True), for networks with operations that have no row in OPERATIONS.

It exports the network in float64. So the folding of BN happens in float64 here, too, and each weight is rounded once.
"""

import contextlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.core.modules import require_module
from trtzoo.exporter.onnx_writer import ELEMENTS, INPUT, OUTPUT, OnnxGraph

LEAST_OPSET = 18  # of that exporter
FLOATS = (TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.FLOAT16)


def translate(network: nn.Module, order: ExportOrder) -> OnnxGraph:
    """As fx_to_onnx.translate, with opset 18 or later. Afterwards the network is float32 again, bit for bit.

    Raises ExportError if PyTorch cannot export the network, MachineError without onnxscript, which its exporter needs.
    """
    require_module("torch.onnx.export", module="onnxscript", extra="timm")
    model = _export(network, order)
    graph = OnnxGraph(order.model, order.precision, max(model.opset_import[0].version, LEAST_OPSET))
    if model.functions or any(node.domain for node in model.graph.node):
        raise ExportError(f"{order.model}: PyTorch's exporter gave operations that ONNX does not define.")
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes = []
    for node in model.graph.node:
        value = next((each.t for each in node.attribute if each.name == "value"), None)
        if node.op_type == "Constant" and value is not None:
            constants[node.output[0]] = numpy_helper.to_array(value)
        else:
            nodes.append(node)
    (images,), (logits,) = model.graph.input, model.graph.output
    names = {images.name: "images_cast" if order.io != order.precision else INPUT}
    if order.io != order.precision:
        graph.node("Cast", "images_cast", INPUT, to=ELEMENTS[order.precision])
    _Typed(graph, nodes, constants, names).write()
    graph.finish(logits.name, order.io)
    length = "batch" if order.batch == "dynamic" else order.batch
    graph.inputs.append(helper.make_tensor_value_info(INPUT, ELEMENTS[order.io], [length, 3, order.size, order.size]))
    graph.outputs.append(helper.make_tensor_value_info(OUTPUT, ELEMENTS[order.io], [length, order.classes]))
    return graph


def _export(network: nn.Module, order: ExportOrder) -> onnx.ModelProto:
    example = torch.from_numpy(golden.images(order.size, 2 if order.batch == "dynamic" else int(order.batch))).double()
    shapes: Any = ({0: torch.export.Dim("batch", max=1024)},) if order.batch == "dynamic" else None
    network.double()
    noise = logging.getLogger("torch.onnx")
    level = noise.level
    try:
        noise.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                verbose=False,
                dynamic_shapes=shapes,
                opset_version=max(order.graph_opset, LEAST_OPSET),
            )
        assert program is not None
        return program.model_proto
    except Exception as error:  # of torch.export, of its exporter or of the network
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ExportError(f"{order.model}: PyTorch's exporter fails, too: {reason}") from error
    finally:
        noise.setLevel(level)
        network.float()


class _Typed:
    """Writes nodes into a graph, in its type, with BN folded into the convolution before it."""

    def __init__(self, graph: OnnxGraph, nodes: list[Any], constants: dict[str, Array], names: dict[str, str]) -> None:
        self.graph, self.nodes, self.constants, self.names = graph, nodes, constants, names
        self.readers: dict[str, list[Any]] = {}
        for node in nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def write(self) -> None:
        for node in self.nodes:
            if node.op_type == "Conv" and (norm := self._folded(node)):
                self._convolution(node, norm)
            elif self._is_fixed(node):
                self._norm(node)
            else:
                self._plain(node)

    def _folded(self, conv: Any) -> Any:
        """The BN that is the only reader of a convolution, whose weights are constant."""
        readers = self.readers.get(conv.output[0], [])
        norm = readers[0] if len(readers) == 1 and self._is_fixed(readers[0]) else None
        known = all(name in self.constants for name in conv.input[1:])
        return norm if norm is not None and known and norm.input[0] == conv.output[0] else None

    def _is_fixed(self, node: Any) -> bool:
        """Whether it is a BN of constants, as of a trained network; one that standardises weights computes its own."""
        return node.op_type == "BatchNormalization" and all(name in self.constants for name in node.input[1:5])

    def _affine(self, norm: Any) -> tuple[Array, Array]:
        weight, bias, mean, variance = (self.constants[name].astype(np.float64) for name in norm.input[1:5])
        epsilon = next((each.f for each in norm.attribute if each.name == "epsilon"), 1e-5)
        scale = weight / np.sqrt(variance + epsilon)
        return scale, bias - mean * scale

    def _convolution(self, conv: Any, norm: Any) -> None:
        scale, shift = self._affine(norm)
        if len(conv.input) > 2:
            shift = shift + self.constants[conv.input[2]] * scale
        weight = self.graph.weight(conv.input[1], self.constants[conv.input[1]], scale)
        bias = self.graph.weight(f"{conv.input[1]}.bias", shift)
        self._append(conv, [self._name(conv.input[0]), weight, bias])
        self.names[norm.output[0]] = conv.output[0]

    def _norm(self, norm: Any) -> None:
        if norm.output[0] in self.names:
            return
        scale, shift = self._affine(norm)
        width = len(scale)
        names = [self.graph.weight(norm.input[1], scale), self.graph.weight(norm.input[2], shift)]
        names += [self.graph.weight(f"zeros.{width}", np.zeros(width)), self.graph.weight(f"ones.{width}", np.ones(width))]
        self._append(norm, [self._name(norm.input[0]), *names])
        attributes = self.graph.nodes[-1].attribute
        kept = [each for each in attributes if each.name != "epsilon"]
        del attributes[:]
        attributes.extend([*kept, helper.make_attribute("epsilon", 0.0)])

    def _plain(self, node: Any) -> None:
        self._append(node, [self._name(name) for name in node.input])

    def _name(self, name: str) -> str:
        if name in self.constants:
            values = self.constants[name]
            return self.graph.weight(name, values.astype(np.int64) if values.dtype.kind == "i" else values)
        return self.names.get(name, name)

    def _append(self, node: Any, inputs: list[str]) -> None:
        """Add a node as it is, without traces of where it comes from, and with floating-point types of the graph."""
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("doc_string")
        copy.ClearField("metadata_props")
        del copy.input[:]
        copy.input.extend(inputs)
        kind = ELEMENTS[self.graph.precision]
        for attribute in copy.attribute:
            attribute.ClearField("doc_string")
            if copy.op_type == "Cast" and attribute.name == "to" and attribute.i in FLOATS:
                attribute.i = kind
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in FLOATS:
                values = numpy_helper.to_array(attribute.t).astype(helper.tensor_dtype_to_np_dtype(kind))
                attribute.t.CopyFrom(numpy_helper.from_array(values, attribute.t.name))
        self.graph.nodes.append(copy)
