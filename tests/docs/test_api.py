"""The examples of docs/api.md run as they are written."""

import os
import re
import subprocess
import sys

from tests.docs.examples import ROOT


def test_the_examples_export_measure_and_read(tmp_path, known_peak):
    examples = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "api.md").read_text(), re.DOTALL)
    printed = [run(example, tmp_path) for example in examples]
    assert re.fullmatch(r"onnx/dpn68-fp32.onnx ok\ndpn68 1 \d+ samples\n", printed[0])
    assert re.fullmatch(r"dpn68-fp32-b1-(onnxruntime|openvino)-trial 0\.\d+\n", printed[1])


def run(example, folder):
    """The stdout of an example, run in a process of its own."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    child = [sys.executable, "-c", example]
    return subprocess.run(child, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=240).stdout
