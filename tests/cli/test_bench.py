"""`trtzoo bench` as a user runs it."""

import csv
import json
import re
import signal
import subprocess
import sys

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


def rows(stdout):
    """The lines of results, without the doubts that a busy machine adds."""
    return [line for line in stdout.splitlines() if not line.startswith("    doubtful: ")]


def test_lines_go_to_stdout_and_results_to_the_folder_of_the_device(trtzoo, fakes, tmp_path):
    done = trtzoo("bench", "dpn68", "--gpu", "cpu", "--runtime", "fake", "--batch", "1,4")
    assert done.returncode == 0, done.stderr
    numbers = "500.00 ms [500.00, 500.00]  p99 500.00  n=10"
    assert rows(done.stdout) == [f"dpn68 (10 classes, 8x8) fp32 b{batch} fake    {numbers}" for batch in (1, 4)]
    files = sorted((tmp_path / "benchmarks" / cpu_device().key).glob("*.json"))
    results = [read_record(path, Result) for path in files]
    assert [result.case.batch for result in results] == [1, 4]
    assert all(len(result.samples) == 10 for result in results)


def test_a_failed_case_is_reported_and_kept_and_the_exit_code_is_one(trtzoo, fakes):
    done = trtzoo("bench", "dpn92", "dpn68", "--gpu", "cpu", "--runtime", "fake", "--batch", "1")
    assert done.returncode == 1
    first, second = rows(done.stdout)
    assert first == "dpn92 (10 classes, 8x8) fp32 b1 fake  failed: wrong-output: all logits are 0"
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
        (["--gpu", "cpu", "--cuda-graph", "on"], "--wait and --flush-l2 are for engines on a GPU"),
        (["--gpu", "cpu", "--wait", "spin"], "--wait and --flush-l2 are for engines on a GPU"),
        (["--gpu", "cpu", "--flush-l2"], "--wait and --flush-l2 are for engines on a GPU"),
        (["--gpu", "cpu", "--threads", "1000"], "--threads 1000: this process may use "),
        (["--gpu", "cpu", "--runtime", "onnxruntime,"], "has an empty item"),
        (["--print-trtexec", "--resume", "--seconds", "3"], "measures nothing: leave out --seconds, --resume."),
    ],
)
def test_an_unknown_name_is_a_usage_error(trtzoo, arguments, sentence):
    done = trtzoo("bench", *arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stdout == "" and "Traceback" not in done.stderr


def test_a_doubt_is_on_stdout_with_its_case(trtzoo, tmp_path):
    (tmp_path / "onnx").mkdir()
    fake_job(tmp_path / "onnx", model="dpn68", script={"seconds": [0.5, 0.9]})
    done = trtzoo("bench", "dpn68", "--gpu", "cpu", "--runtime", "fake", "--batch", "1")
    _, doubt = done.stdout.splitlines()
    assert doubt.startswith("    doubtful: dpn68 (10 classes, 8x8) fp32 b1 fake: ")
    assert "the standard deviation is 30% of the mean (limit 10.0%)" in doubt


def test_resume_marks_what_it_kept(trtzoo, fakes):
    command = ("bench", "dpn68", "--gpu", "cpu", "--runtime", "fake")
    trtzoo(*command, "--batch", "1")
    done = trtzoo(*command, "--batch", "1,4", "--resume")
    assert [line.endswith("n=10  kept") for line in rows(done.stdout)] == [True, False]


def test_ctrl_c_says_how_many_results_are_kept_and_where(tmp_path):
    (tmp_path / "onnx").mkdir()
    fake_job(tmp_path / "onnx", model="dpn68", script={"seconds": [0.5]})
    fake_job(tmp_path / "onnx", model="dpn92", script={"fail": "hang"})
    words = ["bench", "dpn68", "dpn92", "--gpu", "cpu", "--runtime", "fake", "--batch", "1"]
    command = [sys.executable, "-m", "trtzoo.cli", *words]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline().startswith("dpn68")
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
    folder = f"benchmarks/{cpu_device().key}"
    assert (child.returncode, errors) == (
        130,
        f"\ntrtzoo: Interrupted. 1 good result is kept in {folder}. To measure the rest, run it again with --resume.\n",
    )


def test_several_runtimes_are_measured_in_one_call_with_a_number_of_threads(trtzoo, small, tmp_path):
    words = ("dpn68", "--gpu", "cpu", "--batch", "1", "--protocol", "trial")
    done = trtzoo("bench", *words, "--runtime", "onnxruntime,openvino", "--threads", "1", "--onnx-dir", small)
    assert done.returncode == 0, done.stderr
    names = ("onnxruntime", "openvino")
    assert [line.split()[:8] for line in rows(done.stdout)] == [
        ["dpn68", "(10", "classes,", "32x32)", "fp32", "b1", name, "trial"] for name in names
    ]
    files = sorted((tmp_path / "benchmarks").glob("*/*.json"))
    assert [path.stem for path in files] == [f"dpn68-c10-s32-fp32-b1-{name}-trial-threads1-seeded" for name in names]
    assert {read_record(path, Result).threads for path in files} == {1}
    assert "2 cores, openvino, trial, 1 thread" in trtzoo("table").stdout or cpu_device().cores != 2


def test_json_is_a_line_for_each_case(trtzoo, fakes):
    done = trtzoo("bench", "dpn68", "dpn92", "--gpu", "cpu", "--runtime", "fake", "--batch", "1", "--format", "json")
    assert done.returncode == 1
    good, bad = map(json.loads, done.stdout.splitlines())
    assert (good["schema"], good["kind"], good["model"], good["classes"], good["batch"]) == (1, "bench", "dpn68", 10, 1)
    assert (good["statistic"], good["latency"], good["samples"], good["kept"]) == ("median", 0.5, 10, False)
    assert (good["weights"]["source"], good["failure"]) == ("seeded", None)
    assert bad["latency"] is None and bad["failure"] == {"kind": "wrong-output", "reason": "all logits are 0"}
    assert "1 of 2 cases failed" in done.stderr


def test_auto_measures_with_the_fastest_runtime_of_a_trial(trtzoo, tmp_path):
    assert trtzoo("export", "dpn68", "--weights", "seeded", "--input-size", "64").returncode == 0
    done = trtzoo("bench", "dpn68", "--gpu", "cpu", "--batch", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "dpn68 (64x64) fp32 b2" in done.stdout
    (path,) = (tmp_path / "benchmarks").glob("*/*.json")
    result = read_record(path, Result)
    rivals = [found[1] for found in re.finditer(r"(\w+) [\d.]+ ms", result.selection_reason)]
    assert rivals == ["onnxruntime", "openvino"] and result.case.runtime in rivals
    (row,) = csv.DictReader(trtzoo("table", "--format", "csv").stdout.splitlines())
    assert (row["model"], row["batch"], row["runtime"]) == ("dpn68 (64x64)", "2", result.case.runtime)
    assert float(row["latency_ms"]) > 0
