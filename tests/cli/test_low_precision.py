"""BF16 and FP8 as a user makes and checks them: export, build ahead of time, parity; and who refuses them."""

import json

import numpy as np
import onnx
import pytest

from tests.conftest import Run
from trtzoo.builder.targets import check_names
from trtzoo.core.errors import MachineError, UsageError
from trtzoo.core.system import bf16_instructions
from trtzoo.hardware.gpus import GPUS

SMALL = {"weights": "seeded", "classes": 10, "input_size": 96}  # on smaller images FP8 leaves the tolerance
NEW = ("bf16", "fp8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("low")


@pytest.fixture(scope="module")
def exported(folder):
    """Seeded dpn68 in BF16 and in FP8, calibrated on synthetic images."""
    import trtzoo

    records = trtzoo.export("dpn68", **SMALL, precision=NEW, onnx_dir=folder / "onnx")
    assert [record.error for record in records] == ["", ""]
    return dict(zip(NEW, records, strict=True))


def types(record):
    graph = onnx.load(record.path).graph
    return {onnx.TensorProto.DataType.Name(tensor.data_type) for tensor in graph.initializer}


def test_a_bf16_file_has_no_other_floating_point_type_and_takes_fp32_images(exported):
    model = onnx.load(exported["bf16"].path)
    assert types(exported["bf16"]) <= {"BFLOAT16", "INT64"}
    assert model.opset_import[0].version == 22  # the first with convolutions in BF16
    (images,), (logits,) = model.graph.input, model.graph.output
    assert {each.type.tensor_type.elem_type for each in (images, logits)} == {onnx.TensorProto.FLOAT}
    casts = [(node.name, node.attribute[0].i) for node in model.graph.node if node.op_type == "Cast"]
    assert casts == [("images_cast", onnx.TensorProto.BFLOAT16), ("logits", onnx.TensorProto.FLOAT)]
    check = exported["bf16"].sidecar.check
    assert 1e-3 < check.error < check.tolerance == 0.16


def test_an_fp8_file_has_fp8_weights_and_fp16_beside_them_and_tells_what_stays_fp16(exported):
    record = exported["fp8"]
    assert types(record) <= {"FLOAT16", "FLOAT8E4M3FN", "INT64"} and "FLOAT8E4M3FN" in types(record)
    found = record.sidecar.quantization
    assert found.calibration.data == "synthetic" and len(found.scales) > 60
    assert found.unfit == {"grouped": 22, "with channels that are not a multiple of 16": 3}
    assert record.note == ("71 of 98 convolutions in FP8, in FP16 22 grouped, 3 with channels that are not a multiple of 16")


def test_the_same_export_gives_the_same_bytes(exported, folder):
    import trtzoo

    again = trtzoo.export("dpn68", **SMALL, precision=NEW, onnx_dir=folder / "again")
    assert [record.sidecar.sha256 for record in again] == [record.sidecar.sha256 for record in exported.values()]


def test_engines_for_an_rtx_4090_are_built_ahead_of_time_and_prove_their_type(trtzoo: Run, exported, folder):
    pytest.importorskip("tensorrt_rtx")
    words = ("build", "dpn68", "--precision", "bf16,fp8", "--batch", 1, "--gpu", "rtx4090", "--flavour", "rtx")
    done = trtzoo(*words, "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    layers = {line["precision"]: line["layers"] for line in map(json.loads, done.stdout.splitlines())}
    assert layers["bf16"].keys() == {"BF16", "FP32"} and layers["bf16"]["FP32"] == 1  # the last Cast
    assert layers["fp8"] == {"FP8": 71, "FP16": 27}


def test_parity_on_a_processor_emulates_fp8_and_says_so(trtzoo: Run, exported, folder):
    done = trtzoo("parity", "dpn68", "--precision", "fp8", "--batch", 2, "--limit", 4, "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    logits, _ = json.loads(done.stdout)["tables"]
    assert logits["rows"][0]["least cosine"] > 0.9
    caption = " ".join(logits["caption"])
    assert "runtime onnxruntime (emulates fp8)" in caption and "Allowed: fp8 cosine 0.9;" in caption


def test_bf16_is_emulated_or_computed_in_bf16_with_nearly_the_same_logits(exported):
    from trtzoo.artifacts import golden
    from trtzoo.runtimes import onnxruntime, openvino

    path = exported["bf16"].path
    images, expected = golden.load(path.with_suffix(".npz")).batch(2)
    emulated = onnxruntime.Session(path, batch=2)
    assert emulated.settings == {"arithmetic": "FP32, rounded to BF16"}
    logits = emulated.infer(images)
    golden.check_logits(logits, expected, tolerance=0.16)
    if bf16_instructions() == "none":
        with pytest.raises(MachineError, match=r"would compute 9\d of 9\d convolutions of .* in f32 on this processor"):
            openvino.Session(path, batch=2)
        return
    session = openvino.Session(path, batch=2)
    assert session.settings == {"bf16 instructions": bf16_instructions()}
    assert np.abs(session.infer(images) - logits).max() < 0.08 * np.abs(expected).max()


def test_a_processor_s_only_runtime_for_bf16_is_not_on_trial(trtzoo: Run, exported, folder):
    done = trtzoo("bench", "dpn68", "--precision", "bf16", "--gpu", "cpu", "--batch", 1, "--protocol", "trial", cwd=folder)
    if bf16_instructions() == "none":
        assert done.returncode == 3 and "has no instructions for BF16" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    (path,) = (folder / "benchmarks").glob("*/dpn68-c10-s96-bf16-b1-*.json")
    result = json.loads(path.read_text())
    assert result["choice"] == "only openvino computes bf16"


@pytest.mark.parametrize("name", NEW)
def test_layers_compares_the_blocks_of_both(trtzoo: Run, folder, exported, name):
    import trtzoo as api

    api.export("dpn68", **SMALL, onnx_dir=folder / "onnx")
    done = trtzoo("parity", "dpn68", "--layers", "--precision", name, "--limit", 1, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"bf16": "all 24 blocks are within tolerance", "fp8": "adds the most: alone it changes"}[name] in done.stderr


# --- who refuses them ---


@pytest.mark.parametrize("row", GPUS.values(), ids=lambda row: row.name)
def test_a_gpu_refuses_what_it_does_not_have_before_the_machine_is_probed(row):
    for name in NEW:
        since, instead = {"bf16": (80, "fp16"), "fp8": (89, "int8")}[name]
        if row.sm >= since:
            check_names(row.name, "auto", ["fp32", name])
            continue
        with pytest.raises(UsageError) as error:
            check_names(row.name, "auto", ["fp32", name])
        assert str(error.value) == (
            f"{row.title} (SM{row.sm}) has no {name.upper()}; it came with SM{since}. Say --precision {instead}"
        )


@pytest.mark.parametrize("words", [("build", "dpn68"), ("bench", "dpn68"), ("parity", "dpn68")], ids=lambda words: words[0])
@pytest.mark.parametrize(("name", "gpu"), [("bf16", "t4"), ("bf16", "v100"), ("fp8", "a10")])
def test_every_command_refuses_it_on_any_machine(trtzoo: Run, tmp_path, words, name, gpu):
    done = trtzoo(*words, "--precision", name, "--gpu", gpu)
    assert done.returncode == 2 and f" has no {name.upper()}; it came with SM" in done.stderr
    assert not any(tmp_path.glob("engines*")) and not any(tmp_path.glob("benchmarks*"))


@pytest.mark.parametrize(
    ("runtime", "precision", "sentence"),
    [
        ("pytorch", "bf16", "pytorch does not compute bf16 graphs in BF16; these do: openvino."),
        ("onnxruntime", "bf16", "onnxruntime does not compute bf16 graphs in BF16; these do: openvino."),
        ("openvino", "fp8", "openvino does not compute fp8 graphs in FP8; in trtzoo parity and eval, onnxruntime emulates it."),
        ("auto", "fp8", "onnxruntime does not compute fp8 graphs in FP8; in trtzoo parity and eval, onnxruntime emulates it."),
    ],
)
def test_bench_times_no_emulation(trtzoo: Run, runtime, precision, sentence):
    done = trtzoo("bench", "dpn68", "--precision", precision, "--gpu", "cpu", "--runtime", runtime)
    assert done.returncode == 2 and sentence in done.stderr


def test_fp8_of_trained_weights_needs_photographs_too(trtzoo: Run, tmp_path):
    (tmp_path / "my.pth").write_bytes(b"never read")
    done = trtzoo("export", "dpn68", "--classes", 10, "--input-size", 32, "--weights", "my.pth", "--precision", "fp8")
    assert done.returncode == 2
    assert "fp8 needs photographs like those that dpn68 will see. Add --calibration DIR" in done.stderr


def test_fp16_input_is_of_fp16_graphs_only(trtzoo: Run):
    done = trtzoo("export", "dpn68", "--weights", "seeded", "--precision", "bf16", "--io", "fp16")
    assert done.returncode == 2 and "--io fp16 is the input and output of an FP16 graph" in done.stderr
