"""Convolutions with the batch norm, padding and pooling around them, and the classifier."""

from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import fx

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.tracing import Constant
from trtzoo.exporter.values import Value, argument, integers, only_user, reshape, scalar, shape, tensor

aten = torch.ops.aten
SPLITS = {aten.split, aten.split_with_sizes, aten.chunk}


def convolution(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    weight: Value,
    bias: Value = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Value:
    """Conv, with the BN that follows folded in and the padding before it; one Conv per part if the result is split.

    A 1x1 convolution that is followed by average pooling runs after it: the same sums over a quarter of the pixels.
    """
    if not isinstance(weight, Constant) or not isinstance(bias, Constant | None):
        raise ExportError(f"{node.name} has weights that depend on the images")
    values, scale, shift = weight.values, None, None if bias is None else bias.values
    if norm := folded_norm(node):
        scale, offset = affine(norm)
        shift = offset if shift is None else shift * scale + offset
    if pool := swapped_pool(node):
        rest: Any = pool.args[1:]
        features = _average(graph, pool, features, *rest, **pool.kwargs)  # type: ignore[arg-type]
    base = weight.name.removesuffix(".weight") or node.name
    kernel = values.shape[2:]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": _lengths(stride, kernel),
        "group": groups,
        "pads": _pads(node, padding, kernel, _lengths(dilation, kernel)),
    }
    if set(_lengths(dilation, kernel)) != {1}:
        attributes["dilations"] = _lengths(dilation, kernel)
    names = []
    for part, rows in _split_parts(node, groups):
        weights = [graph.weight(f"{base}.weight{part}", values[rows], None if scale is None else scale[rows])]
        if shift is not None:
            weights.append(graph.weight(f"{base}.bias{part}", shift[rows]))
        names.append(graph.node("Conv", f"{node.name}{part}", features, *weights, **attributes))
    return names[0] if len(names) == 1 else tuple(names)


def batch_norm(graph: OnnxGraph, node: fx.Node, features: str, *arguments: Any) -> str:
    """BN as a scale and a shift, each rounded once: mean 0, variance 1 and epsilon 0 are exact in every type."""
    if folded_norm(node.args[0]) is node:
        return features
    scale, shift = affine(node)
    width, rank = len(scale), len(shape(node))
    base = arguments[0].name.removesuffix(".weight") if isinstance(arguments[0], Constant) else node.name
    if rank != 4:
        places = (width, *[1] * (rank - 2))
        scaled = graph.node("Mul", f"{node.name}.scaled", features, graph.weight(f"{base}.weight", scale.reshape(places)))
        return graph.node("Add", node.name, scaled, graph.weight(f"{base}.bias", shift.reshape(places)))
    zeros, ones = graph.weight(f"zeros.{width}", np.zeros(width)), graph.weight(f"ones.{width}", np.ones(width))
    names = graph.weight(f"{base}.weight", scale), graph.weight(f"{base}.bias", shift)
    return graph.node("BatchNormalization", node.name, features, *names, zeros, ones, epsilon=0.0)


def max_pool(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
) -> str:
    kernel = _lengths(kernel, (0, 0))
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": _lengths(stride or kernel, kernel)}
    pads, wider = _pads(node, padding, kernel, _lengths(dilation, kernel)), _lengths(dilation, kernel)
    window |= {"dilations": wider} if set(wider) != {1} else {}
    return graph.node("MaxPool", node.name, features, pads=pads, **window, **_ceil(ceil_mode))


def average_pool(graph: OnnxGraph, node: fx.Node, features: str, *arguments: Any, **named: Any) -> str:
    """AveragePool, unless it already runs before the 1x1 convolution that it follows."""
    if swapped_pool(node.args[0]) is node:
        return features
    return _average(graph, node, features, *arguments, **named)


def _average(
    graph: OnnxGraph,
    node: fx.Node,
    features: str,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> str:
    if divisor_override:
        raise ExportError(f"{node.name} has a divisor of its own")
    kernel = _lengths(kernel, (0, 0))
    window: dict[str, Any] = {"kernel_shape": kernel, "strides": _lengths(stride or kernel, kernel)}
    more: dict[str, Any] = _ceil(ceil_mode)
    if any(_lengths(padding, kernel)):
        more |= {"pads": [*_lengths(padding, kernel)] * 2, "count_include_pad": int(count_include_pad)}
    return graph.node("AveragePool", node.name, features, **window, **more)


def adaptive_average(graph: OnnxGraph, node: fx.Node, features: str, size: Any) -> str:
    """The mean of everything, of equal windows, or of windows of several sizes, as a product with a matrix."""
    sides, wanted = shape(node)[2:], tuple(node.meta["shape"][2:])
    if set(wanted) == {1}:
        return graph.node("GlobalAveragePool", node.name, features)
    if sides == wanted:
        return features
    if all(side % length == 0 for side, length in zip(sides, wanted, strict=True)):
        window = [side // length for side, length in zip(sides, wanted, strict=True)]
        return graph.node("AveragePool", node.name, features, kernel_shape=window, strides=window)
    columns = graph.weight(f"{node.name}.columns", _windows(sides[1], wanted[1]).T)
    rows = graph.weight(f"{node.name}.rows", _windows(sides[0], wanted[0]))
    return graph.node("MatMul", node.name, rows, graph.node("MatMul", f"{node.name}.wide", features, columns))


def adaptive_max(graph: OnnxGraph, node: fx.Node, features: str, size: Any) -> tuple[str, None]:
    if set(node.meta["shape"][0][2:]) != {1}:
        raise ExportError(f"{node.name} is an adaptive maximum of several windows")
    return graph.node("GlobalMaxPool", node.name, features), None


def linear(graph: OnnxGraph, node: fx.Node, features: str, weight: Value, bias: Value = None) -> str:
    """On (N, C), a 1x1 Conv, then flattened: TensorRT does not have an FP32 GEMM on every GPU. Else a MatMul."""
    if not isinstance(weight, Constant) or not isinstance(bias, Constant | None):
        raise ExportError(f"{node.name} has weights that depend on the images")
    base = weight.name.removesuffix(".weight") or node.name
    if len(shape(node)) == 2:
        if not pooled(node.args[0]):
            features = reshape(graph, node, f"{node.name}.pixel", features, (*shape(node), 1, 1))
        names = [graph.weight(f"{base}.weight", weight.values[:, :, None, None])]
        if bias is not None:
            names.append(graph.weight(f"{base}.bias", bias.values))
        scores = graph.node("Conv", node.name, features, *names, kernel_shape=(1, 1))
        return graph.node("Flatten", f"{node.name}_flat", scores, axis=1)
    matrix = graph.weight(f"{base}.weight", weight.values.T)
    if bias is None:
        return graph.node("MatMul", node.name, features, matrix)
    product = graph.node("MatMul", f"{node.name}.product", features, matrix)
    return graph.node("Add", node.name, product, tensor(graph, node, bias, "bias"))


def pad(
    graph: OnnxGraph, node: fx.Node, features: str, pads: list[int], mode: str = "constant", value: float | None = None
) -> str:
    """Pad, unless the convolution or pooling after it does it."""
    if absorbed_pads(only_user(node)) is not None and only_user(node).args[0] is node:  # type: ignore[union-attr]
        return features
    if not any(pads):
        return features
    kind = {"constant": "constant", "reflect": "reflect", "replicate": "edge"}.get(mode)
    if kind is None:
        raise ExportError(f"{node.name} pads by the mode {mode}")
    rank, sides = len(shape(node)), len(pads) // 2
    before, after = [0] * rank, [0] * rank
    for place in range(sides):
        before[rank - 1 - place], after[rank - 1 - place] = pads[2 * place], pads[2 * place + 1]
    fill = [scalar(graph, value)] if value and kind == "constant" else []
    return graph.node("Pad", node.name, features, integers(graph, before + after), *fill, mode=kind)


# --- what may be folded, swapped, absorbed or split ---


def affine(norm: fx.Node) -> tuple[Array, Array]:
    """The scale and shift of an eval-mode BN, float64, each (C,)."""
    _, weight, bias, mean, variance, training, _, epsilon, *_ = norm.args
    if training or not isinstance(mean, Constant) or not isinstance(variance, Constant):
        raise ExportError(f"{norm.name} normalises by the statistics of the batch")
    scale = 1 / np.sqrt(variance.values.astype(np.float64) + epsilon)
    if isinstance(weight, Constant):
        scale = weight.values.astype(np.float64) * scale
    shift = -mean.values.astype(np.float64) * scale
    return scale, (bias.values + shift if isinstance(bias, Constant) else shift)


def folded_norm(node: Any) -> fx.Node | None:
    """The BN that is the only reader of the convolution `node`."""
    user = only_user(node) if isinstance(node, fx.Node) and node.target is aten.conv2d else None
    return user if user is not None and user.target is aten.batch_norm else None


def swapped_pool(node: Any) -> fx.Node | None:
    """The unpadded average pooling that is the only reader of the 1x1 convolution `node`: the two commute."""
    user = only_user(node) if isinstance(node, fx.Node) and node.target is aten.conv2d else None
    if user is None or user.target is not aten.avg_pool2d:
        return None
    kernel = node.args[1].values.shape[2:]
    strides, pads = _lengths(argument(node, 3, "stride", 1), kernel), argument(node, 4, "padding", 0)
    pointwise = set(kernel) | set(strides) == {1} and not any(_lengths(pads, kernel)) and absorbed_pads(node) is None
    pool_pads, ceil = _lengths(argument(user, 3, "padding", 0), kernel), argument(user, 4, "ceil_mode", False)
    return user if pointwise and not any(pool_pads) and not ceil else None


def absorbed_pads(node: Any) -> list[int] | None:
    """The padding just before a convolution or maximum, as ONNX's `pads`, if that can do it itself."""
    if not isinstance(node, fx.Node) or node.target not in (aten.conv2d, aten.max_pool2d):
        return None
    fill, source = (0, None) if node.target is aten.conv2d else (-np.inf,), node.args[0]
    if not isinstance(source, fx.Node) or source.target is not aten.pad or only_user(source) is not node:
        return None
    pads: Any = source.args[1]
    usual = argument(source, 2, "mode", "constant") == "constant" and argument(source, 3, "value") in fill
    if not usual or len(pads) != 4 or min(pads) < 0 or isinstance(argument(node, 4, "padding", 0), str):
        return None
    return [pads[2], pads[0], pads[3], pads[1]]


def pooled(node: Any) -> bool:
    """Whether `node` is a Flatten of (N, C, 1, 1) that only classifiers read: they take it as it is."""
    flat = isinstance(node, fx.Node) and node.target in (aten.flatten, aten.view, aten.reshape)
    return flat and shape(node)[2:] == (1, 1) and all(user.target is aten.linear for user in node.users)


def _split_parts(node: fx.Node, groups: int) -> list[tuple[str, slice]]:
    """The suffix and output channels of each part that a convolution's result is split into; a single part if it is not."""
    user = only_user(node)
    if user is None or user.target not in SPLITS or argument(user, 2, "dim", 0) != 1 or groups > 1:
        return [("", slice(None))]
    sizes = [part[1] for part in user.meta["shape"]]
    ends = list(accumulate(sizes))
    return [(f".{index}", slice(end - size, end)) for index, (size, end) in enumerate(zip(sizes, ends, strict=True))]


def _lengths(value: Any, like: Any) -> tuple[int, ...]:
    """One number for each spatial dimension, of which `like` has one, too."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    return numbers * len(like) if len(numbers) == 1 else numbers


def _pads(node: fx.Node, padding: Any, kernel: Any, dilation: tuple[int, ...]) -> list[int]:
    """ONNX's `pads`: before each spatial dimension, then after each."""
    if padding == "same":
        totals = [step * (length - 1) for length, step in zip(kernel, dilation, strict=True)]
        return [*(total // 2 for total in totals), *(total - total // 2 for total in totals)]
    own = [*_lengths(0 if padding == "valid" else padding, kernel)] * 2
    return [sum(pair) for pair in zip(own, absorbed_pads(node) or [0] * len(own), strict=True)]


def _ceil(ceil_mode: bool) -> dict[str, Any]:
    return {"ceil_mode": 1} if ceil_mode else {}


def _windows(side: int, wanted: int) -> Array:
    """The matrix (wanted, side) of adaptive pooling: window i has the mean from floor(i s / w) to ceil((i + 1) s / w)."""
    matrix = np.zeros((wanted, side))
    for row in range(wanted):
        start, end = row * side // wanted, -(-(row + 1) * side // wanted)
        matrix[row, start:end] = 1 / (end - start)
    return matrix


ROWS: dict[Any, Any] = {
    aten.conv2d: convolution,
    aten.conv1d: convolution,
    aten.batch_norm: batch_norm,
    aten.max_pool2d: max_pool,
    aten.avg_pool2d: average_pool,
    aten.adaptive_avg_pool2d: adaptive_average,
    aten.adaptive_max_pool2d: adaptive_max,
    aten.linear: linear,
    aten.pad: pad,
    aten.constant_pad_nd: lambda graph, node, features, pads, value=0: pad(graph, node, features, pads, value=value),
}
