"""Which ONNX files are classifiers that trtzoo takes, and the reason for each refusal."""

import os

import onnx
import pytest
from onnx import TensorProto, helper

from tests.foreign import CLASSES, by_torch, cnn, externally, fp8, quantized
from trtzoo.artifacts.engines import read_source
from trtzoo.artifacts.foreign import read_foreign
from trtzoo.core.errors import StoreError

FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def value(name, sides, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, sides)


def images(*sides, kind=FLOAT):
    return lambda model: model.graph.input[0].CopyFrom(value("images", sides, kind))


def logits(*sides, kind=FLOAT):
    def change(model):
        model.graph.output[0].CopyFrom(value("logits", sides, kind))

    return change


def second_input(model):
    model.graph.input.append(value("sizes", ["n", 2]))


def second_output(model):
    model.graph.output.append(value("features", ["n", 8, 8, 8]))


def boxes(model):
    model.graph.node[-1].CopyFrom(helper.make_node("Unsqueeze", ["flat", "axis"], ["logits"]))
    model.graph.initializer.append(helper.make_tensor("axis", TensorProto.INT64, [1], [1]))
    logits("n", 1, 8)(model)


def one_class(model):
    model.graph.node[-1].CopyFrom(helper.make_node("ReduceMean", ["flat"], ["logits"], axes=[1]))
    logits("n", 1)(model)


def sequence(model):
    tensor = helper.make_tensor_type_proto(FLOAT, ["n", CLASSES])
    model.graph.output[0].type.CopyFrom(helper.make_sequence_type_proto(tensor))


def optional(model):
    tensor = helper.make_tensor_type_proto(FLOAT, ["n", 3, 32, 32])
    model.graph.input[0].type.CopyFrom(helper.make_optional_type_proto(tensor))


def custom(model):
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.node[1].CopyFrom(helper.make_node("FastGelu", ["x0"], ["features"], domain="com.microsoft"))


def doubled(model):
    model.graph.initializer[0].data_type = TensorProto.DOUBLE


def operators(model):
    model.graph.node.append(helper.make_node("DynamicQuantizeLinear", ["flat"], ["a", "b", "c"]))


def opset(number):
    def change(model):
        model.opset_import[0].version = number

    return change


NEWEST = onnx.defs.onnx_opset_version()
SHAPE = "not (N, 3, H, W)"
REFUSALS = {
    "NHWC": (
        images("n", 32, 32, 3),
        f"its input images is (n, 32, 32, 3), {SHAPE}; for images (N, H, W, 3), export it with channels first",
    ),
    "one channel": (images("n", 1, 32, 32), f"its input images is (n, 1, 32, 32), {SHAPE}"),
    "a sequence of images": (images("n", 4, 3, 32, 32), f"its input images is (n, 4, 3, 32, 32), {SHAPE}"),
    "dynamic sides": (images("n", 3, "h", "w"), "its input images is (n, 3, h, w): export it with a fixed height and width"),
    "a huge side": (images("n", 3, 32, 1 << 20), "its input images is (n, 3, 32, 1048576): no side may exceed 16,384 pixels"),
    "integer images": (images("n", 3, 32, 32, kind=TensorProto.UINT8), "images is UINT8, not FLOAT or FLOAT16"),
    "double images": (images("n", 3, 32, 32, kind=TensorProto.DOUBLE), "images is DOUBLE, not FLOAT or FLOAT16"),
    "two types": (
        images("n", 3, 32, 32, kind=HALF),
        "of its input and output, one is FLOAT16 and one is FLOAT. Export it with equal types",
    ),
    "two inputs": (second_input, "it has 2 inputs (images, sizes), and a classifier has one"),
    "two outputs": (second_output, "it has 2 outputs (logits, features), and a classifier has one: a detector has several"),
    "boxes": (boxes, "its output logits is (1, 1, 8), not (N, classes); with more sides it is a detector's or a map"),
    "integer output": (logits("n", CLASSES, kind=TensorProto.INT64), "logits is INT64, not FLOAT or FLOAT16"),
    "one class": (one_class, "its output logits has 1 class"),
    "a sequence": (sequence, "logits is a sequence, not a tensor"),
    "an optional": (optional, "images is a optional, not a tensor"),
    "custom operations": (
        custom,
        "it has operations that ONNX does not define: com.microsoft.FastGelu. Export it with ONNX's own",
    ),
    "a new opset": (opset(99), f"its opset is 99, and onnx {onnx.__version__} knows opsets up to {NEWEST}"),
    "no opset": (lambda model: model.ClearField("opset_import"), "it names no opset of ONNX's own operations"),
    "double weights": (doubled, "its tensor stem.w is DOUBLE, not FLOAT or FLOAT16"),
    "quantized operations": (
        operators,
        "it is quantized with operations (DynamicQuantizeLinear). Quantize it with QuantizeLinear and DequantizeLinear (Q/DQ)",
    ),
    "no graph": (lambda model: model.ClearField("graph"), "it has 0 inputs (none), and a classifier has one"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_no_classifier_is_refused_with_the_reason(tmp_path, case):
    change, sentence = REFUSALS[case]
    path = cnn(tmp_path / "bad.onnx", change=change)
    with pytest.raises(StoreError) as caught:
        read_foreign(path, "5" * 64)
    assert str(caught.value) == f"{path} cannot be used: {sentence}."


@pytest.mark.parametrize("content", [b"hello", b"\x08\x08\x12\xff", b"\xff" * 64], ids=["text", "cut short", "noise"])
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_foreign(tmp_path / "bad.onnx", "")
    assert str(caught.value) == f"{tmp_path / 'bad.onnx'} is not an ONNX file: DecodeError."


def test_a_file_that_protobuf_cannot_hold_is_refused_before_it_is_read(tmp_path):
    path = cnn(tmp_path / "large.onnx")
    os.truncate(path, 1 << 31)
    with pytest.raises(StoreError) as caught:
        read_foreign(path, "")
    assert str(caught.value) == f"{path} cannot be used: it has 2.1 GB, and Protobuf ends at 2. Save it with external data."


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "missing.bin"])
def test_external_data_outside_the_folder_is_refused(tmp_path, location):
    path = cnn(tmp_path / "a" / "bad.onnx", change=lambda model: externally(model, location))
    (tmp_path / "weights.bin").write_bytes(bytes(864))
    with pytest.raises(StoreError) as caught:
        read_source(path, None)
    assert str(caught.value) == f"{path} has external data in {location!r}, which is not a file in its folder."


def test_a_classifier_is_described(tmp_path):
    file = read_foreign(cnn(tmp_path / "mine.onnx", batch=4, sides=(32, 48)), "5" * 64)
    found = file.identity
    assert (found.model, found.network, found.tag, found.batch) == ("mine", "", "55555555", 4)
    assert (found.height, found.width, found.classes, found.io, file.precision) == (32, 48, CLASSES, "fp32", "fp32")
    assert file.bytes == 4 * (8 * 27 + 8 + 8 * 5 + 5)


@pytest.mark.parametrize(
    ("make", "precision", "classes"),
    [
        (lambda path: cnn(path, kind="float16"), "fp16", CLASSES),
        (lambda path: cnn(path, "convolution"), "fp32", CLASSES),
        (lambda path: cnn(path, change=logits("n", "classes")), "fp32", CLASSES),
        (by_torch, "fp32", 10),
        (quantized, "int8", CLASSES),
        (fp8, "fp8", CLASSES),
    ],
    ids=["half", "four-dimensional logits", "unnamed classes", "torch", "quantized", "fp8"],
)
def test_each_form_of_a_classifier_is_known(tmp_path, make, precision, classes):
    file = read_foreign(make(tmp_path / "mine.onnx"), "5" * 64)
    assert (file.precision, file.identity.classes, file.identity.batch) == (precision, classes, "dynamic")
    assert file.identity.io == ("fp16" if precision == "fp16" else "fp32")
