"""A user's own ONNX file in every command."""

import json

import pytest
from PIL import Image

from tests.foreign import CLASSES, cnn, quantized, random
from trtzoo.core.files import sha256_file
from trtzoo.hardware.probes import run_probes

T4 = f"engines/t4/rtx-{run_probes('tensorrt_rtx')['tensorrt_rtx'].version}"


def lines(text, *words):
    """The lines with one of the words."""
    return [line for line in text.splitlines() if any(word in line for word in words)]


def test_a_file_is_measured_and_compared_and_has_a_row_in_the_table(trtzoo, tmp_path):
    path = cnn(tmp_path / "nets" / "mine.onnx", norm=True)
    digest = sha256_file(path)[:8]
    done = trtzoo("bench", "--onnx", path, "--gpu", "cpu", "--precision", "fp32,fp16", "--batch", "1", "--protocol", "trial")
    assert done.returncode == 0, done.stderr
    assert [line.split()[:5] for line in done.stdout.splitlines() if line.startswith("mine ")] == [
        ["mine", "(5", "classes,", "32x32)", kind] for kind in ("fp32", "fp16")
    ]
    told = "reference: float64; 1 BN folded; logits as 1x1 convolution"
    assert lines(done.stderr, "Adopted") == [
        f"Adopted {path} as onnx/mine-{digest}-fp32.onnx ({told}; preprocessing: imagenet).",
        f"Adopted {path} as onnx/mine-{digest}-fp16.onnx ({told}; converted to FP16; preprocessing: imagenet).",
    ]
    assert [each.name for each in path.parent.iterdir()] == ["mine.onnx"]
    again = trtzoo("parity", "--onnx", path, "--gpu", "cpu", "--batch", "1,3", "--limit", "5", "--format", "md")
    assert again.returncode == 0, again.stderr
    assert not lines(again.stderr, "Adopted")
    assert "Parity with the reference: logits" in again.stdout
    assert "of the reference, ONNX Runtime on the original file, over all images." in " ".join(again.stdout.split())
    shown = trtzoo("table", "--gpu", "cpu", "--format", "md")
    assert lines(shown.stdout, "mine (5 classes, 32x32)"), shown.stdout


def test_a_gemm_is_built_for_a_t4_in_fp32_and_fp16_and_a_changed_file_is_another_engine(trtzoo, tmp_path):
    path = cnn(tmp_path / "mine.onnx")
    done = trtzoo("build", "--onnx", "mine.onnx", "--gpu", "t4", "--precision", "fp32,fp16")
    digest = sha256_file(path)[:8]
    assert done.returncode == 0, done.stderr
    assert sorted(line.split()[0] for line in done.stdout.splitlines()) == [
        f"{T4}/mine-{digest}-{kind}-b1.engine" for kind in ("fp16", "fp32")
    ]
    sidecar = json.loads((tmp_path / T4 / f"mine-{digest}-fp16-b1.json").read_text())
    assert sidecar["weights"]["origin"] == "mine.onnx" and sidecar["golden"] == f"mine-{digest}-fp16.npz"
    adopted = trtzoo("build", "--onnx", f"onnx/mine-{digest}-fp32.onnx", "--gpu", "t4", "--precision", "fp32,fp16")
    assert adopted.returncode == 0 and adopted.stdout.count("up to date") == 2, adopted.stderr


def test_a_product_that_is_no_convolution_says_what_helps(trtzoo, tmp_path):
    def attend(model):
        """(N, 8, 8, 8) features times themselves, which is no convolution."""
        from onnx import helper

        model.graph.node.insert(2, helper.make_node("MatMul", ["features", "features"], ["attended"]))
        model.graph.node[3].input[0] = "attended"

    cnn(tmp_path / "mine.onnx", change=attend)
    done = trtzoo("build", "--onnx", "mine.onnx", "--gpu", "t4")
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        "the graph has a matrix product that trtzoo cannot write as a convolution, and TensorRT-RTX has none in FP32 for "
        "Tesla T4: use --precision fp16, or build for another GPU (TensorRT reports: " in done.stderr
    )


def test_a_quantized_file_is_measured_and_built(trtzoo, tmp_path):
    path = quantized(tmp_path / "mine.onnx")
    done = trtzoo("bench", "--onnx", "mine.onnx", "--gpu", "cpu", "--batch", "1", "--protocol", "trial")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("mine (5 classes, 32x32) int8 b1 ")
    assert "reference: ONNX Runtime on the original" in done.stderr
    done = trtzoo("build", "--onnx", "mine.onnx", "--gpu", "t4")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{T4}/mine-{sha256_file(path)[:8]}-int8-b1.engine  ")


def test_photographs_are_prepared_as_the_export_was_told(trtzoo, tmp_path):
    path = cnn(tmp_path / "mine.onnx")
    (tmp_path / "my.toml").write_text("mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\nresize = 36\n")
    for label in range(CLASSES):
        folder = tmp_path / "data" / str(label)
        folder.mkdir(parents=True)
        pixels = (random(40, 44, 3, seed=label) * 60 + 128).clip(0, 255).astype("uint8")
        Image.fromarray(pixels).save(folder / "one.png")
    done = trtzoo("export", "--onnx", "mine.onnx", "--preprocessing", "my.toml", "--name", "other")
    assert done.returncode == 0, done.stderr
    digest = sha256_file(path)[:8]
    assert done.stdout.startswith(f"onnx/other-{digest}-fp32.onnx  ")
    done = trtzoo("eval", "--onnx", "mine.onnx", "--data", "data", "--gpu", "cpu")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("other (5 classes, 32x32) fp32 onnxruntime (batch 8, weights of the file mine.onnx ")
    assert "Adopted" not in done.stderr
    (record,) = (tmp_path / "benchmarks").glob("*/accuracy/*.json")
    weights = json.loads(record.read_text())["weights"]
    assert weights["preprocessing"]["mean"] == [0.5] * 3 and weights["preprocessing"]["resize"] == 36
    done = trtzoo("parity", "--onnx", "mine.onnx", "--data", "data", "--gpu", "cpu", "--batch", "2")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("bench", "--runtime", "pytorch", "--gpu", "cpu"),
            "pytorch runs networks of trtzoo's own, and mine.onnx is of another",
        ),
        (
            ("eval", "--data", ".", "--gpu", "cpu"),
            " takes images of 32x48 pixels, and trtzoo crops photographs to squares only. ",
        ),
        (("export", "--classes", "5"), "--classes cannot be combined with --onnx: the file decides it."),
        (("export", "--io", "fp16"), "--io fp16 is for FP16 graphs that trtzoo makes; mine.onnx keeps its types."),
        (("export", "--precision", "int8"), "mine.onnx is fp32: it cannot be used as int8."),
        (("export", "--preprocessing", "imagnet"), "There is no preprocessing 'imagnet'. Did you mean imagenet?"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused(trtzoo, tmp_path, arguments, sentence):
    cnn(tmp_path / "mine.onnx", sides=(32, 48))
    command, *options = arguments
    done = trtzoo(command, "--onnx", "mine.onnx", *options)
    assert done.returncode in (1, 2), done.stderr
    assert sentence in done.stderr + done.stdout and "Traceback" not in done.stderr
