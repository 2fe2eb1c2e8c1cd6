"""For people: quiet, no colour where none is wanted, eighty columns, completion."""

import errno
import os
import pty
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.report.results import result
from trtzoo.cli import _explain
from trtzoo.core.files import encode
from trtzoo.core.precisions import PRECISIONS
from trtzoo.hardware.gpus import GPUS
from trtzoo.models.table import MODELS
from trtzoo.report.tables.formats import FORMATS
from trtzoo.runtimes.registry import RUNTIMES

HEAVY = {"torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "pycuda", "paddle", "matplotlib", "altair"}


@pytest.fixture
def measured(tmp_path):
    """One result, and one damaged file beside it."""
    folder = tmp_path / "benchmarks" / "a-cpu-2c"
    folder.mkdir(parents=True)
    (folder / "one.json").write_bytes(encode(result()))
    (folder / "cut.json").write_bytes(encode(result())[:50])


# --- quiet ---


@pytest.mark.parametrize("words", [["--quiet", "table"], ["table", "--quiet"]], ids=" ".join)
def test_quiet_before_or_after_a_command_hides_messages_and_keeps_the_result(trtzoo, words):
    loud, quiet = trtzoo("table", "--format", "csv"), trtzoo(*words, "--format", "csv")
    assert "benchmarks has no results." in loud.stderr
    assert (quiet.stderr, quiet.stdout, quiet.returncode) == ("", loud.stdout, loud.returncode)


def test_quiet_shows_errors(trtzoo):
    done = trtzoo("table", "--quiet", "--format", "xml")
    assert done.returncode == 2
    assert done.stderr == f"trtzoo: There is no format 'xml'. Known: {', '.join(FORMATS)}.\n"


def test_quiet_shows_the_warning_about_seeded_weights_once(trtzoo):
    done = trtzoo("export", "dpn68", "dpn92", "--quiet", "--classes", "10", "--input-size", "32")
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first == (
        "SEEDED WEIGHTS: Could not download the published weights; using seeded ones. Latency is valid, accuracy is not."
    )
    assert second.endswith("(ConnectionError). To fail instead: --weights paddle")


def test_the_version_is_printed(trtzoo):
    assert trtzoo("--version").stdout == f"trtzoo {version('trtzoo')}\n"


def test_after_a_double_dash_quiet_is_a_model_name(trtzoo):
    done = trtzoo("bench", "--", "--quiet")
    assert done.returncode == 2
    assert "There is no model '--quiet'." in done.stderr


def test_quiet_shows_results_on_a_terminal(tmp_path):
    seen = terminal(["bench", "dpn68", "--gpu", "cpu", "--batch", "1", "--print-trtexec", "--quiet"], tmp_path)
    assert "trtexec --onnx=onnx/dpn68-fp32.onnx" in seen


# --- colours and widths ---


def terminal(words, folder, **env):
    """What the program writes to a terminal, stdout and stderr together."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "trtzoo.cli", *words]
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm-256color"} | env
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=variables) as child:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
    os.close(ours)
    assert child.returncode in (0, 1, 2)
    return seen.decode()


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # the other end is closed
        return b""


WORDS = (["models"], ["table"], ["table", "--format", "xml"], ["--help"])


def test_a_terminal_sees_escape_codes(measured, tmp_path):
    assert "\x1b" in terminal(["table"], tmp_path)


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_no_color_and_dumb_terminals_get_no_escape_codes(words, env, measured, tmp_path):
    seen = terminal(words, tmp_path, **env)
    assert seen.strip()
    assert "\x1b" not in seen


@pytest.mark.parametrize("words", [*WORDS, ["doctor"]], ids=" ".join)
def test_output_fits_eighty_columns_uncut(words, measured, tmp_path):
    seen = terminal(words, tmp_path, COLUMNS="80", NO_COLOR="1")
    assert max(map(len, seen.replace("\r", "").splitlines())) <= 80
    assert "…" not in seen


# --- completion ---


def complete(line):
    """What a shell would offer after the line, and what was imported for it."""
    code = """
import sys
from trtzoo.cli import main
try:
    main()
finally:
    print("heavy", *set(sys.modules) & {!r}, file=sys.stderr)
""".replace("{!r}", repr(HEAVY))
    words = line.split(" ")
    asked = {"_TRTZOO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked, check=True)
    assert done.stderr == "heavy\n"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("trtzoo exp", ["export"]),
        ("trtzoo bench ", list(MODELS)),
        ("trtzoo export dpn9", ["dpn92", "dpn98"]),
        ("trtzoo --quiet export dpn92 dpn1", ["dpn107", "dpn131"]),
        ("trtzoo build --precision ", list(PRECISIONS)),
        ("trtzoo bench --precision fp32,", [f"fp32,{name}" for name in PRECISIONS if name != "fp32"]),
        ("trtzoo bench --gpu c", ["cpu"]),
        ("trtzoo bench --runtime o", [name for name in RUNTIMES if name.startswith("o")]),
        ("trtzoo bench --protocol trtzoo,trtexec", ["trtzoo,trtexec10", "trtzoo,trtexec11"]),
        ("trtzoo build --gpu rtx50", ["rtx5080", "rtx5090"]),
        ("trtzoo import --gpu l", [name for name in GPUS if name.startswith("l")]),
        ("trtzoo import --model densenet2", ["densenet201", "densenet264"]),
        ("trtzoo export --weights t", ["torchvision", "timm"]),
    ],
)
def test_a_shell_completes_names_from_our_tables(line, offered):
    assert complete(line) == offered


def test_a_full_disk_behind_stdout_is_reported_once(measured):
    with Path("/dev/full").open("w") as full:
        done = _run("models", stdout=full)
    assert (done.returncode, done.stderr) == (1, "trtzoo: The output could not be written: No space left on device.\n")


def test_an_encoding_without_a_character_gets_the_rest(measured):
    done = _run("models", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and "densenet121" in done.stdout


def test_a_closed_stdout_is_no_error(measured):
    command = f"{sys.executable} -m trtzoo.cli models >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def _run(*words, stdout=subprocess.PIPE, **env):
    command = [sys.executable, "-m", "trtzoo.cli", *words]
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, env=os.environ | {"NO_COLOR": "1"} | env
    )


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        (MemoryError(), ("This process may not use more memory, or no more threads.", 3)),
        (RuntimeError("can't start new thread"), ("This process may not use more memory, or no more threads.", 3)),
        (ModuleNotFoundError("No module", name="torch"), ("torch is not installed. Run: trtzoo setup", 3)),
        (ImportError("no space for libtorch.so", name="torch"), ("torch cannot be loaded: no space for libtorch.so", 3)),
        (OSError(errno.EMFILE, "Too many open files", "/dev/null"), ("/dev/null: Too many open files.", 1)),
        (OSError(errno.EAGAIN, "No process left"), ("No process left.", 1)),
        (ImportError("a mistake of ours", name="trtzoo.core"), None),
        (ValueError("a mistake of ours"), None),
    ],
)
def test_what_the_machine_refuses_is_a_sentence_and_a_mistake_of_ours_is_not(error, explained):
    assert _explain(error) == explained
