"""Too little memory is a sentence, wherever in the program it ends."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REFERENCE = Path(__file__).parents[2] / "benchmarks" / "reference"


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
@pytest.mark.parametrize("kilobytes", [150_000, 300_000])
@pytest.mark.parametrize("command", [f"table --results {REFERENCE}", "export dpn68 --weights seeded"])
def test_too_little_memory_is_a_sentence(command, kilobytes, tmp_path):
    script = f"ulimit -v {kilobytes}; exec {sys.executable} -m trtzoo.cli {command}"
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert done.returncode in (0, 1, 3), done
    assert done.returncode == 0 or re.search(r"^trtzoo: .+|error: .+", done.stderr, re.MULTILINE), done
    assert list(tmp_path.rglob("*.onnx")) == []
