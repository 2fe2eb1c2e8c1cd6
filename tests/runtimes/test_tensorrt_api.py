"""The double of TensorRT's runtime against the real bindings' names, TensorRT 8.6 to 11 and TensorRT-RTX, without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.builder.bindings import ENVIRONMENT, VERSIONS, bindings, python_path, stubs
from tests.cuda import install
from tests.cuda.emulated import DOUBLE

__all__ = ["bindings", "stubs"]
CONTRACT = Path(__file__).with_name("trt_contract.py")


@pytest.mark.network
@pytest.mark.parametrize("version", [*VERSIONS, "rtx"])
def test_the_double_has_nothing_that_the_real_bindings_lack(version, request):
    libraries, env = [str(install.install().driver)], ENVIRONMENT | {"PYTHONWARNINGS": "ignore"}
    env["TRTZOO_EMULATED_TENSORRT"] = "" if version == "rtx" else version
    if version != "rtx":
        libraries.append(str(request.getfixturevalue("stubs")))
        env["PYTHONPATH"] = python_path(request.getfixturevalue("bindings")(version))
    env["LD_LIBRARY_PATH"] = os.pathsep.join(libraries)
    module = "tensorrt_rtx" if version == "rtx" else "tensorrt"
    done = subprocess.run([sys.executable, CONTRACT, module, DOUBLE], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["wrong"] == []
    assert {"Runtime", "ICudaEngine", "IExecutionContext"} <= set(found["compared"])
    assert found["runtime_cache"] == (version == "rtx")
