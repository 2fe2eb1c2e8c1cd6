"""ONNX graphs in float64, compared with PyTorch's float64."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional

from tests.foreign import by_torch, random, torch_network
from trtzoo.exporter.float64 import Evaluation

IMAGES = random(2, 6, 11, 9)


def graph(operation, weights=(), *, opset=18, **attributes):
    names = [f"w{index}" for index in range(len(weights))]
    nodes = [
        helper.make_node(operation, ["images", *names], ["out"], **attributes),
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Cast", ["out"], ["single"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["single", "one"], ["logits"]),
    ]
    stored = [numpy_helper.from_array(values, name) for values, name in zip(weights, names, strict=True)]
    images, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("images", "logits"))
    model = helper.make_graph(nodes, "one", [images], [logits], stored)
    return helper.make_model(model, opset_imports=[helper.make_opsetid("", opset)])


def doubles(*arrays):
    return [torch.from_numpy(values).double() for values in arrays]


WEIGHT, BIAS = random(8, 3, 3, 2, seed=1), random(8, seed=2)
NORM = [random(6, seed=3), random(6, seed=4), random(6, seed=5), np.abs(random(6, seed=6))]
CONV = {"strides": [2, 1], "pads": [1, 0, 1, 0], "dilations": [1, 2], "group": 2}
CASES = {
    "grouped convolution": (
        graph("Conv", [WEIGHT, BIAS], **CONV),
        lambda x: functional.conv2d(x, *doubles(WEIGHT, BIAS), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2),
    ),
    "same padding": (
        graph("Conv", [random(4, 6, 3, 3, seed=1)], auto_pad="SAME_UPPER", strides=[2, 2]),
        lambda x: functional.conv2d(functional.pad(x, (1, 1, 1, 1)), *doubles(random(4, 6, 3, 3, seed=1)), stride=2),
    ),
    "max pooling, rounded up": (
        graph("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        lambda x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    ),
    "dilated max pooling": (
        graph("MaxPool", kernel_shape=[2, 3], dilations=[2, 1]),
        lambda x: functional.max_pool2d(x, (2, 3), 1, dilation=(2, 1)),
    ),
    "mean pooling, rounded up, without the padding": (
        graph("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
        lambda x: functional.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=False),
    ),
    "mean pooling, rounded up, with the padding": (
        graph("AveragePool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1, count_include_pad=1),
        lambda x: functional.avg_pool2d(x, (3, 2), 2, 1, ceil_mode=True, count_include_pad=True),
    ),
    "batch norm of an old opset": (
        graph("BatchNormalization", NORM, opset=9, epsilon=0.0009765625),
        lambda x: functional.batch_norm(x, *doubles(NORM[2], NORM[3], NORM[0], NORM[1]), eps=0.0009765625),
    ),
    "local response norm": (
        graph("LRN", size=5, alpha=0.125, beta=0.75, bias=1.0),
        lambda x: functional.local_response_norm(x, 5, alpha=0.125, beta=0.75, k=1.0),
    ),
    "gelu": (graph("Gelu", opset=20), functional.gelu),
    "gelu by tanh": (graph("Gelu", opset=20, approximate="tanh"), lambda x: functional.gelu(x, approximate="tanh")),
    "erf": (graph("Erf"), torch.erf),
}


@pytest.mark.parametrize("case", CASES)
def test_an_operation_is_as_exact_as_in_pytorch(case):
    model, expected = CASES[case]
    found, reference = Evaluation(model)(IMAGES), expected(*doubles(IMAGES)).numpy()
    assert found.shape == reference.shape
    assert np.abs(found - reference).max() < 1e-13 * np.abs(reference).max()


def test_a_network_is_evaluated_in_float64_and_its_peaks_are_known(tmp_path):
    evaluation, images = Evaluation(onnx.load(by_torch(tmp_path / "net.onnx"))), random(3, 3, 32, 32)
    with torch.no_grad():
        reference = torch_network().double()(*doubles(images)).numpy()
    torch_network().float()
    logits = evaluation(images)
    assert np.abs(logits - reference).max() < 1e-8  # the file's constant √2 is float32
    assert evaluation.peaks["logits"] == np.abs(logits).max()


def test_an_output_in_less_precision_is_no_reference():
    model = graph("ArgMax", axis=1)
    model.graph.node[2].attribute[0].i = TensorProto.INT32
    del model.graph.node[3]
    model.graph.node[2].output[0] = "logits"
    with pytest.raises(ValueError, match=r"^the output is int32$"):
        Evaluation(model)(IMAGES)
