"""The engine inspector's JSON, as its documentation shows it for several versions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.builder.tensorrt_worker import layer_types
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
