"""ONNX Runtime's GPU providers, by doubles: a runtime that cannot load them, and libraries that only pip's packages have."""

import platform
import subprocess
import sys

import onnxruntime
import pytest

from trtzoo.hardware import probes
from trtzoo.hardware.onnx_providers import provider_problem

RUNTIME = """
import os
__version__ = "1.31.1"
LOADED = []
def get_available_providers():
    return ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
def preload_dlls():
    LOADED.append("CUDA")
class InferenceSession:
    def __init__(self, network, providers):
        assert LOADED, "the libraries of CUDA are loaded first"
        if providers == ["TensorrtExecutionProvider"]:
            os.write(2, b"[E:onnxruntime] FAIL: library x.so with error: libnvinfer.so.10: cannot open\\n\\x1b[m\\n")
        elif "ORT_RAISES" in os.environ:
            raise RuntimeError("CUDA failure 35: driver too old")
        self.found = providers if providers == ["CUDAExecutionProvider"] else ["CPUExecutionProvider"]
    def get_providers(self):
        return self.found
"""


@pytest.fixture
def runtime(tmp_path, monkeypatch):
    """A package `onnxruntime` as of a GPU build, whose TensorRT provider does not find its libraries."""
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    (tmp_path / "onnxruntime" / "__init__.py").write_text(RUNTIME)
    (tmp_path / "onnxruntime" / "capi" / "__init__.py").touch()
    (tmp_path / "onnxruntime" / "capi" / "build_and_package_info.py").write_text("cuda_version = '13.0'")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")


def test_providers_are_judged_by_loading_and_not_by_the_list_that_was_compiled_in(runtime):
    answer = probes.run_probes("onnxruntime")["onnxruntime"]
    assert (answer.version, answer.cuda) == ("1.31.1", "13.0")
    assert answer.features == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert answer.unusable == {"TensorrtExecutionProvider": "libnvinfer.so.10: cannot open"}


def test_a_provider_that_raises_has_the_error_as_the_reason(runtime, monkeypatch):
    monkeypatch.setenv("ORT_RAISES", "1")
    answer = probes.run_probes("onnxruntime")["onnxruntime"]
    assert answer.unusable["CUDAExecutionProvider"] == "CUDA failure 35: driver too old"


def test_the_real_onnx_runtime_opens_the_network_that_is_tried():
    assert provider_problem(onnxruntime, "CPUExecutionProvider") == ""


LOADER = """
import ctypes, sys, types
from trtzoo.hardware.onnx_providers import CUDA, TENSORRT, load_libraries
load_libraries(types.SimpleNamespace(), {"cuda": CUDA, "tensorrt": TENSORRT}[sys.argv[1]])
ctypes.CDLL(sys.argv[2])
"""


def test_tensorrt_from_pip_is_loaded_for_the_provider_that_needs_it_by_name(tmp_path, monkeypatch):
    """The library is in the package's folder, which the system's loader does not search."""
    package = tmp_path / "tensorrt"
    package.mkdir()
    (package / "infer.c").write_text("int nvinfer(void) { return 10; }")
    (tmp_path / "provider.c").write_text("int nvinfer(void);\nint provider(void) { return nvinfer(); }")
    library, provider = package / "libnvinfer.so.10", tmp_path / "provider.so"
    build = ["gcc", "-shared", "-fPIC"]
    subprocess.run([*build, "-Wl,-soname,libnvinfer.so.10", "-o", library, package / "infer.c"], check=True)
    subprocess.run([*build, "-o", provider, tmp_path / "provider.c", library], check=True)
    (package / "__init__.py").write_text(f"import ctypes\nctypes.CDLL({str(library)!r})")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    done = [
        subprocess.run([sys.executable, "-c", LOADER, name, provider], capture_output=True, text=True, check=False)
        for name in ("cuda", "tensorrt")
    ]
    assert "libnvinfer.so.10: cannot open shared object file" in done[0].stderr
    assert (done[1].returncode, done[1].stderr) == (0, "")


@pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="TensorRT-RTX has no wheel for this platform"
)
def test_the_cuda_of_a_wheel_is_part_of_its_name():
    assert probes.run_probes("tensorrt_rtx")["tensorrt_rtx"].cuda == "12"
