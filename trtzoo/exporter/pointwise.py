"""Element by element: arithmetic and activations. ONNX has no node for some; their formulas avoid FP16's limits."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.values import Value, scalar, tensor

aten = torch.ops.aten
Row = Callable[..., Value]


def plain(operation: str, **attributes: Any) -> Row:
    """An operation that becomes one node."""

    def row(graph: OnnxGraph, node: fx.Node, *inputs: Value) -> str:
        names = [tensor(graph, node, value, f"constant{place}") for place, value in enumerate(inputs)]
        return graph.node(operation, node.name, *names, **attributes)

    return row


def binary(operation: str, *, swapped: bool = False) -> Row:
    """An operation on two values; PyTorch's `alpha` multiplies the second."""

    def row(graph: OnnxGraph, node: fx.Node, first: Value, second: Value, alpha: float = 1, **named: Any) -> str:
        if named:
            raise ExportError(f"{node.name} has the options {named}")
        one, two = tensor(graph, node, first, "first"), tensor(graph, node, second, "second")
        if alpha != 1:
            two = graph.node("Mul", f"{node.name}.alpha", two, scalar(graph, alpha))
        return graph.node(operation, node.name, *((two, one) if swapped else (one, two)))

    return row


def gelu(graph: OnnxGraph, node: fx.Node, x: str, approximate: str = "none") -> str:
    """x Φ(x), by the error function or by tanh: √(2/π) x (1 + 0.044715 x²) overflows FP16 only where tanh is ±1."""
    name = node.name
    if approximate == "none":
        inner = graph.node("Erf", f"{name}.erf", graph.node("Mul", f"{name}.scaled", x, scalar(graph, math.sqrt(0.5))))
    else:
        square = graph.node("Mul", f"{name}.square", x, x)
        cubic = graph.node("Mul", f"{name}.cubic", square, scalar(graph, 0.044715))
        factor = graph.node("Add", f"{name}.factor", cubic, scalar(graph, 1))
        scaled = graph.node("Mul", f"{name}.scaled", x, scalar(graph, math.sqrt(2 / math.pi)))
        inner = graph.node("Tanh", f"{name}.tanh", graph.node("Mul", f"{name}.inner", scaled, factor))
    half = graph.node("Mul", f"{name}.half", x, scalar(graph, 0.5))
    return graph.node("Mul", name, half, graph.node("Add", f"{name}.one", inner, scalar(graph, 1)))


def silu(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    return graph.node("Mul", node.name, x, graph.node("Sigmoid", f"{node.name}.sigmoid", x))


def hard_swish(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    return graph.node("Mul", node.name, x, graph.node("HardSigmoid", f"{node.name}.sigmoid", x, alpha=1 / 6, beta=0.5))


def mish(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    soft = graph.node("Tanh", f"{node.name}.tanh", graph.node("Softplus", f"{node.name}.softplus", x))
    return graph.node("Mul", node.name, x, soft)


def softplus(graph: OnnxGraph, node: fx.Node, x: str, beta: float = 1, threshold: float = 20) -> str:
    if beta != 1:
        raise ExportError(f"{node.name} is a softplus with beta {beta}")
    return graph.node("Softplus", node.name, x)


def clip(
    graph: OnnxGraph, node: fx.Node, x: str, least: Value = None, most: Value = None, *, min: Any = None, max: Any = None
) -> str:  # PyTorch's names
    limits = [least if least is not None else min, most if most is not None else max]
    names = ["" if limit is None else tensor(graph, node, limit, f"limit{place}") for place, limit in enumerate(limits)]
    return graph.node("Clip", node.name, x, *(names if names[1] else names[:1]))


def power(graph: OnnxGraph, node: fx.Node, x: Value, exponent: Value) -> str:
    base = tensor(graph, node, x, "base")
    if exponent == 2:
        return graph.node("Mul", node.name, base, base)
    if exponent == 0.5:
        return graph.node("Sqrt", node.name, base)
    return graph.node("Pow", node.name, base, tensor(graph, node, exponent, "exponent"))


def inverse_root(graph: OnnxGraph, node: fx.Node, x: str) -> str:
    return graph.node("Reciprocal", node.name, graph.node("Sqrt", f"{node.name}.root", x))


def masked(graph: OnnxGraph, node: fx.Node, x: str, mask: Value, value: Value) -> str:
    return graph.node("Where", node.name, tensor(graph, node, mask, "mask"), tensor(graph, node, value, "value"), x)


def leaky(operation: str, slope: float) -> Row:
    return lambda graph, node, x, alpha=slope: graph.node(operation, node.name, x, alpha=float(alpha))


def prelu(graph: OnnxGraph, node: fx.Node, x: str, weight: Value) -> str:
    rank = len(node.meta["shape"])
    slopes = weight.values.reshape(-1, *[1] * (rank - 2)) if weight.values.size > 1 else weight.values
    return graph.node("PRelu", node.name, x, graph.weight(weight.name or f"{node.name}.slope", slopes))


ROWS: dict[Any, Row] = {
    aten.add: binary("Add"),
    aten.sub: binary("Sub"),
    aten.rsub: binary("Sub", swapped=True),
    aten.mul: binary("Mul"),
    aten.div: binary("Div"),
    aten.maximum: binary("Max"),
    aten.minimum: binary("Min"),
    aten.where: plain("Where"),
    aten.masked_fill: masked,
    aten.pow: power,
    aten.clamp: clip,
    aten.clamp_min: clip,
    aten.clamp_max: lambda graph, node, x, most: clip(graph, node, x, None, most),
    aten.hardtanh: lambda graph, node, x, least=-1, most=1: clip(graph, node, x, least, most),
    aten.relu6: lambda graph, node, x: clip(graph, node, x, 0, 6),
    aten.relu: plain("Relu"),
    aten.sigmoid: plain("Sigmoid"),
    aten.tanh: plain("Tanh"),
    aten.exp: plain("Exp"),
    aten.log: plain("Log"),
    aten.sin: plain("Sin"),
    aten.cos: plain("Cos"),
    aten.sqrt: plain("Sqrt"),
    aten.rsqrt: inverse_root,
    aten.reciprocal: plain("Reciprocal"),
    aten.neg: plain("Neg"),
    aten.abs: plain("Abs"),
    aten.erf: plain("Erf"),
    aten.hardsigmoid: plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    aten.hardswish: hard_swish,
    aten.silu: silu,
    aten.mish: mish,
    aten.gelu: gelu,
    aten.softplus: softplus,
    aten.elu: leaky("Elu", 1.0),
    aten.leaky_relu: leaky("LeakyRelu", 0.01),
    aten.prelu: prelu,
}
