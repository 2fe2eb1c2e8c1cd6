"""The user's own ONNX files: the checked copy that trtzoo works on."""

import hashlib
import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from tests.foreign import CLASSES, FULL, HEADS, SIDE, WIDTH, by_torch, cnn, fp8, quantized, random
from trtzoo.api.adopting import adoption_orders, open_foreign
from trtzoo.artifacts import golden
from trtzoo.artifacts.subjects import open_subject
from trtzoo.core.errors import UsageError
from trtzoo.exporter.adoption import find_adopted
from trtzoo.exporter.adoption_worker import adopt

PRODUCTS = {"Gemm", "MatMul"}


def adopted(path, *graphs, folder=None, force=False, **options):
    file = open_foreign(path)
    orders = adoption_orders(file, list(graphs) or [file.precision], **options)
    return list(adopt(file, orders, folder or path.parent / "onnx", force=force))


def operations(path):
    return [node.op_type for node in onnx.load(path).graph.node]


@pytest.mark.parametrize("head", HEADS)
def test_each_head_becomes_a_convolution_in_fp32_and_in_fp16(tmp_path, head):
    path = cnn(tmp_path / "mine.onnx", head, norm=True)
    full, half = adopted(path, "fp32", "fp16")
    assert (full.error, half.error) == ("", "")
    assert 0 < full.sidecar.check.error < 1e-6 < half.sidecar.check.error < 1e-2
    for done in (full, half):
        found = operations(done.path)
        assert not PRODUCTS & set(found) and "BatchNormalization" not in found and not {"Dropout", "Identity"} & set(found)
        assert done.sidecar.reference == "float64" and "1 BN folded" in done.sidecar.rewrites
        assert [side.dim_value for side in onnx.load(done.path).graph.output[0].type.tensor_type.shape.dim[1:]] == [CLASSES]
    types = {tensor.data_type for tensor in onnx.load(half.path).graph.initializer}
    assert types <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}


def test_a_file_in_fp32_is_converted_to_bf16_with_fp32_input_and_output(tmp_path):
    (done,) = adopted(cnn(tmp_path / "mine.onnx", norm=True), "bf16")
    assert (done.error, done.sidecar.precision, done.sidecar.io, done.sidecar.opset) == ("", "bf16", "fp32", 22)
    assert done.sidecar.rewrites[-1] == "converted to BF16"
    assert 1e-4 < done.sidecar.check.error < 5e-2
    types = {tensor.data_type for tensor in onnx.load(done.path).graph.initializer}
    assert types <= {onnx.TensorProto.BFLOAT16, onnx.TensorProto.INT64}


def test_a_file_in_fp8_keeps_its_steps(tmp_path):
    (done,) = adopted(fp8(tmp_path / "mine.onnx"))
    assert (done.error, done.sidecar.precision) == ("", "fp8")
    assert done.sidecar.reference == "ONNX Runtime on the original"


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_a_fixed_batch_and_images_that_are_not_square_are_kept(tmp_path, batch):
    (done,) = adopted(cnn(tmp_path / "mine.onnx", batch=batch, sides=(32, 48)))
    assert (done.error, done.sidecar.batch, done.sidecar.size, done.sidecar.width) == ("", batch, 32, 48)
    subject = open_subject(done.path, remedy="")
    assert subject.golden.images.shape == (golden.IMAGES, 3, 32, 48) and subject.sides == (32, 48)


def test_the_sidecar_says_what_the_file_is(tmp_path):
    path = cnn(tmp_path / "mine.onnx", norm=True)
    (done,) = adopted(path, name="better")
    digest, sidecar = hashlib.sha256(path.read_bytes()).hexdigest(), done.sidecar
    assert done.path == tmp_path / f"onnx/better-{digest[:8]}-fp32.onnx"
    assert (sidecar.model, sidecar.network, sidecar.checkpoint) == ("better", "", str(path))
    assert (sidecar.weights.source, sidecar.weights.origin, sidecar.weights.sha256) == ("file", "mine.onnx", digest)
    assert sidecar.rewrites == ("1 BN folded", "logits as 1x1 convolution") and done.note == (
        "reference: float64; 1 BN folded; logits as 1x1 convolution"
    )
    convolution, head = WIDTH * 27 + WIDTH, WIDTH * CLASSES + CLASSES
    assert sidecar.params == convolution + 2 * WIDTH + head  # of the original: BN has a scale and a shift
    assert sidecar.macs == WIDTH * 27 * (SIDE // 4) ** 2 + WIDTH * CLASSES
    assert sidecar.identity.sha256 == digest and sidecar.identity.title == "better (5 classes, 32x32)"


@pytest.fixture(scope="module")
def dynamo(tmp_path_factory):
    """A folder with new.onnx and new.onnx.data, as torch.export's exporter writes them, which takes long."""
    return by_torch(tmp_path_factory.mktemp("dynamo") / "new.onnx", dynamo=True).parent


def test_both_torch_exporters_are_adopted_and_agree(tmp_path, dynamo):
    shutil.copytree(dynamo, tmp_path, dirs_exist_ok=True)
    (plain,) = adopted(by_torch(tmp_path / "plain.onnx"))
    (new,) = adopted(tmp_path / "new.onnx")
    assert (plain.error, new.error) == ("", "")
    assert (tmp_path / "new.onnx.data").is_file() and not list((tmp_path / "onnx").glob("*.data"))
    first, second = (open_subject(done.path, remedy="").golden.logits for done in (plain, new))
    assert np.abs(first - second).max() < 1e-6 * np.abs(first).max()
    assert plain.sidecar.macs == new.sidecar.macs and "2 BN folded" in plain.sidecar.rewrites
    assert plain.sidecar.params == 3 * 16 * 9 + 2 * 16 + 8 * 32 * 9 + 32 + 2 * 32 + 32 * 10 + 10


def test_a_file_in_fp16_keeps_its_types(tmp_path):
    (done,) = adopted(cnn(tmp_path / "mine.onnx", kind=np.float16))
    assert (done.error, done.sidecar.precision, done.sidecar.io) == ("", "fp16", "fp16")
    assert done.path.name.endswith("-fp16-io16.onnx") and done.sidecar.reference == "float64"
    with pytest.raises(UsageError, match=r"mine\.onnx is fp16: it cannot be used as fp32\.$"):
        adopted(tmp_path / "mine.onnx", "fp32")


def test_fp16_input_and_output_are_an_option(tmp_path):
    full, half = adopted(cnn(tmp_path / "mine.onnx"), "fp32", "fp16", io="fp16")
    assert (full.sidecar.io, half.sidecar.io, half.path.name[-15:]) == ("fp32", "fp16", "-fp16-io16.onnx")
    assert "Cast" not in operations(half.path)
    assert half.sidecar.identity.shape == "io16"  # engines and results of both forms are apart


def test_a_quantized_file_keeps_its_steps_and_onnx_runtime_is_the_reference(tmp_path):
    (done,) = adopted(quantized(tmp_path / "mine.onnx"))
    assert (done.error, done.sidecar.precision) == ("", "int8")
    assert done.sidecar.reference == "ONNX Runtime on the original"
    assert "DequantizeLinear" in operations(done.path)
    assert done.sidecar.check.error < 5e-2
    with pytest.raises(UsageError, match=r"mine\.onnx is int8: it cannot be used as fp16\.$"):
        adopted(tmp_path / "mine.onnx", "fp16")


def test_a_file_of_an_old_opset_is_converted(tmp_path):
    path = cnn(tmp_path / "old.onnx", "two layers", opset=11)
    (done,) = adopted(path)
    assert (done.error, done.sidecar.opset) == ("", 17)
    assert done.sidecar.rewrites[0] == "opset 11 converted to 17"
    sample = open_subject(done.path, remedy="").golden
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert np.allclose(session.run(None, {"images": sample.images})[0], sample.logits, atol=1e-6)


def test_weights_and_activations_beyond_fp16_are_told(tmp_path):
    def scale(name, factor):
        def change(model):
            (tensor,) = (each for each in model.graph.initializer if each.name == name)
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), name))

        return change

    (weights,) = adopted(cnn(tmp_path / "weights.onnx", change=scale("fc.w", 1e5)), "fp16")
    assert weights.error.startswith("logits.weight has a weight of ") and weights.error.endswith(
        "and FP16 ends at 65504. Use --precision fp32"
    )
    (values,) = adopted(cnn(tmp_path / "values.onnx", change=scale("stem.w", 5e4)), "fp16")
    assert "logits are NaN or infinite: " in values.error
    assert "tensors exceed FP16's 65504, the first is x0 with " in values.error
    assert not list((tmp_path / "onnx").glob("*.onnx"))


def test_a_network_with_equal_logits_is_adopted(tmp_path):
    def ones(model):
        for tensor in model.graph.initializer:
            if tensor.name.startswith("fc."):
                tensor.CopyFrom(numpy_helper.from_array(np.ones(tuple(tensor.dims), np.float32), tensor.name))

    (done,) = adopted(cnn(tmp_path / "equal.onnx", "two layers", change=ones))
    assert done.error == "" and "every class has the same logit" in done.sidecar.rewrites


def test_a_rewrite_that_changes_the_logits_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    from trtzoo.exporter import rewriting

    def spoil(work):
        weight = work.array("stem.w").copy()
        weight[0] += 1
        work.tensors["stem.w"] = numpy_helper.from_array(weight, "stem.w")

    monkeypatch.setattr(rewriting, "REWRITES", (spoil,))
    (done,) = adopted(cnn(tmp_path / "mine.onnx"))
    assert done.error.startswith("logits differ by ") and done.sidecar is None
    assert [path.name for path in (tmp_path / "onnx").iterdir()] == [".locks"]


def test_a_second_adoption_costs_a_hash_and_is_found_by_the_file_s_content(tmp_path):
    path = cnn(tmp_path / "mine.onnx")
    (first,) = adopted(path, name="named")
    (again,) = adopted(path, name="named")
    assert (again.up_to_date, again.sidecar) == (True, first.sidecar)
    digest = first.sidecar.weights.sha256
    assert find_adopted(tmp_path / "onnx", digest, "fp32") == (first.path, first.sidecar)
    assert find_adopted(tmp_path / "onnx", digest, "fp16") is None
    first.path.write_bytes(b"changed")
    assert find_adopted(tmp_path / "onnx", digest, "fp32") is None


def test_two_files_of_one_name_have_copies_of_their_own(tmp_path):
    paths = [cnn(tmp_path / name / "cnn.onnx", seed=seed) for seed, name in enumerate("ab")]
    found = [adopted(path, folder=tmp_path / "onnx")[0] for path in paths]
    assert found[0].path != found[1].path and {done.error for done in found} == {""}


def test_external_data_belongs_to_the_hash(tmp_path, dynamo):
    shutil.copytree(dynamo, tmp_path, dirs_exist_ok=True)
    (first,) = adopted(path := tmp_path / "new.onnx")
    data = tmp_path / "new.onnx.data"
    content = bytearray(data.read_bytes())
    content[-40:-36] = np.float32(0.25).tobytes()
    data.write_bytes(content)
    (second,) = adopted(path)
    assert second.error == "" and first.path != second.path


def test_the_user_s_files_are_only_read(tmp_path):
    path = cnn(tmp_path / "mine.onnx")
    path.with_suffix(".json").write_text(json.dumps({"labels": ["a", "b"]}))
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    (done,) = adopted(path, folder=tmp_path / "onnx")
    assert done.error == ""
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir() if each.is_file()} == before


def test_a_file_that_is_not_trtzoo_s_is_not_replaced(tmp_path):
    path = cnn(tmp_path / "mine.onnx")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    there = tmp_path / "onnx" / f"mine-{digest}-fp32.json"
    there.parent.mkdir()
    there.write_text('{"mine": 1}')
    (done,) = adopted(path)
    assert done.error == f"{there} exists and is not trtzoo's. Move it, or say --onnx-dir OTHER"
    assert there.read_text() == '{"mine": 1}'


def test_a_map_is_flattened_into_one_convolution(tmp_path):
    (done,) = adopted(cnn(tmp_path / "mine.onnx", "flatten of the map"))
    weights = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(done.path).graph.initializer}
    assert weights["logits.weight"] == (CLASSES, FULL, 1, 1)


def test_a_batch_that_the_graph_fixes_inside_is_an_error_with_the_remedy(tmp_path):
    def fix(model):
        (shape,) = (each for each in model.graph.initializer if each.name == "shape")
        shape.CopyFrom(numpy_helper.from_array(np.array([1, WIDTH]), "shape"))

    (done,) = adopted(cnn(tmp_path / "mine.onnx", "reshape", change=fix))
    assert done.error == "" and done.sidecar.batch == 1
    assert "batches of 1 only: its graph fixes them" in done.sidecar.rewrites


def test_images_of_random_noise_pass_too(tmp_path):
    path = cnn(tmp_path / "mine.onnx", norm=True)
    (done,) = adopted(path)
    images = random(2, 3, SIDE, SIDE, seed=9)
    ours, theirs = (
        onnxruntime.InferenceSession(each, providers=["CPUExecutionProvider"]).run(None, {"images": images})[0]
        for each in (done.path, path)
    )
    assert np.abs(ours - theirs).max() < 2e-6 * np.abs(theirs).max()
