"""Help comes at once, every command has an example, and the light commands never load a framework."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trtzoo.cli.application import MODULES
from trtzoo.cli.commands import app
from trtzoo.cli.lines import BenchLine, EvalLine, FileLine

COMMANDS = sorted(row.name for row in app.registered_commands)
HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "paddle", "matplotlib")

LOOK = """
import sys
from pathlib import Path
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


def test_every_command_is_in_the_module_that_is_loaded_for_it():
    found = {row.name: row.callback.__module__.removeprefix("trtzoo.cli.") for row in app.registered_commands}
    assert found == MODULES


def test_a_light_command_loads_no_other_and_not_numpy():
    code = "import sys; from trtzoo.cli import main; sys.argv = ['trtzoo', 'audit']\ntry:\n    main()\n"
    code += "finally:\n    print(*(name for name in sys.modules if name == 'numpy' or name.startswith('trtzoo.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names = sorted(f"trtzoo.cli.{name}" for name in ("application", "describing", "options"))
    assert sorted(done.stdout.splitlines()[-1].split()) == names


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example_and_fits_eighty_columns(command):
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}, prog_name="trtzoo")
    assert shown.exit_code == 0
    text, _, _ = shown.output.partition("Options:")
    assert f"trtzoo {command}" in " ".join(text.partition("Example")[2].split())
    assert max(map(len, shown.output.splitlines())) <= 80
    assert "…" not in shown.output and "..." not in shown.output.replace("]...", "")


def test_the_list_of_commands_has_the_whole_first_sentence_of_each():
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80", "TERM": "dumb"}, prog_name="trtzoo")
    words = " ".join(shown.output.split())
    assert words.startswith("Usage: trtzoo [OPTIONS] COMMAND [ARGS]...")
    assert "Measure latencies, one process per case, after checking each case's outputs." in words
    assert words.count("...") == 1
    assert "--install-completion" in words and "--quiet" in words


def test_the_exit_codes_are_in_the_help_and_in_the_docs():
    shown = " ".join(CliRunner().invoke(app, ["--help"]).stdout.split())
    table = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    for code in (0, 1, 2, 3, 130):
        assert re.search(rf"[:;] {code} \w+", shown) and f"| {code} | " in table


def test_every_field_of_json_lines_is_in_the_docs():
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    fields = {name for kind in (FileLine, BenchLine, EvalLine) for name in kind.__struct_fields__}
    assert sorted(name for name in fields if f"`{name}`" not in page) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only on Linux may a name have any bytes")
def test_a_name_that_is_not_utf8_and_would_be_recorded_is_refused(trtzoo):
    done = trtzoo("table", "--results", os.fsdecode(b"r\xff"))
    assert done.returncode == 2 and "is not a name in UTF-8, so it cannot be recorded. Rename it." in done.stderr
