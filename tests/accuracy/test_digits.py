"""End to end with networks that classify: trained here, then used by the commands that a user types."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import digits
from trtzoo.accuracy.records import load_evaluations

AS_EXPORTED = ("--classes", digits.CLASSES, "--input-size", digits.SIZE)


@pytest.fixture(scope="module")
def command(command_line):
    return lambda folder, *words: command_line.run(*words, cwd=folder)


@pytest.fixture(scope="module")
def here(tmp_path_factory, command):
    """Checkpoints, the held-out digits, and both networks exported in every precision of a graph."""
    folder = tmp_path_factory.mktemp("digits")
    script = Path(digits.__file__)
    env = os.environ | {"PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"}
    command_line = [sys.executable, script, folder, "--epochs", "2", "--models"]
    training = [subprocess.Popen([*command_line, name], env=env) for name in digits.MODELS]
    assert [child.wait() for child in training] == [0, 0]
    for name in digits.MODELS:
        kinds = ("--precision", "fp32,fp16,bf16,int8,fp8", "--calibration", "calibration")
        done = command(folder, "export", name, "--weights", f"{name}.pth", *AS_EXPORTED, *kinds)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def evaluations(here, command):
    """By (model, runtime, precision)."""
    for runtime, kinds in (("pytorch", "fp32"), ("onnxruntime", "fp32,fp16,bf16,int8,fp8")):
        done = command(here, "eval", *digits.MODELS, "--data", "digits", "--runtime", runtime, "--precision", kinds)
        assert done.returncode == 0, done.stdout + done.stderr
    found, complaints = load_evaluations(here / "benchmarks")[:2]
    assert not complaints
    return {(row.model, row.runtime, row.precision): row for row in found}


@pytest.mark.parametrize("name", digits.MODELS)
def test_a_trained_network_is_as_good_in_every_runtime_and_precision(evaluations, name):
    torch, single, half = (
        evaluations[name, runtime, kind]
        for runtime, kind in (("pytorch", "fp32"), ("onnxruntime", "fp32"), ("onnxruntime", "fp16"))
    )
    assert {row.images for row in (torch, single, half)} == {360} and not torch.bad
    assert len({row.fingerprint for row in (torch, single, half)}) == 1
    assert all(row.top1 >= 0.85 * row.images for row in (torch, single, half))
    assert all(row.top5 >= 0.98 * row.images for row in (torch, single, half))
    assert abs(single.top1 - torch.top1) <= 1
    assert half.top1 >= 0.99 * torch.top1


@pytest.mark.parametrize("kind", ["bf16", "int8", "fp8"])
@pytest.mark.parametrize("name", digits.MODELS)
def test_eight_bits_and_bf16_lose_at_most_a_little_accuracy(evaluations, name, kind):
    whole, narrow = (evaluations[name, "onnxruntime", each] for each in ("fp32", kind))
    points = {"bf16": 1.0, "int8": 0.5, "fp8": 1.0}[kind]
    assert narrow.top1 >= whole.top1 - points / 100 * whole.images


def test_a_verdict_has_the_difference_on_the_same_digits_and_enough_of_them(here, command, evaluations):
    words = ("--precision", "int8", "--data", "digits", "--runtime", "onnxruntime", "--protocol", "trial", "--runs", "2")
    done = command(here, "verdict", "dpn68", *words, "--format", "json")
    assert done.returncode == 0, done.stderr
    speed, accuracy = json.loads(done.stdout)["tables"]
    (row,) = accuracy["rows"]
    whole, integers = (evaluations["dpn68", "onnxruntime", kind].top1 for kind in ("fp32", "int8"))
    assert row["images"] == 360 and row["top-1, points"] == pytest.approx(100 * (integers - whole) / 360, abs=0.6)
    assert row["from"] <= row["top-1, points"] <= row["to"] and row["MB"] < row["FP32 MB"] / 3
    assert speed["rows"][0]["verdict"] in ("PAYS", "DOES NOT PAY", "UNCLEAR")


@pytest.mark.parametrize("name", digits.MODELS)
def test_its_files_pass_parity_which_counts_as_eval_does(here, command, evaluations, name):
    arguments = ("--data", "digits", "--precision", "fp32,fp16", "--batch", "1,7", "--format", "json")
    done = command(here, "parity", name, *arguments)
    assert done.returncode == 0, done.stderr
    logits, classes = json.loads(done.stdout)["tables"]
    assert [row["verdict"] for row in logits["rows"]] == ["passes"] * 4
    for row in classes["rows"]:
        assert row["images"] == 360
        assert abs(row["ref. right"] - evaluations[name, "pytorch", "fp32"].top1) <= 1
        assert abs(row["right"] - evaluations[name, "onnxruntime", row["prec."]].top1) <= 1
        assert row["right"] - row["ref. right"] == row["won"] - row["lost"]
    assert all(row["flips"] <= 1 for row in classes["rows"] if row["prec."] == "fp32")


@pytest.mark.parametrize("name", digits.MODELS)
def test_no_block_leaves_tolerance_in_fp16(here, command, name):
    done = command(here, "parity", name, "--layers", "--data", "digits")
    assert done.returncode == 0, done.stderr
    assert "are within tolerance; the closest to its limit is " in done.stdout


def test_labels_in_another_order_lower_the_accuracy_but_not_the_parity(here, command, evaluations):
    """All labels are shifted by one."""
    (here / "classes.txt").write_text("".join(f"{(digit + 1) % 10}\n" for digit in range(10)))
    done = command(here, "parity", "dpn68", "--data", "digits", "--classes", "classes.txt", "--batch", "8", "--format", "json")
    assert done.returncode == 0, done.stderr
    _, classes = json.loads(done.stdout)["tables"]
    (row,) = classes["rows"]
    assert row["ref. right"] < 20 and row["same top-1"] > 0.99
