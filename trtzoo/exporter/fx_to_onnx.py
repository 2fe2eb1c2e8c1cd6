"""A traced network becomes a typed ONNX graph: one function an operation, BN folded into convolutions in float64.

The module's own `forward`, traced by torch.fx, is the only description of a network.
"""

import itertools
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import helper
from torch import fx, nn

from trtzoo.core.arrays import Array
from trtzoo.core.errors import ExportError
from trtzoo.exporter.onnx_writer import ELEMENTS, OnnxGraph

INPUT, OUTPUT = "images", "logits"
OPSETS = range(13, 26)

Value = Any  # the name of an ONNX value, or a tuple of names where an operation has several results


# --- operations: (graph, fx node, module or None, *names of the arguments) → names of the results ---


def convolution(graph: OnnxGraph, node: fx.Node, module: nn.Conv2d, images: str) -> Value:
    """Conv, with the BN behind it (and behind it alone) folded in; several where its result is split, one for each part.

    A 1x1 whose result is then averaged over windows works on averages instead: the same sums over a quarter of the pixels.
    """
    scale, bias = None, None if module.bias is None else _array(module.bias)
    if norm := _folded_norm(node):
        scale, shift = affine(norm)
        bias = shift if bias is None else bias * scale + shift
    if pool := _pool_to_swap(node):
        images = mean_pool(graph, pool, _module(pool), images)  # type: ignore[arg-type] # it is an AvgPool2d
    assert isinstance(module.padding, tuple)
    top, left = module.padding
    shape: dict[str, Any] = {
        "kernel_shape": module.kernel_size,
        "strides": module.stride,
        "pads": (top, left, top, left),
        "group": module.groups,
    }
    names = []
    for part, rows in _parts(node):
        own = None if scale is None else scale[rows]
        weights = [graph.weight(f"{node.target}.weight{part}", _array(module.weight)[rows], own)]
        if bias is not None:
            weights.append(graph.weight(f"{node.target}.bias{part}", bias[rows]))
        names.append(graph.node("Conv", f"{node.name}{part}", images, *weights, **shape))
    return names[0] if len(names) == 1 else tuple(names)


def batch_norm(graph: OnnxGraph, node: fx.Node, module: nn.BatchNorm2d, images: str) -> str:
    """BN as one scale and one shift, each rounded once: mean 0, variance 1 and epsilon 0 are exact in every type."""
    (source,) = node.all_input_nodes
    if _folded_norm(source) is module:
        return images
    scale, shift = affine(module)
    width = len(scale)
    zeros, ones = f"zeros.{width}", f"ones.{width}"
    graph.weight(zeros, np.zeros(width))
    graph.weight(ones, np.ones(width))
    names = graph.weight(f"{node.target}.weight", scale), graph.weight(f"{node.target}.bias", shift)
    return graph.node("BatchNormalization", node.name, images, *names, zeros, ones, epsilon=0.0)


def relu(graph: OnnxGraph, node: fx.Node, module: nn.ReLU, images: str) -> str:
    return graph.node("Relu", node.name, images)


def max_pool(graph: OnnxGraph, node: fx.Node, module: nn.MaxPool2d, images: str) -> str:
    kernel, stride, pad = module.kernel_size, module.stride, module.padding
    return graph.node("MaxPool", node.name, images, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)


def mean_pool(graph: OnnxGraph, node: fx.Node, module: nn.AvgPool2d, images: str) -> str:
    """AveragePool, unless the 1x1 convolution before it has had it done already."""
    (source,) = node.all_input_nodes
    if images == str(source) and _pool_to_swap(source) is node:
        return images
    kernel, stride = module.kernel_size, module.stride
    return graph.node("AveragePool", node.name, images, kernel_shape=[kernel] * 2, strides=[stride] * 2)


def global_pool(graph: OnnxGraph, node: fx.Node, module: nn.AdaptiveAvgPool2d, images: str) -> str:
    return graph.node("GlobalAveragePool", node.name, images)


def linear(graph: OnnxGraph, node: fx.Node, module: nn.Linear, pooled: str) -> str:
    """The classifier as a 1x1 Conv on (N, C, 1, 1), flattened behind it: TensorRT has no FP32 GEMM on every GPU."""
    weight = graph.weight(f"{node.target}.weight", _array(module.weight)[:, :, None, None])
    bias = graph.weight(f"{node.target}.bias", _array(module.bias))
    scores = graph.node("Conv", node.name, pooled, weight, bias, kernel_shape=(1, 1))
    return graph.node("Flatten", f"{node.name}_flat", scores, axis=1)


def flatten(graph: OnnxGraph, node: fx.Node, module: None, images: str, axis: int) -> str:
    """Flatten, unless the classifier wants the (N, C, 1, 1) before it."""
    users = [_module(user) for user in node.users]
    if all(isinstance(user, nn.Linear) for user in users):
        return images
    return graph.node("Flatten", node.name, images, axis=axis)


def concatenate(graph: OnnxGraph, node: fx.Node, module: None, parts: tuple[str, ...], axis: int) -> str:
    return graph.node("Concat", node.name, *parts, axis=axis)


def split(graph: OnnxGraph, node: fx.Node, module: None, whole: Value, sizes: list[int], dim: int) -> tuple[str, ...]:
    """Split, unless the convolution before it has given its parts already."""
    if isinstance(whole, tuple):
        return whole
    lengths = graph.integers("split." + ".".join(map(str, sizes)), list(sizes))
    names = tuple(f"{node.name}_{index}" for index in range(len(sizes)))
    graph.node("Split", node.name, whole, lengths, outputs=names, axis=dim)
    return names


def item(graph: OnnxGraph, node: fx.Node, module: None, several: tuple[str, ...], index: int) -> str:
    return several[index]


def add(graph: OnnxGraph, node: fx.Node, module: None, left: str, right: str) -> str:
    return graph.node("Add", node.name, left, right)


OPERATIONS: dict[Any, Callable[..., Value]] = {
    nn.Conv2d: convolution,
    nn.BatchNorm2d: batch_norm,
    nn.ReLU: relu,
    nn.MaxPool2d: max_pool,
    nn.AvgPool2d: mean_pool,
    nn.AdaptiveAvgPool2d: global_pool,
    nn.Linear: linear,
    torch.flatten: flatten,
    torch.cat: concatenate,
    torch.functional.split: split,
    operator.getitem: item,
    operator.add: add,
}


def affine(norm: nn.BatchNorm2d) -> tuple[Array, Array]:
    """An eval-mode BN as float64 scale and shift, each (C,)."""
    assert norm.running_mean is not None and norm.running_var is not None
    mean, variance = (_array(tensor).astype(np.float64) for tensor in (norm.running_mean, norm.running_var))
    scale = _array(norm.weight).astype(np.float64) / np.sqrt(variance + norm.eps)
    return scale, _array(norm.bias) - mean * scale


def _array(tensor: torch.Tensor) -> Array:
    return tensor.detach().numpy()


def _module(node: fx.Node) -> nn.Module | None:
    owner = node.graph.owning_module
    return owner.get_submodule(str(node.target)) if node.op == "call_module" and owner else None


def _only_user(node: fx.Node) -> fx.Node | None:
    """The node that alone reads a convolution's result."""
    users = list(node.users)
    return users[0] if len(users) == 1 and isinstance(_module(node), nn.Conv2d) else None


def _folded_norm(node: fx.Node) -> nn.BatchNorm2d | None:
    """The BN that follows `node`, where `node` is a convolution that nothing else reads."""
    user = _only_user(node)
    norm = _module(user) if user else None
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def _pool_to_swap(node: fx.Node) -> fx.Node | None:
    """The mean over unpadded windows that follows a 1x1 convolution, and may as well go before it."""
    user, conv = _only_user(node), _module(node)
    pool = _module(user) if user else None
    if not isinstance(conv, nn.Conv2d) or not isinstance(pool, nn.AvgPool2d):
        return None
    pointwise = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return user if pointwise and pool.padding == 0 else None


def _parts(node: fx.Node) -> list[tuple[str, slice]]:
    """The name and the output channels of each part that a convolution's result is split into; all of it where it is not."""
    user, conv = _only_user(node), _module(node)
    if user is None or user.target is not torch.functional.split or not isinstance(conv, nn.Conv2d) or conv.groups > 1:
        return [("", slice(None))]
    sizes: Any = user.args[1]
    ends = itertools.accumulate(sizes)
    return [(f".{index}", slice(end - size, end)) for index, (size, end) in enumerate(zip(sizes, ends, strict=True))]


def translate(
    network: nn.Module, *, name: str, precision: str, size: int, batch: int | None, opset: int, io: str = "fp32"
) -> OnnxGraph:
    """An eval-mode network as a graph: images (batch, 3, size, size) of type `io` → logits (batch, classes) of the same type.

    `batch` None leaves it dynamic. Weights and activations are of type `precision`. Raises ExportError for an operation
    that has no row in OPERATIONS and for weights that the type cannot hold.
    """
    graph = OnnxGraph(name, precision, opset)
    traced = fx.Tracer().trace(network)
    traced.owning_module = network  # type: ignore[assignment] # any module will do: it is asked for its parts
    values: dict[fx.Node, Value] = {}

    def lookup(argument: Any) -> Any:
        return fx.node.map_arg(argument, lambda source: values[source])

    for node in traced.nodes:
        if node.op == "placeholder":
            values[node] = INPUT if io == precision else graph.node("Cast", "images_cast", INPUT, to=ELEMENTS[precision])
        elif node.op == "output":
            _finish(graph, lookup(node.args[0]), io)
        else:
            module = _module(node)
            operation = OPERATIONS.get(type(module) if module is not None else node.target)
            if operation is None:
                raise ExportError(f"{name}: no ONNX operation is known for {node.format_node()}.")
            values[node] = operation(graph, node, module, *lookup(node.args), **lookup(node.kwargs))
    classes = next(m for m in reversed(list(network.modules())) if isinstance(m, nn.Linear | nn.Conv2d))
    length = batch or "batch"
    graph.inputs.append(helper.make_tensor_value_info(INPUT, ELEMENTS[io], [length, 3, size, size]))
    graph.outputs.append(helper.make_tensor_value_info(OUTPUT, ELEMENTS[io], [length, len(classes.weight)]))
    return graph


def write(path: Path, network: nn.Module, **options: Any) -> str:
    """Translate, check and write a network; the file's sha256. `options` are `translate`'s."""
    graph = translate(network, **options)
    graph.check()
    return graph.write(path)


def _finish(graph: OnnxGraph, result: str, io: str) -> None:
    """Name the last value `logits`, in the type the caller asked for."""
    if io != graph.precision:
        graph.node("Cast", OUTPUT, result, to=ELEMENTS[io])
        return
    last = graph.nodes[-1]
    last.output[0] = OUTPUT
