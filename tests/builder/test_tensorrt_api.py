"""The builder's code against the names of the real bindings, TensorRT 8.6 to 11 and TensorRT-RTX, without a GPU.

The bindings come from the package index and load over stub libraries, so TensorRT itself does not run. The tests show that
each version has every name, flag and argument that the code uses, and that the code makes the right calls for each version.
"""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from tests.builder.bindings import ENVIRONMENT, VERSIONS, bindings, python_path, stubs
from tests.builder.jobs import JOB, RECIPE
from tests.making import tiny

__all__ = ["bindings", "stubs"]

DOUBLE = Path(__file__).with_name("api_double.py")


@pytest.fixture(params=[*(pytest.param(name, marks=pytest.mark.network) for name in VERSIONS), "rtx"])
def version(request):
    return request.param


@pytest.fixture
def drive(version, request, tmp_path):
    """`drive(scripted fields, recipe fields)`: run one build against this version's names and return what it did."""
    env = ENVIRONMENT | {"PYTHONWARNINGS": "ignore"}
    if version != "rtx":
        stubs, folder = request.getfixturevalue("stubs"), request.getfixturevalue("bindings")(version)
        env |= {"LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": python_path(folder)}
    module = "tensorrt_rtx" if version == "rtx" else "tensorrt"

    def run(scripted=None, *, opens=True, timing_cache="", layers="", graph="", **recipe):
        fields = {"precision": "fp16", "batch": 4, "flavour": "rtx" if version == "rtx" else "tensorrt"} | recipe
        tiny(tmp_path / "net.onnx", dtype=graph or fields["precision"].replace("tf32", "fp32"))
        job = replace(
            JOB,
            onnx=str(tmp_path / "net.onnx"),
            layers=layers,
            recipe=replace(RECIPE, **fields),
            engine=str(tmp_path / "net.engine"),
            visible="0" if opens else "",
            timing_cache=timing_cache,
        )
        command = [sys.executable, DOUBLE, module, msgspec.json.encode(job), json.dumps(scripted or {})]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert not done.returncode, done.stderr[-3000:]
        return json.loads(done.stdout)

    return run


def test_an_fp16_graph_is_built_with_the_flags_that_this_version_has(drive, version):
    did = drive(timing_cache="")
    wanted = {
        "8.6.1": [
            "network 1",
            "clear_flag TF32",
            "set_flag FP16",
            "set_flag OBEY_PRECISION_CONSTRAINTS",
            "precision HALF",
            "output 0 HALF",
        ],
        "10.0.1": ["network 3", "clear_flag TF32", "monitored"],
        "10.13.2": ["network 3", "clear_flag TF32", "monitored"],
        "11.4.0": ["network 1", "clear_flag TF32", "monitored"],
        "rtx": ["network 1", "capability SM75", "clear_flag TF32", "monitored"],
    }
    assert did["flags"] == wanted[version]
    assert did["outcome"]["sha256"] == hashlib.sha256(b"a plan").hexdigest()


def test_every_name_of_a_detailed_build_with_a_timing_cache_exists(drive, tmp_path):
    did = drive(detailed=True, timing_cache=str(tmp_path / "timing.cache"))
    assert did["outcome"]["layers"] == {"source": "inspector", "types": {"FP16": 1}, "compute": {"FP16": 1}}
    assert (tmp_path / "timing.cache").read_bytes() == b"timings"
    again = drive(detailed=True, timing_cache=str(tmp_path / "timing.cache"))
    assert "ITimingCache.combine" in again["touched"]


def test_tf32_is_on_only_for_precision_tf32(drive):
    assert "set_flag TF32" in drive({"dtype": "FLOAT"}, precision="tf32", tf32=True, opens=False)["flags"]
    assert "clear_flag TF32" in drive({"dtype": "FLOAT"}, precision="fp32", opens=False)["flags"]


def test_the_batch_is_fixed_in_the_network(drive):
    (images,) = drive()["outcome"]["inputs"]
    assert images == {"name": "images", "dtype": "HALF", "shape": [4, 3, 8, 8]}


def test_a_parser_error_names_its_node(drive, version):
    node = "node 3" if version == "8.6.1" else "node 3 head (Gelu)"
    error = drive({"parses": False})["outcome"]["error"]
    assert error == f"TensorRT cannot read net.onnx: {node}: unsupported node: no such thing"


def test_an_fp16_engine_of_fp32_layers_is_a_failure(drive):
    error = drive({"dtype": "FLOAT"}, graph="fp32")["outcome"]["error"]
    assert error.startswith("net.onnx is not fp16: its layers compute in 1 FP32 (from the network). ")


def test_tensorrt_8_says_float_of_every_tensor_before_the_build_and_its_engine_is_judged(drive, version):
    did = drive({"dtype": "FLOAT"})
    if version != "8.6.1":  # typed networks have their types before the build
        assert did["outcome"]["error"].startswith("net.onnx is not fp16: its layers compute in 1 FP32 (from the network). ")
        return
    assert did["outcome"]["layers"] == {"source": "inspector", "types": {"FP16": 1}, "compute": {"FP16": 1}}
    error = drive({"dtype": "FLOAT", "inside": ["FP16", "FP32"]})["outcome"]["error"]
    assert error.startswith("net.onnx is not fp16: its layers compute in 1 FP16, 1 FP32 (from the inspector). ")


def test_a_builder_option_is_set_where_this_version_has_it(drive, version):
    did = drive(options={"opt_level": 5, "timing_iterations": 8, "aux_streams": 0})
    assert [flag for flag in did["flags"] if flag.split()[0].startswith(("builder_", "avg_", "max_"))] == [
        "builder_optimization_level 5",
        "avg_timing_iterations 8",
        "max_aux_streams 0",
    ]
    tiled = drive(options={"tiling": 2})
    if version in ("8.6.1", "10.0.1"):
        assert tiled["outcome"]["error"] == f"TensorRT {version} has no tiling_optimization_level. Leave out --tiling"
    else:
        assert "tiling_optimization_level MODERATE" in tiled["flags"]


def test_the_inspector_s_json_is_written_as_tensorrt_gives_it(drive, tmp_path):
    drive(detailed=True, layers=str(tmp_path / "net.layers.json"))
    (layer,) = json.loads((tmp_path / "net.layers.json").read_text())["Layers"]
    assert layer["LayerType"] == "CaskConvolution"


def test_a_builder_that_does_not_start_is_an_error_with_a_sentence(drive):
    assert drive({"mute": True})["outcome"]["error"] == "TensorRT does not start. TensorRT gives no reason."


def test_a_failure_has_tensorrts_own_message(drive):
    parsing, building = drive({"parses": False, "errors": 0}), drive({"plan": False})
    assert parsing["outcome"]["error"] == "TensorRT cannot read net.onnx: TensorRT reports: out of luck"
    assert building["outcome"]["error"] == "the build failed. TensorRT reports: out of luck"


def test_a_timing_cache_of_another_gpu_is_replaced(drive, tmp_path):
    (tmp_path / "timing.cache").write_bytes(b"of another GPU")
    did = drive({"fits": False}, timing_cache=str(tmp_path / "timing.cache"))
    assert did["flags"].count("cache refused") == 1
    assert "error" not in did["outcome"]
