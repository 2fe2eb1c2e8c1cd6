"""`trtzoo eval` as a user runs it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from tests.classifier import CLASSES, WEIGHTS, classifier
from tests.photographs import class_folders
from trtzoo.accuracy.records import Evaluation, load_evaluations
from trtzoo.cli.checking import sentence
from trtzoo.hardware.devices import cpu_device
from trtzoo.images import dataset

EACH = 6


@pytest.fixture
def ready(tmp_path):
    """Thirty images and a network for them, where a user has them."""
    classifier(tmp_path / "onnx")
    return class_folders(tmp_path / "data", classes=CLASSES, each=EACH)


def journal(tmp_path):
    folder = tmp_path / "benchmarks" / cpu_device().key / "accuracy"
    return next(folder.glob("densenet121-c5-s8-fp32-onnxruntime-00000000-*.journal"), folder / "none")


def test_the_result_is_one_sentence_with_its_conditions(trtzoo, ready, tmp_path):
    (ready / "0" / "0_0.png").write_text("a text")
    done = trtzoo("eval", "densenet121", "--data", "data")
    assert done.returncode == 0, done.stderr
    ((record,), _) = load_evaluations(tmp_path / "benchmarks")
    fingerprint = dataset.read_dataset(ready, classes=CLASSES).fingerprint
    assert record.fingerprint == fingerprint and record.images == 29
    assert done.stdout == (
        "densenet121 (5 classes, 8x8) fp32 onnxruntime (batch 8, weights of the file my.pth [00000000]): "
        f"top-1 {record.top1 / 29:.2%}, top-5 100.00%; nothing published for this network with these weights; "
        f"29 images of data, 1 bad, fingerprint {fingerprint[:12]}\n"
    )
    assert "0/0_0.png: it is not a JPEG, PNG, BMP or WEBP image" in done.stderr


def test_a_published_network_is_compared_with_its_published_accuracy():
    done = Evaluation(
        model="densenet121",
        precision="fp16",
        runtime="tensorrt",
        batch=8,
        device=cpu_device(),
        dataset="val",
        fingerprint="0123456789abcdef",
        images=50_000,
        top1=37_800,
        top5=46_000,
        weights=msgspec.structs.replace(WEIGHTS, source="paddle", origin="https://a.server/w.pdparams"),
        artifact_sha256="",
    )
    assert sentence(done) == (
        "densenet121 fp16 tensorrt (batch 8, weights of paddle): top-1 75.60%, top-5 92.00%; published 75.7% and 92.6%: "
        "-0.10 and -0.60 points; 50000 images of val, 0 bad, fingerprint 0123456789ab"
    )


def test_a_path_and_a_model_name_select_the_same_file(trtzoo, ready):
    by_name = trtzoo("eval", "densenet121", "--data", "data", "--limit", "7", "--batch", "2")
    by_path = trtzoo("eval", "--onnx", "onnx/densenet121-fp32-c5-s8.onnx", "--data", "data", "--limit", "7", "--batch", "2")
    assert by_name.stdout == by_path.stdout and "7 images of data" in by_path.stdout


def test_one_bad_file_does_not_stop_the_others(trtzoo, ready, tmp_path):
    seeded = msgspec.structs.replace(WEIGHTS, source="seeded")
    classifier(tmp_path / "onnx", name="dpn68-fp32", weights=seeded)
    done = trtzoo("eval", "dpn68", "dpn92", "densenet121", "--data", "data")
    assert done.returncode == 1
    first, second, third = done.stdout.splitlines()
    assert first.startswith("dpn68-fp32.onnx: failed: onnx/dpn68-fp32.onnx has seeded weights, which classify nothing")
    assert second == ("dpn92-fp32.onnx: failed: onnx/dpn92-fp32.onnx is missing. Run: trtzoo export dpn92 --precision fp32")
    assert third.startswith("densenet121 (5 classes, 8x8) fp32 onnxruntime (batch 8")
    assert "2 of 3 evaluations failed; the others are kept in benchmarks/" in done.stderr


def long(ready):
    """So many that there is time to kill it."""
    return class_folders(ready, classes=CLASSES, each=300)


def begun(tmp_path, *more):
    """The command, when some images are done."""
    command = [sys.executable, "-m", "trtzoo.cli", "eval", "densenet121", "--data", "data", "--batch", "1", *more]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 60
    while not journal(tmp_path).exists() or journal(tmp_path).read_bytes().count(b"\n") < 30:
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.005)
    return process


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_killed_evaluation_resumes_and_counts_no_image_twice(trtzoo, ready, tmp_path):
    long(ready)
    process = begun(tmp_path)
    decoders = children(process.pid)
    process.kill()
    process.communicate()
    assert decoders
    done = trtzoo("eval", "densenet121", "--data", "data", "--batch", "1", "--resume")
    assert done.returncode == 0, done.stderr
    ((resumed,), _) = load_evaluations(tmp_path / "benchmarks")
    assert resumed.images == CLASSES * 300
    trtzoo("eval", "densenet121", "--data", "data", "--batch", "1")
    ((whole,), _) = load_evaluations(tmp_path / "benchmarks")
    assert (resumed.top1, resumed.top5, resumed.images) == (whole.top1, whole.top5, whole.images)
    assert [pid for pid in decoders if Path(f"/proc/{pid}/cmdline").exists() and "spawn_main" in _command(pid)] == []


def _command(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_ctrl_c_keeps_finished_images_and_names_the_option_that_continues(ready, tmp_path):
    long(ready)
    process = begun(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the decoders, too
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == "" and "Traceback" not in err
    assert "trtzoo: Interrupted. Finished images are kept; rerun with --resume to continue." in err
    assert journal(tmp_path).read_bytes().count(b"\n") >= 30


BAD = {
    "no data": (["densenet121"], 2, "Give the folder of the labelled photographs: --data DIR"),
    "no folder": (["densenet121", "--data", "nowhere"], 1, "There is no folder nowhere."),
    "an empty folder": (["densenet121", "--data", "onnx"], 1, "onnx holds no images"),
    "another class count": (["densenet121", "--data", "data/0"], 1, "6 images and no labels"),
    "model and file": (["dpn68", "--onnx", "x.onnx", "--data", "data"], 2, "Give either model names or --onnx FILE, not both."),
    "no such file": (["--onnx", "x.onnx", "--data", "data"], 1, "There is no x.onnx"),
    "no such model": (["dpn86", "--data", "data"], 2, "There is no model 'dpn86'."),
    "no such runtime": (["--runtime", "onnxrun", "--data", "data"], 2, "Did you mean onnxruntime?"),
    "tf32": (["--precision", "tf32", "--gpu", "cpu", "--data", "data"], 2, "tf32 is a mode of NVIDIA GPUs"),
    "another precision": (
        ["--onnx", "onnx/densenet121-fp32-c5-s8.onnx", "--precision", "fp16", "--data", "data"],
        2,
        "is fp32: it cannot be used as fp16",
    ),
    "another batch": (
        ["--onnx", "onnx/densenet121-fp32-c5-s8-b4.onnx", "--batch", "2", "--data", "data"],
        2,
        "densenet121-fp32-c5-s8-b4.onnx takes batches of 4 only. Say --batch 4.",
    ),
    "no class file": (["densenet121", "--data", "data", "--classes", "x.txt"], 1, "x.txt cannot be read: No such file"),
    "no label list": (["densenet121", "--data", "data", "--labels", "x.txt"], 1, "x.txt cannot be read: No such file"),
}


@pytest.mark.parametrize(("arguments", "code", "text"), BAD.values(), ids=BAD)
def test_what_cannot_be_evaluated_is_one_sentence(trtzoo, ready, arguments, code, text, tmp_path):
    if any("-b4" in word for word in arguments):
        classifier(tmp_path / "onnx", name="densenet121-fp32-c5-s8-b4", batch=4)
    done = trtzoo("eval", *arguments)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_missing_package_is_named_with_the_extra_that_installs_it(ready, tmp_path):
    code = (
        "import sys; sys.modules['cv2'] = None; sys.argv = ['trtzoo', 'eval', 'densenet121', '--data', 'data'];"
        "from trtzoo.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert re.search(r"needs cv2, which is not installed. Run: pip install 'trtzoo\[eval\]'", done.stderr)
