"""A traced network becomes a typed ONNX graph: one function an operation, weights folded in float64 and never copied.

The module's own `forward`, traced by torch.fx, is the only description of a network. `translate` maps each of its
operations to an ONNX node; `Graph.write` streams the file, so a network of 350 MB costs one pass over its weights.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import fx, nn

from trtzoo.errors import ExportError

INPUT, OUTPUT = "images", "logits"
OPSETS = range(13, 26)
ELEMENTS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16}
NUMPY = {"fp32": np.dtype("<f4"), "fp16": np.dtype("<f2")}

Array = np.ndarray[Any, Any]
Value = Any  # the name of an ONNX value, or a tuple of names where an operation has several results


@dataclass
class Graph:
    """Nodes and weights of one ONNX graph, in one floating-point type."""

    name: str
    precision: str
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: dict[str, Array] = field(default_factory=dict)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    outputs: list[onnx.ValueInfoProto] = field(default_factory=list)

    def node(self, kind: str, name: str, *inputs: str, outputs: tuple[str, ...] = (), **attributes: Any) -> Value:
        """Append a node called `name`; its one result bears the same name."""
        results = outputs or (name,)
        self.nodes.append(helper.make_node(kind, list(inputs), list(results), name=name, **attributes))
        return results if outputs else name

    def weight(self, name: str, values: torch.Tensor) -> str:
        """Store float64 `values` rounded once to the graph's type. Raises ExportError where that type cannot hold them."""
        rounded = values.to(torch.float32 if self.precision == "fp32" else torch.float16).contiguous().numpy()
        if not np.isfinite(rounded).all():
            raise ExportError(f"{name} does not fit {self.precision}: its largest value is {values.abs().max():.3g}.")
        self.weights[name] = rounded
        return name

    def integers(self, name: str, values: list[int]) -> str:
        self.weights[name] = np.array(values, "<i8")
        return name

    def skeleton(self) -> onnx.ModelProto:
        """The model without its weights."""
        body = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs)
        opset = helper.make_opsetid("", self.opset)
        ir = helper.find_min_ir_version_for([opset])
        return helper.make_model(body, opset_imports=[opset], producer_name="trtzoo", ir_version=ir)

    def model(self) -> onnx.ModelProto:
        """The whole model as one message."""
        model = self.skeleton()
        for name, array in self.weights.items():
            model.graph.initializer.append(_header(name, array))
            model.graph.initializer[-1].raw_data = array.tobytes()
        return model

    def write(self, path: Path) -> str:
        """Stream the model to `path`; the sha256 of the file. Equal graphs give equal bytes."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            for part in self._parts():
                digest.update(part)
                file.write(part)
        return digest.hexdigest()

    def _parts(self) -> Iterator[bytes | memoryview[Any]]:
        """The file's bytes: the model's fields, then the graph's, then tensor by tensor (fields may come in any order)."""
        model = self.skeleton()
        body = model.graph.SerializeToString(deterministic=True)
        model.ClearField("graph")
        tensors = [(*_tensor(name, array), array) for name, array in self.weights.items()]
        size = len(body) + sum(len(head) + array.nbytes for head, array in tensors)
        yield model.SerializeToString(deterministic=True) + _key(7) + _varint(size) + body
        for head, array in tensors:
            yield head
            yield array.reshape(-1).view(np.uint8).data


def _header(name: str, array: Array) -> TensorProto:
    return TensorProto(name=name, dims=array.shape, data_type=helper.np_dtype_to_tensor_dtype(array.dtype))


def _tensor(name: str, array: Array) -> tuple[bytes]:
    """All of GraphProto.initializer's bytes (field 5) for one tensor but raw_data itself (field 9), which is last."""
    head = _header(name, array).SerializeToString(deterministic=True) + _key(9) + _varint(array.nbytes)
    return (_key(5) + _varint(len(head) + array.nbytes) + head,)


def _key(number: int) -> bytes:
    """Protobuf's key of a length-delimited field."""
    return bytes([number << 3 | 2])


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# --- operations: (graph, fx node, module or None, *names of the arguments) → names of the results ---


def convolution(graph: Graph, node: fx.Node, module: nn.Conv2d, images: str) -> str:
    """Conv, with the BN behind it (and behind it alone) folded in."""
    weight, bias = module.weight.detach().double(), None if module.bias is None else module.bias.detach().double()
    if norm := _folded_norm(node):
        scale, shift = affine(norm)
        weight, bias = weight * scale[:, None, None, None], shift if bias is None else bias * scale + shift
    names = [graph.weight(f"{node.target}.weight", weight)]
    if bias is not None:
        names.append(graph.weight(f"{node.target}.bias", bias))
    assert isinstance(module.padding, tuple)
    top, left = module.padding
    return graph.node(  # type: ignore[no-any-return]
        "Conv",
        node.name,
        images,
        *names,
        kernel_shape=module.kernel_size,
        strides=module.stride,
        pads=(top, left, top, left),
        group=module.groups,
    )


def batch_norm(graph: Graph, node: fx.Node, module: nn.BatchNorm2d, images: str) -> str:
    """BN as one scale and one shift, each rounded once: mean 0, variance 1 and epsilon 0 are exact in every type."""
    (source,) = node.all_input_nodes
    if _folded_norm(source) is module:
        return images
    scale, shift = affine(module)
    width = len(scale)
    zeros, ones = f"zeros.{width}", f"ones.{width}"
    graph.weight(zeros, torch.zeros(width, dtype=torch.float64))
    graph.weight(ones, torch.ones(width, dtype=torch.float64))
    names = graph.weight(f"{node.target}.weight", scale), graph.weight(f"{node.target}.bias", shift)
    return graph.node("BatchNormalization", node.name, images, *names, zeros, ones, epsilon=0.0)  # type: ignore[no-any-return]


def relu(graph: Graph, node: fx.Node, module: nn.ReLU, images: str) -> str:
    return graph.node("Relu", node.name, images)  # type: ignore[no-any-return]


def max_pool(graph: Graph, node: fx.Node, module: nn.MaxPool2d, images: str) -> str:
    kernel, stride, pad = module.kernel_size, module.stride, module.padding
    return graph.node(  # type: ignore[no-any-return]
        "MaxPool", node.name, images, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4
    )


def mean_pool(graph: Graph, node: fx.Node, module: nn.AvgPool2d, images: str) -> str:
    kernel, stride = module.kernel_size, module.stride
    return graph.node("AveragePool", node.name, images, kernel_shape=[kernel] * 2, strides=[stride] * 2)  # type: ignore[no-any-return]


def global_pool(graph: Graph, node: fx.Node, module: nn.AdaptiveAvgPool2d, images: str) -> str:
    return graph.node("GlobalAveragePool", node.name, images)  # type: ignore[no-any-return]


def linear(graph: Graph, node: fx.Node, module: nn.Linear, pooled: str) -> str:
    """The classifier as a 1x1 Conv on (N, C, 1, 1), flattened behind it: TensorRT has no FP32 GEMM on every GPU."""
    weight = graph.weight(f"{node.target}.weight", module.weight.detach().double()[:, :, None, None])
    bias = graph.weight(f"{node.target}.bias", module.bias.detach().double())
    scores = graph.node("Conv", node.name, pooled, weight, bias, kernel_shape=(1, 1))
    return graph.node("Flatten", f"{node.name}_flat", scores, axis=1)  # type: ignore[no-any-return]


def flatten(graph: Graph, node: fx.Node, module: None, images: str, axis: int) -> str:
    """Flatten, unless the classifier wants the (N, C, 1, 1) before it."""
    users = [_module(user) for user in node.users]
    if all(isinstance(user, nn.Linear) for user in users):
        return images
    return graph.node("Flatten", node.name, images, axis=axis)  # type: ignore[no-any-return]


def concatenate(graph: Graph, node: fx.Node, module: None, parts: tuple[str, ...], axis: int) -> str:
    return graph.node("Concat", node.name, *parts, axis=axis)  # type: ignore[no-any-return]


def split(graph: Graph, node: fx.Node, module: None, whole: str, sizes: list[int], dim: int) -> Value:
    lengths = graph.integers("split." + ".".join(map(str, sizes)), list(sizes))
    names = tuple(f"{node.name}_{index}" for index in range(len(sizes)))
    return graph.node("Split", node.name, whole, lengths, outputs=names, axis=dim)


def item(graph: Graph, node: fx.Node, module: None, several: tuple[str, ...], index: int) -> str:
    return several[index]


def add(graph: Graph, node: fx.Node, module: None, left: str, right: str) -> str:
    return graph.node("Add", node.name, left, right)  # type: ignore[no-any-return]


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


def affine(norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """An eval-mode BN as float64 scale and shift, each (C,)."""
    weight, bias = norm.weight.detach().double(), norm.bias.detach().double()
    assert norm.running_mean is not None and norm.running_var is not None
    scale = weight / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, bias - norm.running_mean.double() * scale


def _module(node: fx.Node) -> nn.Module | None:
    owner = node.graph.owning_module
    return owner.get_submodule(str(node.target)) if node.op == "call_module" and owner else None


def _folded_norm(node: fx.Node) -> nn.BatchNorm2d | None:
    """The BN that follows `node`, where `node` is a convolution that nothing else reads."""
    users = list(node.users)
    norm = _module(users[0]) if len(users) == 1 and isinstance(_module(node), nn.Conv2d) else None
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def translate(
    network: nn.Module, *, name: str, precision: str, size: int, batch: int | None, opset: int, io: str = "fp32"
) -> Graph:
    """An eval-mode network as a graph: images (batch, 3, size, size) of type `io` → logits (batch, classes) of the same type.

    `batch` None leaves it dynamic. Weights and activations are of type `precision`. Raises ExportError for an operation
    that has no row in OPERATIONS and for weights that the type cannot hold.
    """
    graph = Graph(name, precision, opset)
    traced = fx.symbolic_trace(network)
    values: dict[fx.Node, Value] = {}

    def lookup(argument: Any) -> Any:
        return fx.node.map_arg(argument, lambda source: values[source])

    for node in traced.graph.nodes:
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
    """Translate and write a network, then let onnx check it, types and shapes inferred strictly; the file's sha256.

    `options` are `translate`'s. Raises ExportError with the checker's words.
    """
    digest = translate(network, **options).write(path)
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"{path.name} is not valid ONNX: {error}") from error
    return digest


def _finish(graph: Graph, result: str, io: str) -> None:
    """Name the last value `logits`, in the type the caller asked for."""
    if io != graph.precision:
        graph.node("Cast", OUTPUT, result, to=ELEMENTS[io])
        return
    last = graph.nodes[-1]
    last.output[0] = OUTPUT
