"""`trtzoo import` and `trtzoo bench --print-trtexec` as a user runs it."""

import msgspec
import pytest

from tests.benchmark.trtexec_files import query, write
from trtzoo.core.files import read_record
from trtzoo.core.records import Result

CASE = ["--model", "dpn131", "--gpu", "t4", "--precision", "fp16", "--batch", "4", "--tensorrt", "10.13.2"]


def test_an_imported_measurement_is_in_the_table_as_unchecked(trtzoo, tmp_path):
    times = write(tmp_path / "times.json", [query(start=300 + 5 * index) for index in range(30)])
    profile = write(tmp_path / "profile.json", [{"count": 30}, {"name": "conv0", "averageMs": 0.05}])
    done = trtzoo("import", times, *CASE, "--profile", profile)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "benchmarks/tesla-t4/dpn131-fp16-b4-trtexec-trtexec10.json  30 queries, 1 layers\n"
    result = read_record(tmp_path / done.stdout.split()[0], Result)
    assert (result.versions, result.check, result.layers[0].name) == ({"trtexec": "10.13.2"}, None, "conv0")
    explained = trtzoo("table", "--explain", "dpn131,trtexec").stdout
    assert "conv0 0.050 ms (100.0%); all 1 take 0.050 ms" in explained
    table = trtzoo("table", "--format", "md").stdout
    assert "### Inference speed on Tesla T4, FP16, in ms, Tesla T4, trtexec, trtexec10" in table
    assert "| dpn131 | 33.01 | 4.12 [1] |" in table
    assert "OUTPUTS NOT CHECKED" in table


def test_the_release_decides_the_protocol(trtzoo, tmp_path):
    times = write(tmp_path / "times.json", [query()])
    assert "trtexec11.json" in trtzoo("import", times, *CASE[:-1], "11.4.0").stdout


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        (["--model", "dpn86"], 2, "There is no model 'dpn86'."),
        (["--gpu", "t5"], 2, "Did you mean t4?"),
        (["--batch", "1,4"], 2, "--batch takes one value here, and 2 were given."),
        *((["--tensorrt", text], 2, f"--tensorrt {text!r} is not a version.") for text in ("new", "10rc1", "10." + 5000 * "9")),
    ],
)
def test_an_invalid_case_is_refused_and_writes_nothing(trtzoo, tmp_path, change, code, sentence):
    times = write(tmp_path / "times.json", [query()])
    done = trtzoo("import", times, *CASE, *change)
    assert done.returncode == code and sentence in done.stderr
    assert not (tmp_path / "benchmarks").exists()


def test_a_file_that_trtexec_did_not_write_is_refused(trtzoo, tmp_path):
    (tmp_path / "times.json").write_bytes(msgspec.json.encode({"a": 1}))
    done = trtzoo("import", tmp_path / "times.json", *CASE)
    assert done.returncode == 1 and "is not a file of trtexec --exportTimes" in done.stderr


def test_equivalent_trtexec_commands_are_printed_and_nothing_is_measured(trtzoo, tmp_path):
    done = trtzoo("bench", "dpn68", "--gpu", "t4", "--batch", "4", "--protocol", "trtexec10,trtexec11", "--print-trtexec")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("trtexec --onnx=onnx/dpn68-fp32.onnx --minShapes=images:4x3x224x224")
    assert "--useSpinWait" not in lines[0] and "--noCudaGraph --noSpinWait --includeDataTransfers" in lines[1]
    assert "--useCudaGraph" in lines[2] and "--useCudaGraph" not in lines[3]
    assert not (tmp_path / "benchmarks").exists()


def test_printed_commands_follow_the_wait_mode_and_cuda_graph_options(trtzoo):
    common = ["bench", "dpn68", "--gpu", "t4", "--batch", "4", "--print-trtexec"]
    lines = trtzoo(*common, "--wait", "block", "--cuda-graph", "both").stdout.splitlines()
    assert [line.split(".times.json")[0].split("=dpn68-fp32-b4-")[1] for line in lines] == [
        *2 * ["trtexec-trtzoo-graph-block"],
        *2 * ["trtexec-trtzoo-plain-block"],
    ]
    assert "--useCudaGraph" in lines[0] and "--useSpinWait" not in "".join(lines)
    assert "--noSpinWait" in lines[1] and "--noCudaGraph --noSpinWait" in lines[3]
    flushed = trtzoo(*common, "--flush-l2").stdout
    assert flushed == "# dpn68-fp32-b4-trtexec-trtzoo-graph-flush: trtexec has no equivalent\n"
