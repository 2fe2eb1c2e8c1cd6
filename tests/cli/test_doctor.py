"""`trtzoo doctor` on the machine that runs the tests."""

import json


def test_the_report_describes_this_machine(trtzoo):
    done = trtzoo("doctor")
    assert done.returncode == 0, done.stderr
    assert "export                  yes  the ten networks to ONNX, checked" in done.stdout


def test_the_json_report_has_the_same_fields(trtzoo):
    report = json.loads(trtzoo("doctor", "--format", "json").stdout)
    assert report["schema"] == 1
    assert set(report["found"]) == {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "pycuda"}
    assert {row["name"]: row["can"] for row in report["abilities"]}["export"]


def test_an_unknown_format_is_a_usage_error(trtzoo):
    done = trtzoo("doctor", "--format", "xml")
    assert (done.returncode, done.stderr) == (2, "trtzoo: There is no format 'xml'. Known: text, json.\n")
