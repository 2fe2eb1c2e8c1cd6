"""Parameters and multiply-accumulates, counted from ONNX graphs."""

import operator

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import fx, nn

from trtzoo.artifacts.counting import GraphCount, count_graph
from trtzoo.models.table import MODELS, build_network

FUNCTIONS = {torch.flatten: "Flatten", torch.cat: "Concat", operator.add: "Add", torch.functional.split: "Split"}


def unfolded(network: nn.Module, size: int) -> onnx.ModelProto:
    """A network as ONNX, module by module; its weights have shapes and no values."""
    nodes, weights = [], []

    def tensors(node, *values):
        names = [f"{node.name}.{index}" for index in range(len(values))]
        weights.extend(
            TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
            for name, value in zip(names, values, strict=True)
        )
        return names

    def product(node, module, given):
        own = [value for value in (module.weight, module.bias) if value is not None]
        if isinstance(module, nn.Linear):
            return helper.make_node("Gemm", [*given, *tensors(node, *own)], [node.name], transB=1)
        shape = {"strides": module.stride, "pads": module.padding * 2, "group": module.groups}
        return helper.make_node("Conv", [*given, *tensors(node, *own)], [node.name], **shape)

    def other(node, given):
        axis = {} if node.target is operator.add else {"axis": 1}
        outputs = [node.name]
        if node.target is torch.functional.split:
            sizes = helper.make_tensor(f"{node.name}.sizes", TensorProto.INT64, [len(node.args[1])], node.args[1])
            weights.append(sizes)
            given, outputs = [*given, sizes.name], [f"{node.name}.{index}" for index in range(len(node.args[1]))]
        return helper.make_node(FUNCTIONS[node.target], given, outputs, **axis)

    def convert(node):
        given = [f"{each}" for each in node.all_input_nodes]
        module = network.get_submodule(node.target) if node.op == "call_module" else None
        if isinstance(module, nn.Conv2d | nn.Linear):
            return product(node, module, given)
        if isinstance(module, nn.BatchNorm2d):
            own = tensors(node, module.weight, module.bias, module.running_mean, module.running_var)
            return helper.make_node("BatchNormalization", [*given, *own], [node.name])
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            kind = "MaxPool" if isinstance(module, nn.MaxPool2d) else "AveragePool"
            shape = {"strides": [module.stride] * 2, "pads": [module.padding] * 4}
            return helper.make_node(kind, given, [node.name], kernel_shape=[module.kernel_size] * 2, **shape)
        if module is not None:
            return helper.make_node({nn.ReLU: "Relu"}.get(type(module), "GlobalAveragePool"), given, [node.name])
        if node.target is operator.getitem:
            return helper.make_node("Identity", [f"{node.args[0]}.{node.args[1]}"], [node.name])
        return other(node, given)

    for node in fx.symbolic_trace(network).graph.nodes:
        if node.op == "placeholder":
            images = helper.make_tensor_value_info(node.name, TensorProto.FLOAT, ["batch", 3, size, size])
        elif node.op == "output":
            logits = helper.make_tensor_value_info(f"{node.args[0]}", TensorProto.FLOAT, ["batch", None])
        else:
            nodes.append(convert(node))
    graph = helper.make_graph(nodes, "unfolded", [images], [logits], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


@pytest.mark.parametrize("name", MODELS)
def test_a_graph_has_the_exact_numbers_of_its_network(name):
    model = MODELS[name]
    found = count_graph(unfolded(build_network(model, device="meta"), 224))
    assert found == GraphCount(model.params, model.macs)


def small(*nodes, weights, opset=17, sides=(3, 8, 8)):
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", *sides])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 5])
    stored = [helper.make_tensor(name, kind, dims, [0] * torch.Size(dims).numel()) for name, (kind, dims) in weights.items()]
    graph = helper.make_graph([helper.make_node(*each[:3], **each[3]) for each in nodes], "small", [images], [logits], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def test_a_shared_weight_counts_once_and_its_products_twice():
    weights = {"w": (TensorProto.FLOAT, [3, 3, 1, 1]), "v": (TensorProto.FLOAT, [192, 5])}
    nodes = [
        ("Conv", ["images", "w"], ["a"], {}),
        ("Conv", ["a", "w"], ["b"], {}),
        ("Flatten", ["b"], ["c"], {}),
        ("MatMul", ["c", "v"], ["logits"], {}),
    ]
    assert count_graph(small(*nodes, weights=weights)) == GraphCount(9 + 960, 2 * 9 * 64 + 960)


def test_settings_and_scales_are_no_parameters_and_a_quantized_weight_is():
    weights = {
        "low": (TensorProto.FLOAT, []),
        "scale": (TensorProto.FLOAT, [5]),
        "zero": (TensorProto.INT8, [5]),
        "w": (TensorProto.INT8, [5, 3, 8, 8]),
    }
    nodes = [
        ("Clip", ["images", "low"], ["a"], {}),
        ("DequantizeLinear", ["w", "scale", "zero"], ["weight"], {"axis": 0}),
        ("Conv", ["a", "weight"], ["b"], {}),
        ("Flatten", ["b"], ["logits"], {}),
    ]
    assert count_graph(small(*nodes, weights=weights)) == GraphCount(960, 960)


def test_a_weight_in_a_constant_counts_and_an_unknown_shape_leaves_the_products_unknown():
    value = helper.make_tensor("", TensorProto.FLOAT, [3, 1, 1], [1, 2, 3])
    nodes = [
        ("Constant", [], ["gamma"], {"value": value}),
        ("Mul", ["images", "gamma"], ["a"], {}),
        ("NonZero", ["a"], ["b"], {}),
        ("Cast", ["b"], ["c"], {"to": TensorProto.FLOAT}),
        ("MatMul", ["c", "w"], ["logits"], {}),
    ]
    assert count_graph(small(*nodes, weights={"w": (TensorProto.FLOAT, [7, 5])})) == GraphCount(38, None)
