"""Translates a traced network into a typed ONNX graph: one function per operation, BN folded into convolutions in float64.

The only description of a network is its own `forward`, traced by torch.fx.
"""

import itertools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import fx, nn

from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import ELEMENTS, OnnxGraph

INPUT, OUTPUT = "images", "logits"

Value = Any  # the name of an ONNX value, or a tuple of names where an operation has several results


# --- operations: (graph, fx node, module or None, *names of the arguments) → names of the results ---


def convolution(graph: OnnxGraph, node: fx.Node, module: nn.Conv2d, features: str) -> Value:
    """Conv, with the BN that follows folded in; one Conv per part if the result is split.

    A 1x1 convolution that is followed by average pooling runs after it: the same sums over a quarter of the pixels.
    """
    scale, bias = None, None if module.bias is None else _array(module.bias)
    if norm := _folded_norm(node):
        scale, shift = affine(norm)
        bias = shift if bias is None else bias * scale + shift
    if pool := _swapped_pool(node):
        features = mean_pool(graph, pool, _module(pool), features)  # type: ignore[arg-type] # it is an AvgPool2d
    assert isinstance(module.padding, tuple)
    shape: dict[str, Any] = {"kernel_shape": module.kernel_size, "strides": module.stride, "group": module.groups}
    names = []
    for part, rows in _split_parts(node):
        factors = None if scale is None else scale[rows]
        weights = [graph.weight(f"{node.target}.weight{part}", _array(module.weight)[rows], factors)]
        if bias is not None:
            weights.append(graph.weight(f"{node.target}.bias{part}", bias[rows]))
        names.append(graph.node("Conv", f"{node.name}{part}", features, *weights, pads=module.padding * 2, **shape))
    return names[0] if len(names) == 1 else tuple(names)


def batch_norm(graph: OnnxGraph, node: fx.Node, module: nn.BatchNorm2d, features: str) -> str:
    """BN as a scale and a shift, each rounded once: mean 0, variance 1 and epsilon 0 are exact in every type."""
    (source,) = node.all_input_nodes
    if _folded_norm(source) is module:
        return features
    scale, shift = affine(module)
    width = len(scale)
    zeros, ones = graph.weight(f"zeros.{width}", np.zeros(width)), graph.weight(f"ones.{width}", np.ones(width))
    names = graph.weight(f"{node.target}.weight", scale), graph.weight(f"{node.target}.bias", shift)
    return graph.node("BatchNormalization", node.name, features, *names, zeros, ones, epsilon=0.0)


def max_pool(graph: OnnxGraph, node: fx.Node, module: nn.MaxPool2d, features: str) -> str:
    kernel, stride, pad = module.kernel_size, module.stride, module.padding
    return graph.node("MaxPool", node.name, features, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)


def mean_pool(graph: OnnxGraph, node: fx.Node, module: nn.AvgPool2d, features: str) -> str:
    """AveragePool, unless it already runs before the 1x1 convolution that it follows."""
    (source,) = node.all_input_nodes
    if features == str(source) and _swapped_pool(source) is node:
        return features
    kernel, stride = module.kernel_size, module.stride
    return graph.node("AveragePool", node.name, features, kernel_shape=[kernel] * 2, strides=[stride] * 2)


def linear(graph: OnnxGraph, node: fx.Node, module: nn.Linear, pooled: str) -> str:
    """The classifier as a 1x1 Conv on (N, C, 1, 1), then flattened: TensorRT does not have an FP32 GEMM on every GPU."""
    weight = graph.weight(f"{node.target}.weight", _array(module.weight)[:, :, None, None])
    bias = graph.weight(f"{node.target}.bias", _array(module.bias))
    scores = graph.node("Conv", node.name, pooled, weight, bias, kernel_shape=(1, 1))
    return graph.node("Flatten", f"{node.name}_flat", scores, axis=1)


def flatten(graph: OnnxGraph, node: fx.Node, module: None, features: str, axis: int) -> str:
    """Flatten, unless only classifiers follow, which take (N, C, 1, 1)."""
    if all(isinstance(_module(user), nn.Linear) for user in node.users):
        return features
    return graph.node("Flatten", node.name, features, axis=axis)


def concatenate(graph: OnnxGraph, node: fx.Node, module: None, parts: tuple[str, ...], axis: int) -> str:
    return graph.node("Concat", node.name, *parts, axis=axis)


def split(graph: OnnxGraph, node: fx.Node, module: None, whole: Value, sizes: list[int], dim: int) -> tuple[str, ...]:
    """Split, unless the convolution before it already gives the parts."""
    if isinstance(whole, tuple):
        return whole
    lengths = graph.weight("split." + ".".join(map(str, sizes)), np.array(sizes))
    names = tuple(f"{node.name}_{index}" for index in range(len(sizes)))
    graph.node("Split", node.name, whole, lengths, outputs=names, axis=dim)
    return names


def plain(operation: str) -> Callable[..., str]:
    """An operation that becomes one node without attributes."""
    return lambda graph, node, module, *inputs: graph.node(operation, node.name, *inputs)


OPERATIONS: dict[Any, Callable[..., Value]] = {
    nn.Conv2d: convolution,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: plain("Relu"),
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: mean_pool,
    nn.AdaptiveAvgPool2d: plain("GlobalAveragePool"),
    nn.Linear: linear,
    torch.flatten: flatten,
    torch.cat: concatenate,
    torch.functional.split: split,
    operator.getitem: lambda graph, node, module, names, index: names[index],
    operator.add: plain("Add"),
}


# --- what may be folded, swapped or split ---


def affine(norm: nn.BatchNorm2d) -> tuple[Array, Array]:
    """The scale and shift of an eval-mode BN, float64, each (C,)."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = (_array(tensor).astype(np.float64) for tensor in (norm.running_mean, norm.running_var))
    scale = _array(norm.weight).astype(np.float64) / np.sqrt(variance + norm.eps)
    return scale, _array(norm.bias) - mean * scale


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def _module(node: fx.Node | None) -> nn.Module | None:
    owner = node.graph.owning_module if node and node.op == "call_module" else None
    return owner.get_submodule(str(node.target)) if node and owner else None


def _only_user(node: fx.Node) -> fx.Node | None:
    """The only node that reads the result of `node`, if `node` is a convolution."""
    users = list(node.users)
    return users[0] if len(users) == 1 and isinstance(_module(node), nn.Conv2d) else None


def _folded_norm(node: fx.Node) -> nn.BatchNorm2d | None:
    """The BN that is the only user of the convolution `node`."""
    norm = _module(_only_user(node))
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def _swapped_pool(node: fx.Node) -> fx.Node | None:
    """The unpadded average pooling that is the only user of the 1x1 convolution `node`: the two commute."""
    user, conv = _only_user(node), _module(node)
    pool = _module(user)
    if not isinstance(conv, nn.Conv2d) or not isinstance(pool, nn.AvgPool2d):
        return None
    pointwise = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return user if pointwise and pool.padding == 0 else None


def _split_parts(node: fx.Node) -> list[tuple[str, slice]]:
    """The suffix and output channels of each part that a convolution's result is split into; a single part if it is not."""
    user, conv = _only_user(node), _module(node)
    if user is None or user.target is not torch.functional.split or not isinstance(conv, nn.Conv2d) or conv.groups > 1:
        return [("", slice(None))]
    sizes: Any = user.args[1]
    ends = itertools.accumulate(sizes)
    return [(f".{index}", slice(end - size, end)) for index, (size, end) in enumerate(zip(sizes, ends, strict=True))]


# --- the whole network ---


def translate(network: nn.Module, order: ExportOrder) -> OnnxGraph:
    """An eval-mode network as a graph: images (batch, 3, size, size) of type `io` → logits (batch, classes) of the same type.

    Weights and activations have the type `floats`; the number of classes is the network's. Raises ExportError for an operation
    that has no row in OPERATIONS.
    """
    graph, precision, io = OnnxGraph(order.model, order.floats, order.graph_opset), order.floats, order.io
    traced = fx.symbolic_trace(network).graph
    values: dict[fx.Node, Value] = {}
    for node in traced.nodes:
        arguments, named = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
        if node.op == "placeholder":
            values[node] = INPUT if io == precision else graph.node("Cast", "images_cast", INPUT, to=ELEMENTS[precision])
        elif node.op == "output" and io == precision:
            graph.nodes[-1].output[0] = OUTPUT
        elif node.op == "output":
            graph.node("Cast", OUTPUT, arguments[0], to=ELEMENTS[io])
        else:
            module = _module(node)
            operation = OPERATIONS.get(type(module) if module is not None else node.target)
            if operation is None:
                raise ExportError(f"{order.model}: no ONNX operation is known for {node.format_node()}.")
            values[node] = operation(graph, node, module, *arguments, **named)
    classes = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear | nn.Conv2d))
    length = "batch" if order.batch == "dynamic" else order.batch
    graph.inputs.append(helper.make_tensor_value_info(INPUT, ELEMENTS[io], [length, 3, order.size, order.size]))
    graph.outputs.append(helper.make_tensor_value_info(OUTPUT, ELEMENTS[io], [length, len(classes.weight)]))
    return graph


def reference_logits(network: nn.Module, images: Array) -> Array:
    """Images (N, 3, H, W) → PyTorch's float64 logits (N, classes). Afterwards the network is float32 again, bit for bit."""
    network.double()
    try:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images).double()).numpy())
    finally:
        network.float()
