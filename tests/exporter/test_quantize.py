"""Which tensors are quantized, with which scales: the rules of exporter/quantize.py, one test each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import Calibration, ExportOrder
from trtzoo.core.errors import ExportError
from trtzoo.exporter.calibrate import activation_ranges, least_squares
from trtzoo.exporter.fx_to_onnx import translate
from trtzoo.exporter.onnx_writer import OnnxGraph
from trtzoo.exporter.quantize import GROUPED, ODD, SHARED, place, quantize, round_up, to_calibrate
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network

NAMES = ("densenet121", "dpn68")
IMAGES = golden.images(32, 2)
CALIBRATION = Calibration(data="synthetic", fingerprint="", images=2, method="minmax")


class Network:
    """A seeded network of ten classes at 32x32, and its ranges on two images."""

    def __init__(self, name: str) -> None:
        self.name, self.module = name, seed(build_network(MODELS[name], classes=10, device="meta"))
        self.ranges = activation_ranges(self.graph("fp32"), IMAGES, "minmax")

    def graph(self, kind: str) -> OnnxGraph:
        return translate(self.module, ExportOrder(model=self.name, precision=kind, classes=10, size=32))

    def quantized(self, kind: str, *, kept: tuple[str, ...] = (), ranges: dict[str, float] | None = None) -> onnx.ModelProto:
        graph = self.graph(kind)
        self.quantization = quantize(graph, ranges or self.ranges, CALIBRATION, kept=kept)
        graph.check()
        model = graph.skeleton()
        model.graph.initializer.extend(numpy_helper.from_array(one.rounded(), name) for name, one in graph.weights.items())
        for tensor, weight in zip(model.graph.initializer, graph.weights.values(), strict=True):
            tensor.dims[:] = weight.values.shape
        return model


@pytest.fixture(scope="module")
def made() -> Iterator[Callable[[str], Network]]:
    networks = cache(Network)
    yield networks
    networks.cache_clear()


@pytest.fixture(params=NAMES)
def network(request: pytest.FixtureRequest, made: Callable[[str], Network]) -> Network:
    return made(request.param)


@pytest.fixture
def dpn68(made: Callable[[str], Network]) -> Network:
    return made("dpn68")


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    return {name: node for node in model.graph.node for name in node.output}


def convolutions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "Conv"]


def is_dequantized(model: onnx.ModelProto, name: str) -> bool:
    maker = producers(model).get(name)
    return maker is not None and maker.op_type == "DequantizeLinear"


@pytest.mark.parametrize("kind", ["int8", "int8-fp16"])
def test_all_convolutions_but_stem_and_classifier_have_integers_on_both_sides(network: Network, kind: str) -> None:
    model = network.quantized(kind)
    stem, *inner, classifier = convolutions(model)
    for node in inner:
        assert is_dequantized(model, node.input[0]) and is_dequantized(model, node.input[1]), node.name
    for node in (stem, classifier):
        assert not any(is_dequantized(model, name) for name in node.input)
    assert (network.quantization.convolutions, network.quantization.all_convolutions) == (len(inner), len(inner) + 2)


def test_weights_are_stored_in_int8_within_half_a_step_of_the_folded_ones(network: Network) -> None:
    model, whole = network.quantized("int8"), network.graph("fp32")
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in convolutions(model)[1:-1]:
        name = node.input[1].removesuffix(".dequantized")
        values, scales = numpy_helper.to_array(stored[name]), numpy_helper.to_array(stored[f"{name}.scale"])
        assert values.dtype == np.int8 and scales.shape == (len(values),) and np.abs(values.astype(int)).max() == 127
        steps = scales.astype(np.float64).reshape(-1, 1, 1, 1)
        assert np.abs(values * steps - whole.weights[name].rounded()).max() <= (0.501 * steps).max()


def test_batch_normalization_is_folded_into_the_weights_before_they_are_quantized(dpn68: Network) -> None:
    network = dpn68
    weight = network.quantized("int8")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in weight.graph.initializer}
    block = network.module.get_submodule("features.conv3_1.c1x1_a")
    following = network.module.get_submodule("features.conv3_1.c3x3_b.bn")
    factors = (following.weight / (following.running_var.double() + following.eps).sqrt()).detach().numpy()  # type: ignore
    expected = block.conv.weight.detach().numpy()[:, :, 0, 0] * factors[:, None]  # type: ignore[union-attr, operator]
    name = "features.conv3_1.c1x1_a.conv.weight"
    found = stored[name][:, :, 0, 0] * stored[f"{name}.scale"][:, None]
    assert np.abs(found - expected).max() <= 0.501 * stored[f"{name}.scale"].max()


def test_gpus_get_fp16_and_int8_only_and_processors_bytes_without_sign_after_relu(network: Network) -> None:
    kinds = {
        kind: {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in network.quantized(kind).graph.initializer}
        for kind in ("int8", "int8-fp16")
    }
    assert kinds == {"int8": {"FLOAT", "INT8", "UINT8"}, "int8-fp16": {"FLOAT16", "INT8"}}
    assert network.quantized("int8").opset_import[0].version == 17
    assert network.quantized("int8-fp16").opset_import[0].version == 19


def test_on_gpus_an_addition_takes_the_path_around_from_int8_and_its_branch_as_the_convolution_gives_it(dpn68: Network) -> None:
    model = dpn68.quantized("int8-fp16")
    additions = [node for node in model.graph.node if node.op_type == "Add"]
    assert len(additions) == sum(MODELS["dpn68"].arguments["blocks"])
    for node in additions:
        assert [is_dequantized(model, name) for name in node.input] == [True, False]
        assert node.output[0] in dpn68.quantization.scales


def test_on_processors_sums_and_joins_stay_in_floating_point_but_for_what_convolutions_give_them(network: Network) -> None:
    model = network.quantized("int8")
    makers = producers(network.graph("fp32").skeleton())
    inner = {node.name for node in convolutions(model)[1:-1]}
    joins = [node for node in model.graph.node if node.op_type in ("Add", "Concat")]
    assert len(joins) > 20
    for node in joins:
        assert node.output[0] not in network.quantization.scales
        for name in node.input:
            assert is_dequantized(model, name) == (makers[name.removesuffix(".dequantized")].name in inner)


def test_parts_of_a_concatenation_share_a_scale_and_so_does_its_result(network: Network) -> None:
    ranges = {name: 1.0 + index % SHARED for index, name in enumerate(network.ranges)}
    model = network.quantized("int8-fp16", ranges=ranges)
    joins = [node for node in model.graph.node if node.op_type == "Concat"]
    assert len(joins) > 20
    for node in joins:
        names = [name.removesuffix(".dequantized") for name in (*node.input, *node.output)]
        (scale,) = {network.quantization.scales[name] for name in names}
        assert scale >= max(ranges[name] for name in names) / 127


def test_parts_of_very_different_ranges_keep_their_own_scales_and_are_joined_in_floating_point(
    made: Callable[[str], Network],
) -> None:
    network = made("densenet121")
    part = "features_denseblock2_denselayer5_conv2"
    model = network.quantized("int8-fp16", ranges=network.ranges | {part: 2 * SHARED * max(network.ranges.values())})
    scales = network.quantization.scales
    second = {name: scale for name, scale in scales.items() if "denseblock2" in name and name.endswith("conv2")}
    assert len(set(second.values())) > 5
    joins = [node for node in model.graph.node if node.op_type == "Concat" and part + ".dequantized" in node.input]
    assert joins and not any(node.output[0] in scales for node in joins)


@pytest.fixture
def fp8(network: Network) -> onnx.ModelProto:
    return network.quantized("fp8")


def channels(node: onnx.NodeProto, stored: dict[str, onnx.TensorProto]) -> tuple[int, int, int]:
    """The groups, output channels and input channels of each group of a convolution."""
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    rows, columns, *_ = stored[node.input[1].removesuffix(".dequantized")].dims
    return groups, rows, columns


def test_fp8_has_what_tensorrt_has_kernels_for_and_the_rest_is_fp16_and_counted(network: Network, fp8: onnx.ModelProto) -> None:
    stored = {tensor.name: tensor for tensor in fp8.graph.initializer}
    _, *inner, _ = convolutions(fp8)
    for node in inner:
        groups, rows, columns = channels(node, stored)
        fits = groups == 1 and rows % 16 == columns % 16 == 0
        assert is_dequantized(fp8, node.input[1]) == fits, node.name
        assert is_dequantized(fp8, node.input[0]) or not fits
    unfit = {"densenet121": {}, "dpn68": {GROUPED: 22, ODD: 3}}[network.name]
    assert network.quantization.unfit == unfit
    assert network.quantization.convolutions == len(inner) - sum(unfit.values())


def test_channels_that_are_no_multiple_of_16_stay_fp16(made: Callable[[str], Network]) -> None:
    graph = made("densenet121").graph("fp8")
    graph.quantized = "fp8"
    whole = place(graph, gpu=True)
    narrow = next(node for node in graph.nodes if node.name.endswith("denselayer7_conv1"))
    weight = graph.weights[narrow.input[1]]
    graph.weights[narrow.input[1]] = replace(weight, values=weight.values[:, :-8])
    found = place(graph, gpu=True)
    assert whole.convolutions - found.convolutions == {narrow.name}
    assert found.unfit == {ODD: 1}
    assert narrow.input[0] in whole.tensors and narrow.input[0] not in found.tensors


def test_fp8_scales_take_the_largest_value_to_448_and_weights_lose_a_sixteenth_at_most(
    network: Network, fp8: onnx.ModelProto
) -> None:
    for name, scale in network.quantization.scales.items():
        assert network.ranges[name] <= 448 * scale
    stored, whole = {tensor.name: tensor for tensor in fp8.graph.initializer}, network.graph("fp32")
    node = convolutions(fp8)[5]
    name = node.input[1].removesuffix(".dequantized")
    assert stored[name].data_type == onnx.TensorProto.FLOAT8E4M3FN and fp8.opset_import[0].version == 19
    scales = numpy_helper.to_array(stored[f"{name}.scale"]).astype(np.float64).reshape(-1, 1, 1, 1)
    values, expected = numpy_helper.to_array(stored[name]).astype(np.float64), whole.weights[name].rounded()
    assert np.abs(values).max() > 440 and scales.size == len(values)
    assert (np.abs(values * scales - expected) <= np.maximum(np.abs(expected) / 15.9, scales * 2.0**-10)).all()


@pytest.mark.parametrize("kind", ["int8", "int8-fp16"])
def test_constants_that_are_added_or_joined_are_not_quantized_and_without_a_convolution_nothing_is(kind: str) -> None:
    graph = OnnxGraph("vit", {"int8": "fp32", "int8-fp16": "fp16"}[kind], 19, quantized="int8")
    one = graph.weight("one", np.ones((1, 4, 2, 2)))
    stem = graph.node("Conv", "stem", "images", graph.weight("stem.weight", np.ones((4, 3, 1, 1))))
    graph.node("Concat", "joined", graph.node("Add", "moved", stem, one), one, axis=1)
    with pytest.raises(ExportError, match=r"vit has no convolution that can be INT8.*--precision fp16"):
        quantize(graph, {}, CALIBRATION)
    graph.node(
        "Add", "shifted", graph.node("Conv", "inner", "joined", graph.weight("inner.weight", np.ones((4, 8, 1, 1)))), one
    )
    scales = quantize(graph, dict.fromkeys(to_calibrate(graph), 1.0), CALIBRATION).scales
    assert set(scales) == ({"joined", "inner"} if kind == "int8" else {"joined"})


def test_kept_blocks_stay_in_floating_point(network: Network) -> None:
    block = {"densenet121": "denseblock3.denselayer7", "dpn68": "conv4_5"}[network.name]
    model = network.quantized("int8-fp16", kept=(block,))
    own = [node for node in convolutions(model) if f"{block.replace('.', '_')}_" in node.name]
    assert len(own) >= 2 and not any(is_dequantized(model, node.input[1]) for node in own)
    assert network.quantization.kept == (block,)
    assert network.quantization.convolutions == network.quantization.all_convolutions - 2 - len(own)


def test_a_tensor_that_is_always_zero_has_no_scale_and_is_named(network: Network) -> None:
    name = next(iter(network.ranges))
    with pytest.raises(ExportError, match=f"{name} is 0 on all calibration images, so it has no scale"):
        network.quantized("int8", ranges=network.ranges | {name: 0.0})


def test_a_tensor_that_is_not_finite_is_refused_by_name(dpn68: Network) -> None:
    image = np.full((3, 32, 32), 3e38, np.float32)
    with pytest.raises(ExportError, match=r"features_conv2_1_.* is (nan|inf) on a calibration image, so it has no scale"):
        activation_ranges(dpn68.graph("fp32"), [image], "minmax")


def test_a_quantized_graph_computes_nearly_what_its_network_does(network: Network) -> None:
    whole = network.graph("fp32").skeleton()
    whole.graph.initializer.extend(
        numpy_helper.from_array(one.rounded(), name) for name, one in network.graph("fp32").weights.items()
    )
    expected = logits(whole)
    for kind, limit in {"int8": 0.4, "int8-fp16": 0.4, "fp8": 0.7}.items():
        error = np.abs(logits(network.quantized(kind)) - expected).max() / np.abs(expected).max()
        assert 1e-4 < error < limit, (kind, error)


def logits(model: onnx.ModelProto) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"images": IMAGES})[0]).astype(np.float64)


@pytest.mark.parametrize("value", [1e-7, 3e-5, 0.0123, 1 / 3, 1.0, 511 / 127, 300.0])
def test_a_scale_is_the_same_number_in_fp16_and_never_too_small(value: float) -> None:
    scale = round_up(value)
    assert scale >= value and float(np.float16(scale)) == scale
    assert scale <= value * (1 + 2**-7) or value < 2**-14  # below, FP16 has fewer digits


def test_least_squares_cuts_an_outlier_and_keeps_a_full_range() -> None:
    edges = np.linspace(-100, 100, 2049)
    flat, peaked = np.ones(2048), np.where(np.abs(edges[:-1]) < 10, 1e6, 0.0)
    assert least_squares(flat, edges, 127) == pytest.approx(100, rel=0.03)
    peaked[0] = 1
    assert least_squares(peaked, edges, 127) < 20


def test_every_method_gives_every_tensor_a_range_up_to_its_maximum(dpn68: Network) -> None:
    network = dpn68
    names = to_calibrate(network.graph("fp32"))
    assert set(network.ranges) == set(names)
    for method in ("mse", "percentile"):
        found = activation_ranges(network.graph("fp32"), IMAGES, method)
        assert all(0.05 * network.ranges[name] < found[name] <= network.ranges[name] for name in names), method
