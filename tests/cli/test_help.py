"""Help comes at once, and the light commands never load a framework."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "paddle", "matplotlib")

LOOK = """
import sys
from trtzoo.cli import main
sys.argv = ["trtzoo", *{arguments!r}]
try:
    main()
except SystemExit:
    pass
print("\\nheavy:", *sorted(set(sys.modules) & set({heavy!r})))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["parity", "--help"],
        ["export", "--help"],
        ["build", "--help"],
        ["bench", "--help"],
        ["models"],
        ["table"],
        ["audit"],
        ["report"],
        ["bench", "dpn86"],
    ],
    ids=" ".join,
)
def test_no_framework_is_imported_for(arguments, tmp_path):
    code = LOOK.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "heavy:"


COMMANDS = ["export", "build", "bench", "eval", "parity", "table", "figures", "report", "compare", "audit", "models", "doctor"]


@pytest.mark.parametrize("command", [*COMMANDS, "import"])
def test_every_command_has_help_with_an_example(trtzoo, command):
    done = trtzoo(command, "--help")
    assert done.returncode == 0
    assert f"trtzoo {command}" in " ".join(done.stdout.split("Options:")[0].split("Example")[1].split())
