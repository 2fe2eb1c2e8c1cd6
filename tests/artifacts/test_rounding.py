"""BF16 on a processor without it: a graph in FP32 that rounds where BF16 would."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from trtzoo.artifacts.rounding import in_float32

BF16 = helper.tensor_dtype_to_np_dtype(TensorProto.BFLOAT16)


def graph():
    """Images (N, 2) → a product with BF16 weights, ReLU and a product again; input and output are FP32."""
    random = np.random.default_rng(0)
    weights = [random.standard_normal(shape).astype(BF16) for shape in ((2, 4), (4, 3))]
    nodes = [
        helper.make_node("Cast", ["images"], ["short"], name="first", to=TensorProto.BFLOAT16),
        helper.make_node("MatMul", ["short", "one"], ["product"], name="one"),
        helper.make_node("Relu", ["product"], ["positive"], name="relu"),
        helper.make_node("MatMul", ["positive", "two"], ["scores"], name="two"),
        helper.make_node("Cast", ["scores"], ["logits"], name="last", to=TensorProto.FLOAT),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", side]) for name, side in (("images", 2), ("logits", 3))
    ]
    tensors = [numpy_helper.from_array(values, name) for values, name in zip(weights, ("one", "two"), strict=True)]
    body = helper.make_graph(nodes, "graph", ends[:1], ends[1:], tensors)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model, weights


def test_each_result_is_rounded_once_to_the_nearest_bf16_and_sums_are_fp32():
    model, (one, two) = graph()
    images = np.random.default_rng(1).standard_normal((64, 2)).astype("f4")
    session = onnxruntime.InferenceSession(in_float32(model).SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": images})
    short = np.maximum((images.astype(BF16).astype("f4") @ one.astype("f4")).astype(BF16).astype("f4"), 0)
    np.testing.assert_array_equal(found, (short @ two.astype("f4")).astype(BF16).astype("f4"))
    assert np.abs(found - np.maximum(images @ one.astype("f4"), 0) @ two.astype("f4")).max() > 1e-3


def test_the_given_graph_is_not_changed_and_tensors_keep_their_names():
    model, _ = graph()
    before = model.SerializeToString(deterministic=True)
    made = in_float32(model)
    assert model.SerializeToString(deterministic=True) == before
    assert {"short", "product", "positive", "scores", "logits"} <= {name for node in made.graph.node for name in node.output}
    assert {tensor.data_type for tensor in made.graph.initializer} == {TensorProto.FLOAT}
    onnx.checker.check_model(made, full_check=True)
