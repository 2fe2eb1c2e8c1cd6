"""What the rows of OPERATIONS share: names of values and constants in the ONNX graph, shapes, reductions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import fx

from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import ELEMENTS, LARGEST, OnnxGraph
from trtzoo.exporter.tracing import BATCH, Constant

Value = Any  # the name of an ONNX value, a tuple of names where an operation has several results, or a Constant


def tensor(graph: OnnxGraph, node: fx.Node, value: Value, label: str = "constant") -> str:
    """The name of a value, of a constant tensor, or of a number, which become weights of the graph."""
    if isinstance(value, str):
        return value
    if isinstance(value, Constant):
        return graph.weight(value.name or f"{node.name}.{label}", value.values)
    if isinstance(value, bool | int | float):
        return scalar(graph, value)
    raise ExportError(f"{node.name} reads a {type(value).__name__} where a tensor is expected")


def scalar(graph: OnnxGraph, value: float, *, precision: str = "") -> str:
    """The name of a number of the graph's type, or of another precision. An infinite one becomes the type's largest."""
    kind = precision or graph.precision
    finite = min(max(float(value), -LARGEST[kind]), LARGEST[kind])
    return graph.weight(f"{kind}.{finite!r}", np.array(finite), precision=precision)


def integers(graph: OnnxGraph, values: Sequence[int] | int) -> str:
    """The name of a constant of whole numbers: a list, or one."""
    text = str(values) if isinstance(values, int) else ",".join(map(str, values))
    return graph.weight(f"int.{text}" + ("" if isinstance(values, int) else "."), np.array(values, np.int64))


def shape(node: fx.Node, index: int = 0) -> tuple[int, ...]:
    """The shape of an argument of `node`, with BATCH images."""
    source = node.args[index]
    found = source.values.shape if isinstance(source, Constant) else source.meta["shape"]  # type: ignore[union-attr]
    return tuple(found)


def lengths(node: fx.Node, result: Sequence[int]) -> list[int]:
    """A shape as ONNX's Reshape takes it: -1 for the length that contains the batch."""
    found = [-1 if length and length % BATCH == 0 else int(length) for length in result]
    if found.count(-1) > 1:
        raise ExportError(f"{node.name} has several lengths that depend on the batch size: {list(result)}")
    return found


def reshape(graph: OnnxGraph, node: fx.Node, name: str, features: str, result: Sequence[int]) -> str:
    return graph.node("Reshape", name, features, integers(graph, lengths(node, result)))


def reduced(graph: OnnxGraph, name: str, operation: str, features: str, *, axes: Sequence[int], keep: bool) -> str:
    """A reduction. Its axes are an input for sums, and for all reductions from opset 18 on; before, an attribute."""
    if operation == "ReduceSum" or graph.opset >= 18:
        return graph.node(operation, name, features, integers(graph, list(axes)), keepdims=int(keep))
    return graph.node(operation, name, features, axes=list(axes), keepdims=int(keep))


def cast(graph: OnnxGraph, name: str, features: str, *, precision: str) -> str:
    """The value in a type, where it is another than the graph's."""
    return graph.node("Cast", name, features, to=ELEMENTS[precision]) if graph.precision != "fp32" else features


def only_user(node: Any) -> fx.Node | None:
    """The only node that reads the result of `node`."""
    users = list(node.users) if isinstance(node, fx.Node) else []
    return users[0] if len(users) == 1 else None


def argument(node: Any, index: int, name: str, default: Any = None) -> Any:
    """An argument of a node, by position or by name."""
    return node.args[index] if index < len(node.args) else node.kwargs.get(name, default)
