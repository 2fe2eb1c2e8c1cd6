"""Each row of OPERATIONS computes what PyTorch does, for any batch size; what no row can say is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import ExportOrder
from trtzoo.core.errors import ExportError
from trtzoo.exporter.fx_to_onnx import OPERATIONS, translate
from trtzoo.exporter.tracing import trace

SIZE = 8
aten = torch.ops.aten


class Net(nn.Module):
    """An expression of images (N, 3, 8, 8) and some weights, flattened."""

    def __init__(self, expression: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.expression = expression
        self.filters, self.bias = nn.Parameter(torch.randn(6, 3, 3, 3)), nn.Parameter(torch.randn(6))
        self.matrix, self.vector = nn.Parameter(torch.randn(8, 8)), nn.Parameter(torch.rand(8) + 0.5)
        self.width, self.index = nn.Parameter(torch.rand(3) + 0.5), torch.tensor([3, 0, 3])
        self.token = nn.Parameter(torch.randn(1, 1, 8, 8))
        self.norm = nn.BatchNorm1d(8)

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.expression(self, images), 1)


def positive(x: Tensor) -> Tensor:
    return x.abs() + 0.1


EXPRESSIONS: dict[Any, list[Callable[[Any, Tensor], Tensor]]] = {
    aten.conv2d: [
        lambda n, x: functional.conv2d(x, n.filters, n.bias, stride=2, padding=(1, 0), dilation=(1, 2)),
        lambda n, x: functional.conv2d(x, n.filters, padding="same", dilation=2),
        lambda n, x: functional.conv2d(functional.pad(x, (0, 1, 1, 2)), n.filters, padding=1, stride=2),
        lambda n, x: functional.conv2d(x, functional.layer_norm(n.filters, (3, 3, 3))),  # weights that are computed
        lambda n, x: functional.avg_pool2d(functional.conv2d(x, n.filters[:, :, :1, :1], n.bias), 2),
    ],
    aten.conv1d: [lambda n, x: functional.conv1d(x.mean(3), n.filters[:, :, 0], padding=1)],
    aten.batch_norm: [
        lambda n, x: n.norm(x.transpose(1, 3)[:, :, 0, 0]),
        lambda n, x: n.norm(x.transpose(1, 3)[:, :, :, 0]),
        lambda n, x: functional.batch_norm(x, n.width, n.width * 2, None, None, False, 0.1, 1e-3),
    ],
    aten.max_pool2d: [
        lambda n, x: functional.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda n, x: functional.max_pool2d(x, (2, 3), dilation=2),
        lambda n, x: functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-float("inf")), 3, 2),
    ],
    aten.avg_pool2d: [
        lambda n, x: functional.avg_pool2d(x, 3, 2, 1),
        lambda n, x: functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
        lambda n, x: functional.avg_pool2d(x, 3, 2, ceil_mode=True, count_include_pad=False),
    ],
    aten.adaptive_avg_pool2d: [
        lambda n, x: functional.adaptive_avg_pool2d(x, 1),
        lambda n, x: functional.adaptive_avg_pool2d(x, (4, 2)),
        lambda n, x: functional.adaptive_avg_pool2d(x, (3, 5)),
        lambda n, x: functional.adaptive_avg_pool2d(x, 11),
        lambda n, x: functional.adaptive_avg_pool2d(x, 8),
    ],
    aten.adaptive_max_pool2d: [lambda n, x: functional.adaptive_max_pool2d(x, 1)],
    aten.linear: [
        lambda n, x: functional.linear(x, n.matrix, n.vector),
        lambda n, x: functional.linear(x, n.matrix),
        lambda n, x: functional.linear(x[:, 0, 0], n.matrix, n.vector),
        lambda n, x: functional.linear(x.mean((2, 3)), n.filters[:, :, 0, 0], n.bias),
    ],
    aten.pad: [
        lambda n, x: functional.pad(x, (1, 2, 0, 1)),
        lambda n, x: functional.pad(x, (1, 2, 0, 1), value=0.5),
        lambda n, x: functional.pad(x, (1, 2, 0, 1), mode="reflect"),
        lambda n, x: functional.pad(x, (1, 2, 0, 1), mode="replicate"),
        lambda n, x: functional.pad(x, (0, 0)),
    ],
    aten.constant_pad_nd: [lambda n, x: aten.constant_pad_nd(x, [1, 1])],
    aten.add: [lambda n, x: x + n.vector, lambda n, x: torch.add(x, x * x, alpha=0.5), lambda n, x: 1 + x],
    aten.sub: [lambda n, x: x - n.vector, lambda n, x: x - 0.5],
    aten.rsub: [lambda n, x: 1 - x, lambda n, x: torch.rsub(x, n.vector)],
    aten.mul: [lambda n, x: x * 2, lambda n, x: n.vector * x],
    aten.div: [lambda n, x: x / n.vector, lambda n, x: x / 3],
    aten.maximum: [lambda n, x: torch.maximum(x, n.vector)],
    aten.minimum: [lambda n, x: torch.minimum(x, n.vector)],
    aten.where: [lambda n, x: torch.where(n.matrix > 0, x, n.vector)],
    aten.masked_fill: [
        lambda n, x: x.masked_fill(n.matrix > 0, -float("inf")).softmax(-1),
        lambda n, x: x.masked_fill(n.matrix > 0, 2),
    ],
    aten.pow: [lambda n, x: x**2, lambda n, x: positive(x) ** 0.5, lambda n, x: positive(x).pow(n.vector)],
    aten.clamp: [lambda n, x: x.clamp(-0.5, 0.5), lambda n, x: x.clamp(max=0.2), lambda n, x: x.clamp(min=0.2)],
    aten.clamp_min: [lambda n, x: torch.clamp_min(x, 0.3)],
    aten.clamp_max: [lambda n, x: torch.clamp_max(x, 0.3)],
    aten.hardtanh: [lambda n, x: functional.hardtanh(x), lambda n, x: functional.hardtanh(x, 0.1, 0.3)],
    aten.relu6: [lambda n, x: functional.relu6(x * 9), lambda n, x: functional.relu6(x * 9, inplace=True)],
    aten.relu: [lambda n, x: functional.relu(x), lambda n, x: functional.relu(x + 0, inplace=True)],
    aten.sigmoid: [lambda n, x: x.sigmoid()],
    aten.tanh: [lambda n, x: x.tanh()],
    aten.exp: [lambda n, x: x.exp()],
    aten.log: [lambda n, x: positive(x).log()],
    aten.sin: [lambda n, x: x.sin()],
    aten.cos: [lambda n, x: x.cos()],
    aten.sqrt: [lambda n, x: positive(x).sqrt()],
    aten.rsqrt: [lambda n, x: positive(x).rsqrt()],
    aten.reciprocal: [lambda n, x: positive(x).reciprocal()],
    aten.neg: [lambda n, x: -x, lambda n, x: -(n.vector.type_as(x) + x)],
    aten.abs: [lambda n, x: x.abs()],
    aten.erf: [lambda n, x: x.erf()],
    aten.hardsigmoid: [lambda n, x: functional.hardsigmoid(x * 3)],
    aten.hardswish: [lambda n, x: functional.hardswish(x * 3)],
    aten.silu: [lambda n, x: functional.silu(x)],
    aten.mish: [lambda n, x: functional.mish(x)],
    aten.gelu: [lambda n, x: functional.gelu(x * 2), lambda n, x: functional.gelu(x * 2, approximate="tanh")],
    aten.softplus: [lambda n, x: functional.softplus(x)],
    aten.elu: [lambda n, x: functional.elu(x), lambda n, x: functional.elu(x, 0.5)],
    aten.leaky_relu: [lambda n, x: functional.leaky_relu(x, 0.2)],
    aten.prelu: [lambda n, x: functional.prelu(x, n.width), lambda n, x: functional.prelu(x, n.width[:1])],
    aten.view: [lambda n, x: x.view(-1, 6, 32)],
    aten.reshape: [lambda n, x: x.reshape(x.shape[0] * 3, 64).reshape(x.shape[0], 192)],
    aten._unsafe_view: [lambda n, x: aten._unsafe_view(x, [x.shape[0], 192])],
    aten.flatten: [lambda n, x: x.flatten(2), lambda n, x: x.flatten(0, 1).reshape(x.shape[0], -1)],
    aten.unflatten: [lambda n, x: x.unflatten(3, (2, 4))],
    aten.unsqueeze: [lambda n, x: x.unsqueeze(2)],
    aten.squeeze: [lambda n, x: x.mean(1, keepdim=True).squeeze(1)],
    aten.reshape_as: [lambda n, x: x.flatten(0, 1).reshape_as(x)],
    aten.view_as: [lambda n, x: x.flatten(0, 1).view_as(x)],
    aten.permute: [lambda n, x: x.permute(0, 2, 3, 1), lambda n, x: x.permute(0, 1, -2, -1)],
    aten.transpose: [lambda n, x: x.transpose(-1, 1)],
    aten.t: [lambda n, x: (x[:, 0, 0].t() * 2).t()],
    aten.cat: [
        lambda n, x: torch.cat((x, x * 2, n.token.expand(x.shape[0], -1, -1, -1)), 1),
        lambda n, x: torch.cat((n.token.repeat(x.shape[0], 1, 1, 1), x), dim=1),
        lambda n, x: torch.cat([x], 1),
    ],
    aten.stack: [lambda n, x: torch.stack((x, x + 1), -1)],
    aten.split: [
        lambda n, x: torch.split(x, 3, -1)[2],
        lambda n, x: torch.cat(torch.split(functional.conv2d(x, n.filters), [2, 4], 1)[::-1], 1),
    ],
    aten.split_with_sizes: [lambda n, x: x.split_with_sizes([5, 3], 2)[1]],
    aten.chunk: [lambda n, x: x.chunk(2, dim=3)[1]],
    aten.unbind: [lambda n, x: torch.cat(x.unbind(2), 2)],
    aten.select: [lambda n, x: x[:, :, -1], lambda n, x: x.select(1, 2)],
    aten.slice: [lambda n, x: x[:, :, 1::3, :-2], lambda n, x: x[:, :, -3:], lambda n, x: x[:, 1:]],
    aten.roll: [lambda n, x: torch.roll(x, (-3, 2), (2, 3)), lambda n, x: torch.roll(x, 8, 2)],
    aten.flip: [lambda n, x: x.flip((2, 3))],
    aten.expand: [lambda n, x: x.mean(1, keepdim=True).expand(-1, 5, -1, -1), lambda n, x: x.expand(-1, -1, -1, -1)],
    aten.expand_as: [lambda n, x: x.mean(1, keepdim=True).expand_as(x)],
    aten.repeat: [lambda n, x: x.repeat(1, 2, 1, 3)],
    aten.index: [lambda n, x: x[:, :, n.index]],
    aten.index_select: [lambda n, x: x.index_select(-1, n.index)],
    aten.unfold: [lambda n, x: x.unfold(2, 4, 2).unfold(3, 3, 3)],
    aten.upsample_nearest2d: [
        lambda n, x: functional.interpolate(x, scale_factor=2),
        lambda n, x: functional.interpolate(x, size=(13, 9)),
    ],
    aten.upsample_bilinear2d: [
        lambda n, x: functional.interpolate(x, size=(13, 5), mode="bilinear"),
        lambda n, x: functional.interpolate(x, size=(13, 9), mode="bilinear", align_corners=True),
    ],
    aten.upsample_bicubic2d: [lambda n, x: functional.interpolate(x, size=(11, 14), mode="bicubic")],
    aten.matmul: [lambda n, x: x @ x.transpose(-1, -2), lambda n, x: n.matrix @ x],
    aten.bmm: [lambda n, x: torch.bmm(x[:, 0], x[:, 1])],
    aten.mm: [lambda n, x: torch.mm(x[:, 0, 0], n.matrix)],
    aten.addmm: [lambda n, x: torch.addmm(n.vector, x[:, 0, 0], n.matrix)],
    aten.baddbmm: [lambda n, x: torch.baddbmm(x[:, 2], x[:, 0], x[:, 1])],
    aten.einsum: [lambda n, x: torch.einsum("nchw,wk->nchk", x, n.matrix)],
    aten.scaled_dot_product_attention: [
        lambda n, x: functional.scaled_dot_product_attention(x, x * 2, x + 1),
        lambda n, x: functional.scaled_dot_product_attention(x, x, x, attn_mask=n.matrix, scale=0.3),
        lambda n, x: functional.scaled_dot_product_attention(x, x, x, attn_mask=n.matrix > 0),
    ],
    aten.softmax: [lambda n, x: x.softmax(-1), lambda n, x: x.softmax(1)],
    aten.layer_norm: [
        lambda n, x: functional.layer_norm(x, (8,), n.vector, n.vector * 2),
        lambda n, x: functional.layer_norm(x, (8, 8), eps=1e-3),
    ],
    aten.group_norm: [lambda n, x: functional.group_norm(x, 3, n.width, n.width * 2), lambda n, x: functional.group_norm(x, 1)],
    aten.rms_norm: [lambda n, x: functional.rms_norm(x, (8,), n.vector, 1e-6), lambda n, x: functional.rms_norm(x, (8,))],
    aten.linalg_vector_norm: [
        lambda n, x: torch.linalg.vector_norm(x, 2, (2, 3), keepdim=True),
        lambda n, x: functional.normalize(x, dim=-1),
    ],
    aten.norm: [lambda n, x: x.norm(p=2, dim=(2, 3), keepdim=True)],
    aten.mean: [lambda n, x: x.mean((2, 3)), lambda n, x: x.mean((2, 3), keepdim=True), lambda n, x: x.mean(-1)],
    aten.sum: [lambda n, x: x.sum(1), lambda n, x: x.sum((2, 3), keepdim=True)],
    aten.amax: [lambda n, x: x.amax((2, 3), keepdim=True)],
    aten.amin: [lambda n, x: x.amin(1)],
    aten.max: [lambda n, x: x.max(1)[0]],
}
CASES = [(packet, place) for packet, expressions in EXPRESSIONS.items() for place in range(len(expressions))]


def computed(network: nn.Module, images: np.ndarray, **options: Any) -> np.ndarray:
    """The graph's results by ONNX Runtime."""
    graph = translate(network, ExportOrder(**{"model": "net", "precision": "fp32", "size": SIZE} | options))
    graph.check()
    model = graph.skeleton()
    model.graph.initializer.extend(numpy_helper.from_array(weight.rounded(), name) for name, weight in graph.weights.items())
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


def test_each_row_has_an_expression() -> None:
    assert EXPRESSIONS.keys() == OPERATIONS.keys()


@pytest.mark.parametrize(("packet", "place"), CASES, ids=[f"{packet.__name__}-{place}" for packet, place in CASES])
def test_a_row_computes_what_pytorch_does_for_any_batch(packet: Any, place: int) -> None:
    network = Net(EXPRESSIONS[packet][place]).eval()
    if packet in (aten.batch_norm,) and place == 2:
        network.expression = lambda n, x: functional.batch_norm(
            x, n.width, n.width * 2, n.width - 0.4, n.width, False, 0.1, 1e-3
        )
    recorded = {node.target for node in trace(network, SIZE, OPERATIONS).nodes if node.op == "call_function"}
    assert packet in recorded or packet in (aten.rsub, aten.split, aten._unsafe_view, aten.norm, aten.clamp_min, aten.relu6)
    images = golden.images(SIZE)[:3]
    with torch.no_grad():
        expected = network.double()(torch.from_numpy(images).double()).numpy()
    network.float()
    found = computed(network, images)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("opset", [13, 17, 18, 21])
def test_reductions_have_the_form_of_each_opset(opset: int) -> None:
    images = golden.images(SIZE)[:2]
    for expression in (lambda n, x: x.amax(1), lambda n, x: x.sum(1), lambda n, x: x.mean(-1)):
        found = computed(Net(expression).eval(), images, opset=opset)
        assert np.allclose(found, torch.flatten(expression(None, torch.from_numpy(images)), 1), atol=1e-5)


def test_layer_normalisation_is_refused_below_opset_17() -> None:
    network = Net(lambda n, x: functional.layer_norm(x, (8,))).eval()
    with pytest.raises(ExportError, match=r"^net: layer normalisation needs opset 17 or later, not 16\.$"):
        translate(network, ExportOrder(model="net", precision="fp32", size=SIZE, opset=16))


SUMS_OF_SQUARES = {
    "norm": lambda n, x: functional.normalize(x * 100, dim=-1),
    "rms": lambda n, x: functional.rms_norm(x * 100, (8,), n.vector, 1e-6),
    "layer norm": lambda n, x: functional.layer_norm(x * 100, (8,), n.vector, n.vector),
    "gelu": lambda n, x: functional.gelu(x * 300, approximate="tanh") / 300,
}


@pytest.mark.parametrize("kind", SUMS_OF_SQUARES)
def test_squares_of_large_values_do_not_overflow_fp16(kind: str) -> None:
    """ONNX Runtime computes FP16 in FP32 between nodes, so the types in the graph are checked, too."""
    network = Net(SUMS_OF_SQUARES[kind]).eval()
    images = golden.images(SIZE)[:2]
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    assert np.abs(computed(network, images, precision="fp16") - expected).max() < 1e-2 * np.abs(expected).max()
    graph = translate(network, ExportOrder(model="net", precision="fp16", size=SIZE))
    wide = {node.output[0] for node in graph.nodes if node.op_type == "Cast" and node.attribute[0].i == 1}
    squares = [node for node in graph.nodes if node.op_type in ("ReduceL2", "ReduceMean")]
    assert all(node.input[0] in wide or "square" in node.input[0] for node in squares)
    assert bool(squares) == (kind in ("norm", "rms"))


REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "a sum of what comes before": (lambda n, x: x.cumsum(1), "no ONNX operation is known for cumsum"),
    "an order of values": (lambda n, x: x.sort(1)[0], "no ONNX operation is known for sort"),
    "a choice by values": (lambda n, x: x if x.sum() > 0 else -x, "no ONNX operation is known for gt"),
    "a number of an image": (lambda n, x: x * float(x[0, 0, 0, 0]), "no ONNX operation is known for _local_scalar_dense"),
    "weights that depend on images": (
        lambda n, x: functional.conv2d(x, n.filters * x.mean(0)[None, :, :3, :3]),
        "conv2d has weights that",
    ),
    "statistics of the batch": (
        lambda n, x: functional.batch_norm(x, None, None, training=True),
        "batch_norm normalises by the statistics",
    ),
    "a constant of the batch": (
        lambda n, x: torch.cat((x, torch.arange(len(x)).reshape(-1, 1, 1, 1).expand(-1, 3, 8, 8)), 1),
        "a constant of shape [4099, 3, 8, 8] depends on the batch size",
    ),
    "copies of a constant that exceed memory": (
        lambda n, x: x + n.token.repeat(len(x), 2000, 1, 1).mean(1, keepdim=True),
        "a constant of more than 134,217,728 values depends on the batch size",
    ),
    "a product of a constant that exceeds memory": (
        lambda n, x: x + (n.token.expand(len(x), 2000, -1, -1) @ n.matrix).mean(1, keepdim=True),
        "a constant of more than 134,217,728 values depends on the batch size",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_has_no_row_is_refused_by_name(kind: str) -> None:
    expression, reason = REFUSED[kind]
    with pytest.raises(ExportError) as caught:
        translate(Net(expression).eval(), ExportOrder(model="net", precision="fp32", size=SIZE))
    assert str(caught.value).startswith(f"net: {reason}")


@pytest.mark.parametrize("result", [lambda n, x: x, lambda n, x: (x, x), lambda n, x: n.matrix])
def test_what_is_not_logits_is_refused(result: Callable[[Any, Tensor], Any]) -> None:
    network = Net(result)
    network.forward = lambda images: result(network, images)  # type: ignore[method-assign]
    with pytest.raises(ExportError, match=r"its forward returns .*, not logits \(N, classes\)"):
        translate(network.eval(), ExportOrder(model="net", precision="fp32", size=SIZE))
