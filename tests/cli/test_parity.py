"""`trtzoo parity` as a user runs it."""

import json
import shutil

import pytest
from PIL import Image

from tests.verification.spoiling import spoil
from trtzoo.core.files import sha256_file


@pytest.fixture
def here(small, tmp_path):
    shutil.copytree(small, tmp_path / "onnx", ignore=shutil.ignore_patterns(".*"))
    return tmp_path


def spoilt(here):
    """The FP16 graph with one block's weights wrong, and a sidecar that describes it."""
    path = here / "onnx" / "dpn68-fp16-c10-s32.onnx"
    sidecar, before = path.with_suffix(".json"), sha256_file(path)
    spoil(path, path, "conv4_5", lambda values: values[::-1])
    sidecar.write_text(sidecar.read_text().replace(before, sha256_file(path)))


def test_without_data_logits_are_compared_on_synthetic_images(trtzoo, here):
    done = trtzoo("parity", "dpn68", "--precision", "fp32,fp16", "--batch", "1,4", "--limit", "5", "--format", "json")
    assert done.returncode == 0, done.stderr
    logits, classes = json.loads(done.stdout)["tables"]
    assert [(row["prec."], row["batch"], row["verdict"]) for row in logits["rows"]] == [
        ("fp32", 1, "passes"),
        ("fp32", 4, "passes"),
        ("fp16", 1, "passes"),
        ("fp16", 4, "passes"),
    ]
    assert logits["caption"][0].startswith(
        "synthetic images; runtime onnxruntime; SEEDED weights (latency is valid, accuracy is not); onnx"
    )
    assert all(row["images"] == 5 for row in classes["rows"]) and "ref. right" not in classes["rows"][0]


def test_an_engine_that_fails_is_exit_code_one_with_the_reason(trtzoo, here):
    spoilt(here)
    done = trtzoo("parity", "dpn68", "--precision", "fp32,fp16", "--batch", "2", "--limit", "4", "--format", "md")
    assert done.returncode == 1
    assert (
        "| dpn68 (10 classes, 32x32) | fp32 | 2 | passes |" in done.stdout
        and "| dpn68 (10 classes, 32x32) | fp16 | 2 | FAILS [1] |" in done.stdout
    )
    assert "[1] dpn68 (10 classes, 32x32) fp16 batch 2 onnxruntime: a logit differs by " in done.stdout
    assert "dpn68 (10 classes, 32x32) fp16 batch 2 onnxruntime cannot replace the reference: a logit differs by " in done.stderr


def test_layers_name_the_first_block_out_of_tolerance(trtzoo, here):
    good = trtzoo("parity", "dpn68", "--layers", "--limit", "2")
    assert good.returncode == 0 and "all 24 blocks are within tolerance" in good.stdout, good.stderr
    spoilt(here)
    done = trtzoo("parity", "dpn68", "--layers", "--limit", "2", "--format", "csv")
    assert done.returncode == 1
    assert "dpn68: conv4_5 is the first block out of tolerance: it differs by " in done.stderr
    rows = [line.split(",") for line in done.stdout.splitlines()[1:25]]
    assert next(row[0] for row in rows if row[-1] == "FAILS") == "conv4_5"


def test_a_plain_folder_of_photographs_needs_no_labels(trtzoo, here):
    (here / "photographs").mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (50, 40), colour).save(here / "photographs" / f"{number}.jpg")
    (here / "photographs" / "3.jpg").write_bytes(b"")
    done = trtzoo("parity", "dpn68", "--batch", "2", "--data", "photographs", "--format", "md")
    assert done.returncode == 0, done.stderr
    assert "photographs of photographs, without labels" in done.stdout
    assert "skipped: 3.jpg cannot be read: it is empty" in done.stderr


def test_class_folders_need_no_names_of_the_networks_classes(trtzoo, here):
    for name in ("cat", "dog"):
        (here / "data" / name).mkdir(parents=True)
        Image.new("RGB", (50, 40), "red").save(here / "data" / name / f"{name}.jpg")
    done = trtzoo("parity", "dpn68", "--batch", "1", "--data", "data", "--format", "json")
    assert done.returncode == 0, done.stderr
    logits, classes = json.loads(done.stdout)["tables"]
    assert logits["caption"][0].startswith("photographs of data, without labels") and classes["rows"][0]["images"] == 2
    assert "The images are used without labels. data has 2 classes (cat, dog …) and the network has 10." in done.stderr
    named = trtzoo("parity", "dpn68", "--data", "data", "--classes", "names.txt")
    assert named.returncode == 1 and "names.txt cannot be read" in named.stderr


def test_a_missing_graph_has_no_verdict_and_its_command_is_named(trtzoo, here):
    done = trtzoo("parity", "dpn92", "dpn68", "--batch", "1", "--limit", "2", "--format", "md")
    assert done.returncode == 1
    assert "| dpn68 (10 classes, 32x32) | fp32 | 1 | passes |" in done.stdout
    assert "There is no onnx/dpn92-fp32.onnx. Run: trtzoo export dpn92 --precision fp32" in done.stderr
    assert "dpn92" not in done.stdout
    alone = trtzoo("parity", "dpn92", "--format", "json")
    assert (alone.returncode, alone.stdout) == (1, "")
    assert alone.stderr.startswith("trtzoo: Nothing is exported: onnx/dpn92-fp32.onnx does not exist.")


def test_layers_without_the_fp16_graph_name_the_command(trtzoo, here):
    for path in (here / "onnx").glob("dpn68-fp16*"):
        path.unlink()
    done = trtzoo("parity", "dpn68", "--layers")
    assert done.returncode == 1 and done.stdout == ""
    assert "onnx/dpn68-fp16.onnx is missing. Run: trtzoo export dpn68 --precision fp16" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["dpn86"], 2, "There is no model 'dpn86'."),
        (["dpn68", "--precision", "tf32", "--gpu", "cpu"], 2, "tf32 is a mode of NVIDIA GPUs"),
        (["dpn68", "--format", "xml"], 2, "There is no format 'xml'."),
        (["dpn68", "--batch", "0"], 2, "'0' is not a whole number from 1 to 1024"),
        (["dpn68", "--data", "nowhere"], 1, "There is no folder nowhere."),
        (["dpn68", "--data", "onnx"], 1, "onnx holds no images"),
        (["dpn68", "--classes", "names.txt"], 2, "--classes and --labels describe photographs. Give their folder: --data DIR"),
        (["dpn68", "--layers", "--batch", "1"], 2, "Leave out --batch."),
        (["dpn68", "--runtime", "tensorrt", "--gpu", "cpu"], 2, "The runtime tensorrt does not run on "),
    ],
)
def test_an_impossible_command_is_one_sentence(trtzoo, here, arguments, code, sentence):
    done = trtzoo("parity", *arguments)
    assert done.returncode == code
    assert sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == ""
