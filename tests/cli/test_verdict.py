"""`trtzoo verdict` as a user runs it."""

import json
import shutil

import pytest

from trtzoo.core.files import read_record, sha256_file
from trtzoo.core.records import Result
from trtzoo.report.verdict import Verdict

FAKE = ("--gpu", "cpu", "--runtime", "fake", "--batch", 4)
"""The runtime that computes nothing returns the golden sample's logits, for its four images."""


@pytest.fixture
def here(small, tmp_path):
    """dpn68 in FP32 and FP16, which takes half the time."""
    shutil.copytree(small, tmp_path / "onnx", ignore=shutil.ignore_patterns(".*"))
    for precision, seconds in (("fp32", 0.8), ("fp16", 0.4)):
        (tmp_path / "onnx" / f"dpn68-{precision}-c10-s32.script.json").write_text(json.dumps({"seconds": [seconds]}))
    return tmp_path


def test_a_verdict_is_printed_kept_and_shown_beside_the_latency_and_a_missing_file_has_none(trtzoo, here):
    done = trtzoo("verdict", "dpn68", "--precision", "int8,fp16", *FAKE, "--runs", 2, "--format", "json")
    assert done.returncode == 1
    missing = "dpn68 int8 batch 4: no verdict: onnx/dpn68-int8.onnx does not exist. Run: trtzoo export dpn68 --precision int8"
    assert missing in done.stderr
    speed, accuracy = json.loads(done.stdout)["tables"]
    (row,) = speed["rows"]
    assert (row["Model"], row["prec."], row["batch"]) == ("dpn68 (10 classes, 32x32)", "fp16", 4)
    assert row["FP32 ms"] == pytest.approx(800) and row["ms"] == pytest.approx(400) and row["ratio"] == pytest.approx(0.5)
    assert row["verdict"] in ("PAYS (speed only)", "UNCLEAR (speed only)")  # other programs may disturb it
    assert accuracy["rows"][0]["images"] == 4 and accuracy["rows"][0]["least cosine"] == pytest.approx(1)
    assert f"dpn68 (10 classes, 32x32) fp16 batch 4 fake: {row['verdict']}" in done.stderr

    (path,) = here.glob("benchmarks/*/verdicts/*.json")
    kept = read_record(path, Verdict)
    assert path.stem == kept.name == "dpn68-c10-s32-fp16-b4-fake-trtzoo-seeded" and kept.ratio.value == pytest.approx(0.5)
    assert kept.interleaved and 2 * len(kept.before.runs) + kept.left_out == 4
    graph = here / "onnx" / "dpn68-fp16-c10-s32.onnx"
    assert (kept.after.artifact_sha256, kept.after.bytes) == (sha256_file(graph), graph.stat().st_size)
    runs = [read_record(each, Result) for each in path.parents[1].rglob("*.json") if each.parent.name != "verdicts"]
    assert sorted(run.case.precision for run in runs) == ["fp16", "fp16", "fp32", "fp32"]

    table = trtzoo("table", "--format", "md")
    assert table.returncode == 0 and f"| {row['verdict']} [" in table.stdout and "b4 pays" in table.stdout
    facts = trtzoo("table", "--explain", "dpn68,fp16,b4").stdout
    assert f"Pays              {row['verdict']}: " in facts and " of each file in turns, the golden sample" in facts
    path.write_text(path.read_text().replace('"images": 4', '"images": -4'))
    table = trtzoo("table", "--format", "md")
    assert table.returncode == 1 and "b4 pays" not in table.stdout
    assert f"skipped: {path.relative_to(here)} is damaged: images is -4" in table.stderr


def test_the_gate_fails_only_for_a_precision_that_is_proven_not_to_pay(trtzoo, here):
    (here / "onnx" / "dpn68-fp16-c10-s32.script.json").write_text('{"seconds": [1.6]}')
    done = trtzoo("verdict", "dpn68", "--precision", "fp16", *FAKE, "--runs", 2, "--gate", "--format", "md")
    proven = "| DOES NOT PAY (speed only) [" in done.stdout
    assert (done.returncode, "1 of 1 verdicts: does not pay: dpn68" in done.stderr) == (int(proven), proven), done.stderr


def test_a_precision_that_crashes_has_no_verdict(trtzoo, here):
    (here / "onnx" / "dpn68-fp16-c10-s32.script.json").write_text('{"fail": "crash"}')
    done = trtzoo("verdict", "dpn68", "--precision", "fp16", *FAKE, "--runs", 2)
    assert done.returncode == 1 and done.stdout == ""
    assert "dpn68 (10 classes, 32x32) fp16 batch 4: no verdict: " in done.stderr
    assert "the process ended with status 66" in done.stderr


def test_files_of_other_weights_are_not_compared(trtzoo, here, tmp_path):
    sidecar = here / "onnx" / "dpn68-fp16-c10-s32.json"
    text = sidecar.read_text()
    digest = json.loads(text)["weights"]["sha256"]
    sidecar.write_text(text.replace(digest, "0" * len(digest)))
    done = trtzoo("verdict", "dpn68", "--precision", "fp16", *FAKE)
    assert done.returncode == 1
    assert "have different weights, classes or image sizes. Run: trtzoo export dpn68 --precision fp32,fp16" in done.stderr
    assert not (here / "benchmarks").exists()


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--precision", "fp32"), 2, "fp32 is what the others are compared with. Choose from: "),
        (("--precision", "fp16,fp32"), 2, "fp32 is what the others are compared with. Choose from: "),
        (("--precision", "fp17"), 2, "There is no precision 'fp17'. Did you mean fp16?"),
        (("--precision", "tf32"), 2, "tf32 is a mode of NVIDIA GPUs"),
        (("--runtime", "pytorch"), 2, "pytorch does not compute int8 graphs in INT8; these do: onnxruntime, openvino."),
        (("--protocol", "quick"), 2, "There is no protocol 'quick'."),
        (("--batch", "1,x"), 2, "'x' is not a whole number from 1 to 1024"),
        (("--runs", "1"), 2, "2"),
        (("--labels", "x.txt"), 2, "--classes and --labels describe photographs. Give their folder: --data DIR"),
        (("--precision", "fp16", "--data", "nowhere", *FAKE), 1, "There is no folder nowhere."),
        (("--onnx-dir", "empty"), 1, "do not exist. Run: trtzoo export dpn68 --precision fp32,int8"),
    ],
)
def test_an_impossible_command_is_one_sentence_and_measures_nothing(trtzoo, here, words, code, sentence):
    done = trtzoo("verdict", "dpn68", "--gpu", "cpu", *words)
    assert done.returncode == code and sentence in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "" and not (here / "benchmarks").exists()
