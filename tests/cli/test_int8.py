"""INT8 as a user makes and measures it: export, bench, parity, build, and what is refused."""

import json
import re
import shutil

import pytest

from tests.conftest import Run
from tests.photographs import noise
from tests.verification.test_sensitivity import scaled
from trtzoo.api import judging
from trtzoo.core.files import sha256_file

SMALL = ("dpn68", "--classes", 10, "--input-size", 32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("int8")


@pytest.fixture(scope="module")
def exported(folder):
    """Seeded dpn68 in INT8, calibrated on synthetic images, and FP32 beside it."""
    import trtzoo

    common = {"weights": "seeded", "classes": 10, "input_size": 32, "onnx_dir": folder / "onnx"}
    records = trtzoo.export("dpn68", precision="fp32,int8", **common)
    assert [record.error for record in records] == ["", "", ""]
    return records[1:]


def test_one_export_makes_a_file_for_processors_and_one_for_gpus_with_the_same_scales(exported):
    assert [record.path.name for record in exported] == ["dpn68-int8-c10-s32.onnx", "dpn68-int8-fp16-c10-s32.onnx"]
    processors, gpus = (record.sidecar.quantization for record in exported)
    assert processors.calibration == gpus.calibration and processors.calibration.data == "synthetic"
    assert set(gpus.scales) & set(processors.scales)
    assert (processors.convolutions, processors.all_convolutions) == (96, 98)
    sizes = [record.path.stat().st_size for record in exported]
    assert all(size < 13e6 for size in sizes)  # in FP32 it has 47 MB


def test_the_same_export_gives_the_same_bytes_and_is_up_to_date(exported, folder):
    import trtzoo

    common = {"weights": "seeded", "classes": 10, "input_size": 32, "precision": "int8"}
    again = trtzoo.export("dpn68", **common, onnx_dir=folder / "again")
    assert [record.sidecar.sha256 for record in again] == [record.sidecar.sha256 for record in exported]
    assert all(record.up_to_date for record in trtzoo.export("dpn68", **common, onnx_dir=folder / "again"))
    other = trtzoo.export("dpn68", **common, method="mse", onnx_dir=folder / "again")
    assert not any(record.up_to_date for record in other)


def test_both_runtimes_of_a_processor_measure_it_and_say_the_instructions(trtzoo: Run, exported, folder):
    for runtime in ("onnxruntime", "openvino"):
        words = ("bench", "dpn68", "--precision", "int8", "--gpu", "cpu", "--batch", 1, "--protocol", "trial")
        done = trtzoo(*words, "--runtime", runtime, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        (path,) = (folder / "benchmarks").glob(f"*/dpn68-c10-s32-int8-b1-{runtime}-trial-seeded.json")
        result = json.loads(path.read_text())
        assert "int8 instructions" in result["settings"] and result["check"]["error"] < 0.75


def test_the_logits_of_seeded_weights_pass_parity_by_their_cosine(trtzoo: Run, exported, folder):
    done = trtzoo("parity", "dpn68", "--precision", "int8", "--batch", 2, "--limit", 4, "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    logits, _ = json.loads(done.stdout)["tables"]
    assert logits["rows"][0]["least cosine"] > 0.9
    assert "Allowed: int8 cosine 0.9; with trained weights" in " ".join(logits["caption"])


def test_int8_with_a_bad_scale_does_not_pay_and_its_block_is_named(exported, folder, tmp_path, monkeypatch):
    """The scale is of one activation of conv4_5."""
    import trtzoo

    shutil.copytree(folder / "onnx", tmp_path / "onnx", ignore=shutil.ignore_patterns(".*"))
    path = tmp_path / "onnx" / "dpn68-int8-c10-s32.onnx"
    sidecar, before = path.with_suffix(".json"), sha256_file(path)
    scaled(path, path, "features_conv4_5_c3x3_b_act", 1 / 100)
    sidecar.write_text(sidecar.read_text().replace(before, sha256_file(path)))
    monkeypatch.setattr(judging, "find_peak", lambda cores: None)  # it takes seconds
    places = {"onnx_dir": tmp_path / "onnx", "results": tmp_path / "benchmarks"}
    (found,) = trtzoo.verdict("dpn68", gpu="cpu", runtime="onnxruntime", protocol="trial", runs=2, **places)
    assert found.word == "DOES NOT PAY" and found.accuracy.metrics.cosine < 0.9
    assert found.judgement.reasons[-1].startswith("the logits of an image have cosine 0.")
    assert found.judgement.reasons[-1].endswith("with the reference's (at least 0.9); leave out conv4_5")


def test_seeded_weights_have_no_accuracy_in_int8_either(trtzoo: Run, exported, folder):
    for number in range(2):
        noise(folder / "data" / f"{number}" / f"{number}.png", seed=number)
    done = trtzoo("eval", "dpn68", "--precision", "int8", "--data", "data", "--gpu", "cpu", cwd=folder)
    assert done.returncode == 1 and "has seeded weights, which classify nothing" in done.stdout


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ("--precision", "fp16", "--calibration", "data"),
            2,
            "--calibration is for precisions with INT8. Add --precision int8",
        ),
        (("--precision", "fp16", "--keep-fp16", "auto"), 2, "--keep-fp16 is for quantized precisions. Add --precision int8"),
        (
            ("--precision", "int8", "--keep-fp16", "auto,conv2_1"),
            2,
            "say auto, or name blocks as `trtzoo parity --layers` does.",
        ),
        (("--precision", "int8", "--images", 8), 2, "--images is the number of photographs of --calibration DIR"),
        (("--precision", "int8", "--method", "max"), 2, "--method 'max': choose minmax, mse, percentile, entropy."),
        (("--precision", "int8", "--calibration", "nowhere"), 1, "There is no folder nowhere."),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_made(trtzoo: Run, tmp_path, words, code, sentence):
    done = trtzoo("export", *SMALL, "--weights", "seeded", *words)
    assert done.returncode == code and sentence in done.stderr
    assert not (tmp_path / "onnx").exists()


def test_trained_weights_need_photographs(trtzoo: Run, tmp_path):
    (tmp_path / "my.pth").write_bytes(b"never read")
    done = trtzoo("export", *SMALL, "--weights", "my.pth", "--precision", "int8")
    assert done.returncode == 2
    assert "int8 needs photographs like those that dpn68 will see. Add --calibration DIR" in done.stderr


def test_broken_images_calibrate_nothing_and_only_broken_ones_are_an_error(trtzoo: Run, tmp_path):
    for name in "ab":
        noise(tmp_path / "good" / name / "1.png", seed=ord(name))
        (tmp_path / "bad" / name).mkdir(parents=True)
        (tmp_path / "bad" / name / "1.png").write_bytes(b"\x89PNG broken")
    (tmp_path / "good" / "a" / "2.png").write_bytes(b"\x89PNG broken")
    words = ("export", *SMALL, "--weights", "seeded", "--precision", "int8", "--calibration")
    done = trtzoo(*words, "good")
    assert done.returncode == 0, done.stderr
    assert "good has 3 images, and 512 were asked for: all of them are used." in done.stderr
    assert re.search(r"a/2\.png cannot be read and calibrates nothing: ", done.stderr)
    sidecar = json.loads((tmp_path / "onnx" / "dpn68-int8-c10-s32.json").read_text())
    assert sidecar["quantization"]["unreadable"] == 1 and sidecar["quantization"]["calibration"]["images"] == 3
    done = trtzoo(*words, "bad", "--force")
    assert done.returncode == 1 and "None of 2 images of bad can be read." in done.stderr


def test_blocks_that_are_kept_in_floating_point_are_recorded_told_and_part_of_the_file(trtzoo: Run, tmp_path):
    words = ("export", *SMALL, "--weights", "seeded", "--precision", "int8", "--keep-fp16")
    done = trtzoo(*words, "conv4_5,conv2_1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("in floating point: conv2_1, conv4_5") == 2
    sidecar = json.loads((tmp_path / "onnx" / "dpn68-int8-c10-s32.json").read_text())
    assert sidecar["quantization"]["kept"] == ["conv2_1", "conv4_5"] and sidecar["quantization"]["convolutions"] < 92
    assert trtzoo(*words, "conv2_1,conv4_5").stdout.count("up to date") == 2
    done = trtzoo(*words, "conv4_55")
    assert done.returncode == 1 and "There is no block of dpn68 'conv4_55'. Did you mean conv4_5?" in done.stderr
    done = trtzoo(*words, "auto")  # of seeded weights only the cosine is judged, and it is high enough
    assert done.returncode == 0 and "in floating point" not in done.stdout and "up to date" not in done.stdout


def test_a_bad_scale_fails_parity_and_its_block_is_named(trtzoo: Run, exported, folder, tmp_path):
    shutil.copytree(folder / "onnx", tmp_path / "onnx")
    path = tmp_path / "onnx" / "dpn68-int8-c10-s32.onnx"
    scaled(path, path, "features_conv4_5_c3x3_b_act", 1 / 100)
    sidecar = json.loads(path.with_suffix(".json").read_text())
    sidecar |= {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    done = trtzoo("parity", "dpn68", "--precision", "int8", "--batch", 2, "--limit", 4)
    assert done.returncode == 1
    assert re.search(
        r"the logits of an image have cosine 0\.\d+ with the reference's \(at least 0\.9\)", done.stdout + done.stderr
    )
    assert trtzoo("export", *SMALL, "--weights", "seeded").returncode == 0
    done = trtzoo("parity", "dpn68", "--layers", "--precision", "int8", "--limit", 4)
    assert "conv4_5 adds the most: alone it changes the logits by " in done.stdout + done.stderr


def test_runtimes_that_compute_in_floating_point_are_refused(trtzoo: Run):
    done = trtzoo("bench", "dpn68", "--precision", "int8", "--gpu", "cpu", "--runtime", "pytorch")
    assert done.returncode == 2
    assert "pytorch does not compute int8 graphs in INT8; these do: onnxruntime, openvino." in done.stderr


def test_a_file_for_gpus_is_not_for_processors_and_the_other_way_round(trtzoo: Run, exported, folder):
    done = trtzoo("bench", "--onnx", "onnx/dpn68-int8-fp16-c10-s32.onnx", "--gpu", "cpu", cwd=folder)
    assert done.returncode == 2
    assert "is int8-fp16, which is not for processors: take the export that is int8." in done.stderr
    done = trtzoo("build", "--onnx", "onnx/dpn68-int8-c10-s32.onnx", "--gpu", "t4", cwd=folder)
    assert done.returncode == 2
    assert "is int8, which is not for TensorRT: take the export that is int8-fp16." in done.stderr


def test_engines_are_built_ahead_of_time_with_nearly_all_convolutions_in_int8(trtzoo: Run, exported, folder):
    pytest.importorskip("tensorrt_rtx")
    done = trtzoo("build", "dpn68", "--precision", "int8", "--batch", 1, "--gpu", "t4", "--flavour", "rtx", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "dpn68-c10-s32-int8-b1.engine" in done.stdout and "layers INT8 98.0%, FP16 2.0%" in done.stdout
