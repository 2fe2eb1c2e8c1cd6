"""`trtzoo doctor` on the machine that runs the tests."""

import json
import resource
from importlib.metadata import version


def test_the_report_describes_this_machine(trtzoo):
    done = trtzoo("doctor")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"trtzoo                  {version('trtzoo')}\n")
    assert "export                  yes  the ten networks to ONNX, checked" in done.stdout
    assert f"openvino                {version('openvino')}" in done.stdout


def test_the_sizes_of_the_cache_and_of_the_folders_here_are_shown(trtzoo, tmp_path):
    for path in ("cache/paddle/a.pdparams", "onnx/.locks/b", "onnx/c.onnx"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(bytes(2_000_000))
    (tmp_path / "onnx" / "link").symlink_to("c.onnx")
    *_, cache, where, onnx, engines, _ = trtzoo("doctor").stdout.splitlines()
    # the other two are the processor's peak and its lock
    assert (cache, where) == ("cache                   2 MB in 3 files", f"  {tmp_path}/cache")
    assert onnx == "onnx                    4 MB in 3 files"
    assert engines == "engines                 0 kB in 0 files"


def test_a_narrow_output_is_wrapped_and_nothing_is_cut(trtzoo):
    shown = trtzoo("doctor", env={"COLUMNS": "80", "TRTZOO_CACHE": "cache"}).stdout
    assert max(map(len, shown.splitlines())) <= 80 and "…" not in shown
    assert "rtxpro4000" in shown or "TensorRT-RTX is not installed" in shown


def test_the_report_takes_less_than_four_seconds_of_processor_time(trtzoo):
    """Two cores then need less than two seconds. PyTorch's import alone would take more than half of it."""
    times = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert trtzoo("doctor").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 4


def test_the_json_report_has_the_same_fields(trtzoo):
    report = json.loads(trtzoo("doctor", "--format", "json").stdout)
    assert report["schema"] == 1
    names = {"torch", "onnx", "onnxruntime", "openvino", "tensorrt", "tensorrt_rtx", "cuda", "pycuda"}
    assert set(report["found"]) == names and report["trtzoo"] == version("trtzoo")
    assert [row["name"] for row in report["folders"]] == ["cache", "onnx", "engines", "benchmarks"]
    assert {row["name"]: row["can"] for row in report["abilities"]}["export"]


def test_an_unknown_format_is_a_usage_error(trtzoo):
    done = trtzoo("doctor", "--format", "xml")
    assert (done.returncode, done.stderr) == (2, "trtzoo: There is no format 'xml'. Known: text, json.\n")
