"""Parameters and multiply-accumulates of any ONNX classifier, counted from its graph as models/count.py counts a network.

Only shapes are read: the weights may be missing, or in external data.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import onnx
from onnx import TensorProto

Shape = tuple[int, ...]

FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)
SMALL = 1024  # elements of a tensor whose values may decide shapes, as Reshape's do
SETTINGS = {"Clip", "Dropout", "Pad", "QuantizeLinear", "Resize", "Upsample"}  # their further inputs are not parameters


class GraphCount(msgspec.Struct, frozen=True):
    """Of one image: the floating-point parameters, and the multiply-accumulates, None if a shape is unknown."""

    params: int
    macs: int | None


def count_graph(model: onnx.ModelProto) -> GraphCount:
    """Count each parameter once, without BN's statistics; of a quantized weight, its elements and not its scales.

    Multiply-accumulates are those of Conv, ConvTranspose, Gemm and MatMul at every output position; a bias adds none.
    """
    constants = dict(_constants(model.graph))
    return GraphCount(_params(model.graph, constants), _macs(model))


def _constants(graph: Any) -> Iterator[tuple[str, TensorProto]]:
    """The tensors of a graph by name: initializers, and values of Constant nodes."""
    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                yield node.output[0], attribute.t


def _params(graph: Any, constants: dict[str, TensorProto]) -> int:
    names: set[str] = set()
    for node in graph.node:
        given = node.input
        if node.op_type == "BatchNormalization":
            given = node.input[:3]
        elif node.op_type in SETTINGS or node.op_type == "DequantizeLinear":
            given = node.input[:1]
        names.update(name for name in given if name in constants and _is_parameter(constants[name], node.op_type))
    return sum(math.prod(constants[name].dims) for name in names)


def _is_parameter(tensor: TensorProto, operation: str) -> bool:
    """Whether a constant is a parameter: a plain number is a setting."""
    return operation == "DequantizeLinear" or (tensor.data_type in FLOATS and len(tensor.dims) > 0)


def _macs(model: onnx.ModelProto) -> int | None:
    costs = [(node, COSTS[node.op_type]) for node in model.graph.node if node.op_type in COSTS and not node.domain]
    try:
        shapes = known_shapes(model)
        return sum(cost(node, shapes) for node, cost in costs)
    except (KeyError, onnx.shape_inference.InferenceError):
        return None


def _convolution(node: Any, shapes: dict[str, Shape]) -> int:
    """Every output value is a sum over the kernel and a group's channels: the weights of one output channel."""
    return math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])


def _transposed(node: Any, shapes: dict[str, Shape]) -> int:
    return math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])


def _product(node: Any, shapes: dict[str, Shape]) -> int:
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-2 if transposed else -1]


COSTS: dict[str, Callable[[Any, dict[str, Shape]], int]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _product,
    "MatMul": _product,
}


def known_shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    """The shapes that are known, by onnx's inference for one image. Parameters become inputs, so none is copied.

    Raises onnx.shape_inference.InferenceError for a graph that contradicts itself.
    """
    skeleton = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    skeleton.opset_import.extend(model.opset_import)
    skeleton.functions.extend(model.functions)
    graph = skeleton.graph
    graph.name = "counted"
    graph.node.extend(model.graph.node)
    graph.output.extend(onnx.ValueInfoProto(name=output.name, type=_type(output)) for output in model.graph.output)
    stored = {tensor.name for tensor in model.graph.initializer}
    for value in (value for value in model.graph.input if value.name not in stored):
        graph.input.append(value)
        if not graph.input[-1].type.tensor_type.shape.dim[0].dim_value:
            graph.input[-1].type.tensor_type.shape.dim[0].dim_value = 1
    for tensor in model.graph.initializer:
        if tensor.data_type in FLOATS or math.prod(tensor.dims) > SMALL:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:
            graph.initializer.append(tensor)
    inferred = onnx.shape_inference.infer_shapes(skeleton, data_prop=True).graph
    found: dict[str, Shape] = {name: tuple(tensor.dims) for name, tensor in _constants(model.graph)}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        sides = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(side.HasField("dim_value") for side in sides):
            found[value.name] = tuple(side.dim_value for side in sides)
    return found


def _type(output: Any) -> Any:
    """An output's type without its shape, which may name another batch."""
    return onnx.helper.make_tensor_type_proto(output.type.tensor_type.elem_type, None)
