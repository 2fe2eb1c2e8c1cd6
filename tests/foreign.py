"""Classifiers as other programs write them: small ONNX files for tests, made with onnx alone or by PyTorch's exporters."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CLASSES, WIDTH, SIDE = 5, 8, 32

Node = tuple[str, list[str], list[str], dict[str, object]]


def random(*shape: int, seed: int = 0, kind: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(kind)


STEM: list[Node] = [
    ("Conv", ["images", "stem.w", "stem.b"], ["x0"], {"kernel_shape": [3, 3], "strides": [4, 4], "pads": [1, 1, 1, 1]}),
    ("Relu", ["x0"], ["features"], {}),
]
FULL = WIDTH * (SIDE // 4) ** 2  # values of the features of one image
GEMM: Node = ("Gemm", ["flat", "fc.w", "fc.b"], ["logits"], {"transB": 1})
FLAT: Node = ("Flatten", ["pooled"], ["flat"], {})
POOL: Node = ("GlobalAveragePool", ["features"], ["pooled"], {})
HEADS: dict[str, tuple[list[Node], dict[str, np.ndarray]]] = {
    "gemm": ([POOL, FLAT, GEMM], {"fc.w": random(CLASSES, WIDTH, seed=2)}),
    "gemm without transB": ([POOL, FLAT, (*GEMM[:3], {"alpha": 0.5, "beta": 2.0})], {"fc.w": random(WIDTH, CLASSES, seed=2)}),
    "matmul and add": (
        [POOL, FLAT, ("MatMul", ["flat", "fc.w"], ["product"], {}), ("Add", ["fc.b", "product"], ["logits"], {})],
        {"fc.w": random(WIDTH, CLASSES, seed=2)},
    ),
    "matmul alone": ([POOL, FLAT, ("MatMul", ["flat", "fc.w"], ["logits"], {})], {"fc.w": random(WIDTH, CLASSES, seed=2)}),
    "flatten of the map": ([("Flatten", ["features"], ["flat"], {}), GEMM], {"fc.w": random(CLASSES, FULL, seed=2) / 10}),
    "reshape": (
        [POOL, ("Reshape", ["pooled", "shape"], ["flat"], {}), GEMM],
        {"fc.w": random(CLASSES, WIDTH, seed=2), "shape": np.array([-1, WIDTH])},
    ),
    "reduce mean": (
        [("ReduceMean", ["features"], ["flat"], {"axes": [2, 3], "keepdims": 0}), GEMM],
        {"fc.w": random(CLASSES, WIDTH, seed=2)},
    ),
    "leftovers": (
        [
            POOL,
            FLAT,
            ("Dropout", ["flat"], ["dropped"], {}),
            ("Identity", ["dropped"], ["same"], {}),
            ("Gemm", ["same", "fc.w", "fc.b"], ["logits"], {"transB": 1}),
        ],
        {"fc.w": random(CLASSES, WIDTH, seed=2)},
    ),
    "convolution": (
        [POOL, ("Conv", ["pooled", "fc.w", "fc.b"], ["logits"], {})],
        {"fc.w": random(CLASSES, WIDTH, 1, 1, seed=2)},
    ),
    "two layers": (
        [
            POOL,
            FLAT,
            ("Gemm", ["flat", "hidden.w"], ["hidden"], {}),
            ("Relu", ["hidden"], ["active"], {}),
            ("Gemm", ["active", "fc.w", "fc.b"], ["scores"], {"transB": 1}),
            ("Softmax", ["scores"], ["logits"], {"axis": 1}),
        ],
        {"hidden.w": random(WIDTH, 6, seed=4), "fc.w": random(CLASSES, 6, seed=2)},
    ),
}


def cnn(
    path: Path,
    head: str = "gemm",
    *,
    seed: int = 0,
    batch: int | str = "n",
    sides: tuple[int, int] = (SIDE, SIDE),
    opset: int = 17,
    norm: bool = False,
    kind: type = np.float32,
    change: Callable[[onnx.ModelProto], object] = lambda model: None,
) -> Path:
    """A convolution and a head of HEADS: images (batch, 3, 32, 32) → logits (batch, 5). `norm` puts a BN in between."""
    nodes, weights = HEADS[head]
    weights = {"stem.w": random(WIDTH, 3, 3, 3, seed=seed) / 3, "stem.b": random(WIDTH, seed=1), **weights}
    if any("fc.b" in node[1] for node in nodes):
        weights["fc.b"] = random(CLASSES, seed=3)
    stem = STEM
    if norm:
        names = ["scale", "shift", "mean", "variance"]
        weights |= {f"norm.{name}": random(WIDTH, seed=10 + index) for index, name in enumerate(names)}
        weights["norm.variance"] = np.abs(weights["norm.variance"]) + 0.1
        folded: Node = ("BatchNormalization", ["x0", *(f"norm.{name}" for name in names)], ["x1"], {"epsilon": 1e-3})
        stem = [STEM[0], folded, ("Relu", ["x1"], ["features"], {})]
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    images = helper.make_tensor_value_info("images", element, [batch, 3, *sides])
    shape = [batch, CLASSES, 1, 1] if head == "convolution" else [batch, CLASSES]
    logits = helper.make_tensor_value_info("logits", element, shape)
    stored = [
        numpy_helper.from_array(values.astype(kind) if values.dtype.kind == "f" else values, name)
        for name, values in weights.items()
    ]
    made = [helper.make_node(*each[:3], name=each[2][0], **each[3]) for each in (*stem, *nodes)]
    graph = helper.make_graph(made, "cnn", [images], [logits], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    change(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def deep(path: Path, layers: int) -> Path:
    """A residual network that takes TensorRT long to build and everything else a moment."""
    nodes = [("Conv", ["images", "stem.w"], ["x0"], {"strides": [2, 2]})]
    for index in range(layers):
        nodes += [
            ("Conv", [f"x{index}", "w"], [f"y{index}"], {"pads": [1, 1, 1, 1]}),
            ("Relu", [f"y{index}"], [f"z{index}"], {}),
            ("Add", [f"x{index}", f"z{index}"], [f"x{index + 1}"], {}),
        ]
    nodes += [("GlobalAveragePool", [f"x{layers}"], ["pooled"], {}), ("Flatten", ["pooled"], ["logits"], {})]
    weights = {"stem.w": random(CLASSES, 3, 3, 3), "w": random(CLASSES, CLASSES, 3, 3, seed=1) / (30 * layers)}
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", CLASSES])
    stored = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    graph = helper.make_graph([helper.make_node(*each[:3], **each[3]) for each in nodes], "deep", [images], [logits], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@cache
def torch_network():
    """Two convolutions with BN, one of them grouped, GELU, dropout and a linear layer; ten classes."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    layers = (
        nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(32),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(32, 10),
    )
    network = nn.Sequential(*layers).eval()
    for norm in (layers[1], layers[4]):
        norm.running_mean.normal_(0, 0.1)
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 2)
        norm.bias.data.normal_()
    return network


def by_torch(path: Path, *, dynamo: bool = False, sides: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """`torch_network` as PyTorch exports it: with BN left in the graph (dynamo=False), or with weights in another file."""
    import torch

    images = torch.zeros(2, 3, *sides)
    if dynamo:
        batch = torch.export.Dim("batch", min=1, max=64)
        torch.onnx.export(torch_network(), images, path, dynamo=True, dynamic_shapes=({0: batch},), external_data=True)
        return path
    torch.onnx.export(
        torch_network(),
        images,
        path,
        dynamo=False,
        opset_version=17,
        input_names=["images"],
        output_names=["logits"],
        dynamic_axes={"images": {0: "n"}, "logits": {0: "n"}},
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    return path


def quantized(path: Path) -> Path:
    """A Q/DQ file of `cnn` by ONNX Runtime's static quantization, with weights of 7 bits, with which no processor saturates."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter([{"images": random(4, 3, SIDE, SIDE, seed=5)}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.images, None)

    source = cnn(path.with_name(f"float-{path.name}"))
    options = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "reduce_range": True,
        "op_types_to_quantize": ["Conv"],
        "weight_type": QuantType.QInt8,
    }
    symmetric = {"ActivationSymmetric": True, "WeightSymmetric": True}
    quantize_static(source, path, Reader(), activation_type=QuantType.QInt8, extra_options=symmetric, **options)
    source.unlink()
    return path


def fp8(path: Path) -> Path:
    """A file of `cnn` with FP8 Q/DQ nodes before the input and the weights of its convolution."""
    model = onnx.version_converter.convert_version(onnx.load(cnn(path)), 19)
    kind, graph = helper.tensor_dtype_to_np_dtype(TensorProto.FLOAT8E4M3FN), model.graph
    zero, scale = np.zeros((), kind), np.array(1 / 64, "f4")
    graph.initializer.extend([numpy_helper.from_array(zero, "zero"), numpy_helper.from_array(scale, "scale")])
    first = next(index for index, node in enumerate(graph.node) if node.op_type == "Conv")
    for name in reversed(graph.node[first].input[:2]):
        names = [name, f"{name}.q", f"{name}.dq"]
        for operation in ("DequantizeLinear", "QuantizeLinear"):
            source, result = names[-2:] if operation == "DequantizeLinear" else names[:2]
            graph.node.insert(first, helper.make_node(operation, [source, "scale", "zero"], [result]))
    node = next(node for node in graph.node if node.op_type == "Conv")
    node.input[:2] = [f"{name}.dq" for name in node.input[:2]]
    onnx.save(model, path)
    return path


def externally(model: onnx.ModelProto, location: str) -> None:
    """Name a file with external data for the first weight, whose values go."""
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
