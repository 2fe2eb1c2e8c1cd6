"""`trtzoo bench` as a user runs it."""

import re

import pytest

from tests.benchmark.fakes import fake_job
from trtzoo.core.files import read_record
from trtzoo.core.records import Result
from trtzoo.hardware.devices import cpu_device


@pytest.fixture
def fakes(tmp_path):
    """Two artifacts for the fake runtime under onnx/, the second one's outputs wrong."""
    (tmp_path / "onnx").mkdir()
    fake_job(tmp_path / "onnx", model="dpn68", script={"seconds": [0.5]})
    fake_job(tmp_path / "onnx", model="dpn92", script={"fail": "zeros"})


def test_lines_go_to_stdout_and_results_to_the_folder_of_the_device(trtzoo, fakes, tmp_path):
    done = trtzoo("bench", "dpn68", "--gpu", "cpu", "--runtime", "fake", "--batch", "1,4")
    assert done.returncode == 0, done.stderr
    numbers = "500.00 ms   median in [500.00, 500.00]   p99 500.00   10 samples"
    assert done.stdout.splitlines() == [
        f"dpn68 (10 classes, 8x8) fp32  batch {batch}   trtzoo        {numbers}" for batch in (1, 4)
    ]
    files = sorted((tmp_path / "benchmarks" / cpu_device().key).glob("*.json"))
    results = [read_record(path, Result) for path in files]
    assert [result.case.batch for result in results] == [1, 4]
    assert all(len(result.samples) == 10 for result in results)


def test_a_failed_case_is_reported_and_kept_and_the_exit_code_is_one(trtzoo, fakes):
    done = trtzoo("bench", "dpn92", "dpn68", "--gpu", "cpu", "--runtime", "fake", "--batch", "1")
    assert done.returncode == 1
    first, second = done.stdout.splitlines()
    assert first == "dpn92 (10 classes, 8x8) fp32  batch 1   failed: wrong-output: all logits are 0"
    assert second.startswith("dpn68") and "500.00 ms" in second
    assert "1 of 2 cases failed; the others are kept in benchmarks/" in done.stderr


def test_a_missing_gpu_is_refused_and_the_present_devices_are_named(trtzoo, fakes):
    done = trtzoo("bench", "--all", "--gpu", "t4", env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 3
    assert done.stdout == ""
    assert "There is no Tesla T4 here: no NVIDIA GPU" in done.stderr
    assert cpu_device().name in done.stderr
    assert "trtzoo bench --gpu auto" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["dpn86"], "There is no model 'dpn86'."),
        (["dpn68", "--all"], "Give either model names or --all, not both."),
        (["--gpu", "cpu", "--runtime", "onnxrun"], "Did you mean onnxruntime?"),
        (["--gpu", "cpu", "--protocol", "trtexec99"], "There is no protocol 'trtexec99'."),
        (["--precision", "fp15"], "There is no precision 'fp15'. Did you mean fp16?"),
        (["--gpu", "t5"], "There is no GPU 't5'. Did you mean t4?"),
        (["--batch", "0"], "'0' is not a whole number from 1 to 1024"),
        (["--batch", "1,,8"], "has an empty item"),
    ],
)
def test_an_unknown_name_is_a_usage_error(trtzoo, arguments, sentence):
    done = trtzoo("bench", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_auto_measures_with_the_fastest_runtime_of_a_trial(trtzoo, tmp_path):
    assert trtzoo("export", "dpn68", "--weights", "seeded", "--input-size", "64").returncode == 0
    done = trtzoo("bench", "dpn68", "--gpu", "cpu", "--batch", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dpn68 (64x64) fp32  batch 2" in done.stdout
    (path,) = (tmp_path / "benchmarks").glob("*/*.json")
    result = read_record(path, Result)
    rivals = [found[1] for found in re.finditer(r"(\w+) [\d.]+ ms", result.selection_reason)]
    assert rivals == ["onnxruntime", "openvino"] and result.case.runtime in rivals
    table = trtzoo("table", "--format", "csv").stdout.split("# Latency in ms, FP32, on ")[1].split("# ")[0]
    columns = table.splitlines()[1].split(",")
    (row,) = [line.split(",") for line in table.splitlines() if line.startswith("dpn68 (64x64),")]
    assert float(row[columns.index("CPU b2")]) > 0
