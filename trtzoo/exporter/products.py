"""Matrix products, attention, norms over features, and reductions. Sums of squares are FP32 in an FP16 graph."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import fx

from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.pointwise import plain
from trtzoo.exporter.tracing import Constant
from trtzoo.exporter.values import Value, cast, reduced, reshape, scalar, shape, tensor

aten = torch.ops.aten


def softmax(graph: OnnxGraph, node: fx.Node, features: str, dim: int, dtype: Any = None) -> str:
    return graph.node("Softmax", node.name, features, axis=dim)


def biased_product(
    graph: OnnxGraph, node: fx.Node, bias: Value, first: Value, second: Value, *, beta: float = 1, alpha: float = 1
) -> str:
    if (beta, alpha) != (1, 1):
        raise ExportError(f"{node.name} has beta {beta} and alpha {alpha}")
    one, two = tensor(graph, node, first, "first"), tensor(graph, node, second, "second")
    return graph.node(
        "Add", node.name, graph.node("MatMul", f"{node.name}.product", one, two), tensor(graph, node, bias, "bias")
    )


def einsum(graph: OnnxGraph, node: fx.Node, equation: str, operands: Sequence[Value], **named: Any) -> str:
    names = [tensor(graph, node, value, f"operand{place}") for place, value in enumerate(operands)]
    return graph.node("Einsum", node.name, *names, equation=equation)


def attention(
    graph: OnnxGraph,
    node: fx.Node,
    query: Value,
    key: Value,
    values: Value,
    mask: Value = None,
    dropout: float = 0.0,
    causal: bool = False,
    *,
    attn_mask: Value = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> str:
    """softmax(Q Kᵀ s + mask) V. Q is scaled before the product, which FP16 would not hold."""
    name, mask = node.name, attn_mask if mask is None else mask
    if causal or is_causal or enable_gqa:
        raise ExportError(f"{name} is causal or grouped attention")
    rank, width = len(shape(node)), shape(node)[-1]
    one, two = tensor(graph, node, query, "query"), tensor(graph, node, key, "key")
    scaled = graph.node("Mul", f"{name}.scaled", one, scalar(graph, 1 / math.sqrt(width) if scale is None else scale))
    turned = graph.node("Transpose", f"{name}.key", two, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = graph.node("MatMul", f"{name}.scores", scaled, turned)
    if isinstance(mask, Constant) and mask.values.dtype.kind == "b":
        mask = Constant("", np.where(mask.values, 0.0, -6e4))
    if mask is not None:
        scores = graph.node("Add", f"{name}.masked", scores, tensor(graph, node, mask, "mask"))
    weights = graph.node("Softmax", f"{name}.softmax", scores, axis=-1)
    return graph.node("MatMul", name, weights, tensor(graph, node, values, "values"))


def layer_norm(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    sides: Sequence[int],
    weight: Value = None,
    bias: Value = None,
    *more: Any,
    **named: Any,
) -> str:
    """LayerNormalization, whose mean and variance are FP32 in any graph."""
    if graph.opset < 17:
        raise ExportError(f"layer normalisation needs opset 17 or later, not {graph.opset}")
    epsilon = more[0] if more else named.get("eps", 1e-5)
    factors = tensor(graph, node, weight, "scale") if weight is not None else _filled(graph, 1.0, sides)
    names = [factors] if bias is None else [factors, tensor(graph, node, bias, "bias")]
    return graph.node("LayerNormalization", node.name, features, *names, axis=-len(sides), epsilon=float(epsilon))


def group_norm(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    groups: int,
    weight: Value = None,
    bias: Value = None,
    eps: float = 1e-5,
    *cudnn: Any,
) -> str:
    """Each group as one channel of an InstanceNormalization, then a factor and a term for each channel."""
    name, sides = node.name, shape(node)
    flat = reshape(graph, node, f"{name}.groups", features, (sides[0], groups, math.prod(sides[1:]) // groups))
    ones, zeros = _filled(graph, 1.0, (groups,)), _filled(graph, 0.0, (groups,))
    normal = graph.node("InstanceNormalization", f"{name}.normal", flat, ones, zeros, epsilon=float(eps))
    result = reshape(graph, node, name if weight is None else f"{name}.channels", normal, sides)
    places = (-1, *[1] * (len(sides) - 2))
    if weight is None:
        return result
    factors = graph.weight(weight.name or f"{name}.weight", weight.values.reshape(places))
    if bias is None:
        return graph.node("Mul", name, result, factors)
    result = graph.node("Mul", f"{name}.scaled", result, factors)
    return graph.node("Add", name, result, graph.weight(bias.name or f"{name}.bias", bias.values.reshape(places)))


def rms_norm(
    graph: OnnxGraph, node: fx.Node, features: str, sides: Sequence[int], weight: Value = None, eps: float | None = None
) -> str:
    name, axes = node.name, [-1 - place for place in range(len(sides))]
    wide = cast(graph, f"{name}.fp32", features, precision="fp32")
    mean = reduced(graph, f"{name}.mean", "ReduceMean", graph.node("Mul", f"{name}.square", wide, wide), axes=axes, keep=True)
    least = scalar(graph, 1.1920929e-07 if eps is None else eps, precision="fp32")
    root = graph.node("Sqrt", f"{name}.root", graph.node("Add", f"{name}.epsilon", mean, least))
    normal = cast(graph, f"{name}.normal", graph.node("Div", f"{name}.ratio", wide, root), precision=graph.precision)
    return normal if weight is None else graph.node("Mul", name, normal, tensor(graph, node, weight, "weight"))


def vector_norm(
    graph: OnnxGraph, node: fx.Node, features: str, order: float = 2, dim: Any = None, keepdim: bool = False, **named: Any
) -> str:
    if order not in (1, 2) or dim is None or set(named) - {"dtype"}:
        raise ExportError(f"{node.name} is a norm of order {order} over {dim}")
    wide = cast(graph, f"{node.name}.fp32", features, precision="fp32")
    axes = [dim] if isinstance(dim, int) else list(dim)
    norm = reduced(graph, f"{node.name}.norm", f"ReduceL{order:g}", wide, axes=axes, keep=keepdim)
    return cast(graph, node.name, norm, precision=graph.precision)


def mean(graph: OnnxGraph, node: fx.Node, features: str, dim: Any = None, keepdim: bool = False, **named: Any) -> str:
    """GlobalAveragePool where it is that, else ReduceMean."""
    rank = len(shape(node))
    axes = sorted(axis % rank for axis in ([dim] if isinstance(dim, int) else dim or range(rank)))
    if rank != 4 or axes != [2, 3]:
        return reduced(graph, node.name, "ReduceMean", features, axes=axes, keep=keepdim)
    if keepdim:
        return graph.node("GlobalAveragePool", node.name, features)
    return graph.node("Flatten", node.name, graph.node("GlobalAveragePool", f"{node.name}.pool", features), axis=1)


def reduction(operation: str) -> Any:
    def row(graph: OnnxGraph, node: fx.Node, features: str, dim: Any, keepdim: bool = False, **named: Any) -> str:
        axes = [dim] if isinstance(dim, int) else list(dim)
        return reduced(graph, node.name, operation, features, axes=axes, keep=keepdim)

    return row


def maximum(graph: OnnxGraph, node: fx.Node, features: str, dim: int, keepdim: bool = False) -> tuple[str, None]:
    """The values of the largest; nothing may read their indices."""
    return reduced(graph, node.name, "ReduceMax", features, axes=[dim], keep=keepdim), None


def _filled(graph: OnnxGraph, value: float, sides: Sequence[int]) -> str:
    return graph.weight(f"fill.{value:g}.{'x'.join(map(str, sides))}", np.full(tuple(sides), value))


ROWS: dict[Any, Any] = {
    aten.matmul: plain("MatMul"),
    aten.bmm: plain("MatMul"),
    aten.mm: plain("MatMul"),
    aten.addmm: biased_product,
    aten.baddbmm: biased_product,
    aten.einsum: einsum,
    aten.scaled_dot_product_attention: attention,
    aten.softmax: softmax,
    aten.layer_norm: layer_norm,
    aten.group_norm: group_norm,
    aten.rms_norm: rms_norm,
    aten.linalg_vector_norm: vector_norm,
    aten.norm: vector_norm,
    aten.mean: mean,
    aten.sum: reduction("ReduceSum"),
    aten.amax: reduction("ReduceMax"),
    aten.amin: reduction("ReduceMin"),
    aten.max: maximum,
}
