"""The types of an engine, from the inspector's JSON as its documentation shows it, and of a graph, from its file."""

import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.making import save, tiny
from trtzoo.artifacts.engines import LayerTypes
from trtzoo.builder.layer_types import check_precision, graph_types, layer_types
from trtzoo.builder.tensorrt_worker import constrain
from trtzoo.core.errors import BuildError


def inspected(*layers):
    return json.dumps({"Layers": list(layers), "Bindings": ["images", "logits"]})


def layer(kind, dtype, **more):
    return {"Name": "x", "LayerType": kind, "Outputs": [{"Name": "y", "Format/Datatype": dtype}]} | more


def test_layers_are_counted_by_the_type_of_their_output():
    found = layer_types(
        inspected(
            layer("CaskConvolution", "Channel major FP16 format where channel % 8 == 0", ParameterType="Convolution"),
            layer("CaskGemmConvolution", "Row major linear FP16 format"),
            layer("PoolingV2", "Thirty-two wide channel vectorized row major Int8 format"),
            layer("Reformat", "Row major linear FP32"),
            layer("gemm", "Half"),
            layer("Constant", "Float"),
            layer("shape_call", "Int64"),
        )
    )
    assert found.source == "inspector"
    assert found.types == {"FP16": 3, "INT8": 1, "FP32": 2}
    assert found.compute == {"FP16": 3}


def test_an_engine_without_details_proves_nothing():
    with pytest.raises(BuildError, match="the engine inspector reports no layer types, so the precision cannot be verified"):
        layer_types(inspected("conv1 + relu1", "conv2 + relu2"))


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_other_text_is_an_error_with_a_sentence(text):
    with pytest.raises(BuildError, match="the engine inspector"):
        layer_types(text)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_layers_of_any_form_are_an_error_with_a_sentence(value):
    for text in (json.dumps({"Layers": value}), inspected({"Outputs": value}), inspected({"Outputs": [value]})):
        with pytest.raises(BuildError, match="the engine inspector"):
            layer_types(text)


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_graph_s_types_are_those_of_its_weights(dtype, tmp_path):
    found = graph_types(tiny(tmp_path / "net.onnx", dtype=dtype))
    assert found.compute == found.types == {dtype.upper(): 1}
    check_precision(found, dtype, name="net.onnx")
    other = {"fp32": "fp16", "fp16": "fp32"}[dtype]
    with pytest.raises(BuildError, match=f"^net.onnx is not {other}: its layers compute in 1 {dtype.upper()} "):
        check_precision(found, other, name="net.onnx")


def test_a_graph_of_several_types_needs_a_typed_network():
    layers = LayerTypes(source="network", types={}, compute={"FP16": 19, "FP32": 1})
    trt = SimpleNamespace(__version__="8.6.1")
    with pytest.raises(BuildError) as error:
        constrain(trt, None, [], layers)
    assert str(error.value) == (
        "the graph computes in several types (19 FP16, 1 FP32), and TensorRT 8.6.1 has no typed networks to keep them: "
        "use TensorRT 10 or later, or export it in one type"
    )


def test_a_convolution_that_reads_int8_computes_in_int8_whatever_it_gives():
    found = layer_types(
        inspected(
            layer("CaskConvolution", "Row major linear FP16", Inputs=[{"Format/Datatype": "Thirty-two wide row major Int8"}]),
            layer("CaskConvolution", "Thirty-two wide row major Int8", Inputs=[{"Format/Datatype": "Row major linear FP16"}]),
            layer("CaskConvolution", "Row major linear FP16", Inputs=[{"Format/Datatype": "Row major linear FP16"}]),
        )
    )
    assert found.compute == {"INT8": 2, "FP16": 1}
    check_precision(found, "int8", name="graph.onnx")


def test_a_quantized_graph_s_convolutions_are_int8_only_with_integers_on_both_sides(tmp_path):
    path = tiny(tmp_path / "half.onnx")
    assert graph_types(path).compute == {"FP32": 1}
    for sides, kind in ((("weight",), "FP32"), (("images", "weight"), "INT8")):
        quantized = with_q_dq(path, tmp_path / "q.onnx", sides)
        assert graph_types(quantized).compute == {kind: 1}
    with pytest.raises(BuildError, match=r"half\.onnx is not int8: its layers compute in 1 FP32"):
        check_precision(graph_types(path), "int8", name="half.onnx")


def test_fp8_is_proved_as_int8_is(tmp_path):
    wide = [{"Format/Datatype": "Thirty-two wide row major FP8"}]
    found = layer_types(inspected(layer("CaskConvolution", "Row major linear FP16", Inputs=wide)))
    assert found.compute == {"FP8": 1}
    fp8 = onnx.helper.tensor_dtype_to_np_dtype(onnx.TensorProto.FLOAT8E4M3FN)
    graph = with_q_dq(tiny(tmp_path / "a.onnx"), tmp_path / "q.onnx", ("images", "weight"), kind=fp8)
    assert graph_types(graph).compute == {"FP8": 1}
    check_precision(graph_types(graph), "fp8", name="q.onnx")
    with pytest.raises(BuildError, match=r"q\.onnx is not int8: its layers compute in 1 FP8 .* or use --precision fp8"):
        check_precision(graph_types(graph), "int8", name="q.onnx")


def with_q_dq(path, into, tensors, kind="i1"):
    """The graph with a Q/DQ pair before the named inputs of its convolution."""
    graph = onnx.load(path).graph
    scale, zero = (onnx.numpy_helper.from_array(np.array(*each), name) for each, name in (((1, "f4"), "s"), ((0, kind), "z")))
    graph.initializer.extend([scale, zero])
    pairs = []
    for name in tensors:
        pairs.append(onnx.helper.make_node("QuantizeLinear", [name, "s", "z"], [f"{name}.q"]))
        pairs.append(onnx.helper.make_node("DequantizeLinear", [f"{name}.q", "s", "z"], [f"{name}.dq"]))
    (convolution,) = (node for node in graph.node if node.op_type == "Conv")
    convolution.input[:] = [f"{name}.dq" if name in tensors else name for name in convolution.input]
    nodes = [*pairs, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return save(into, graph)
