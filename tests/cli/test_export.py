"""`trtzoo export` as a user meets it: what it prints, what it refuses, and what is left when it is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.forkserver import Child, CommandLine
from trtzoo.artifacts import golden
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import StoreError
from trtzoo.core.files import read_sidecar, sha256_file

SMALL = ("dpn68", "--weights", "seeded", "--input-size", "32", "--classes", "10")
NAME = "dpn68-fp32-c10-s32"
TRIO = [f"{NAME}.json", f"{NAME}.npz", f"{NAME}.onnx"]


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in (".locks", "cache")) if folder.exists() else []


def whole(folder: Path) -> bool:
    """Whether there is an artifact; StoreError is the other answer. Never a part that passes for the whole."""
    try:
        sidecar = read_sidecar(folder / f"{NAME}.onnx", OnnxSidecar, remedy="trtzoo export")
    except StoreError:
        return False
    assert sha256_file(folder / sidecar.golden) == sidecar.golden_sha256
    assert golden.load(folder / sidecar.golden).logits.shape == (4, 10)
    return True


# --- what is asked wrongly ---


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["densenet12"], "There is no model 'densenet12'. Did you mean densenet121? Known: densenet121, "),
        (["dpn68", "resnet50"], "There is no model 'resnet50'."),
        (["DPN-68"], "There is no model 'DPN-68'. Did you mean dpn68? Known: "),
        (["dpn68", "--all"], "Give either model names or --all, not both."),
        (["--batch", "0"], "--batch '0': '0' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "-1"], "--batch '-1': '-1' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "abc"], "--batch 'abc': 'abc' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "1025"], "--batch '1025': '1025' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "1.5"], "--batch '1.5': '1.5' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "٣"], "--batch '٣': '٣' is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "9" * 5000], "is not a whole number from 1 to 1024. Example: --batch 1,4,8"),
        (["--batch", "1,,8"], "--batch '1,,8' has an empty item. Separate the values by single commas."),
        (["--batch", ""], "--batch '' has an empty item. Separate the values by single commas."),
        (["--batch", "1,4"], "--batch takes one value here, and 2 were given."),
        (["--precision", "fp61"], "There is no precision 'fp61'. Did you mean fp16? Known: fp32, tf32, fp16, bf16, int8, fp8."),
        (["--precision", "fp32,"], "--precision 'fp32,' has an empty item."),
        (["--io", "int8"], "--io 'int8': choose fp32 or fp16."),
        (["--io", "fp16"], "--io fp16 is the input and output of an FP16 graph. Add --precision fp16, or leave it out."),
        (["--opset", "12"], "Invalid value for '--opset'"),
        (["--opset", "26"], "Invalid value for '--opset'"),
        (["--classes", "1"], "Invalid value for '--classes'"),
        (["--input-size", "31"], "Invalid value for '--input-size'"),
        (["--weights", "padle"], "There is no weights source or checkpoint file 'padle'. Did you mean paddle?"),
        (["dpn68", "--weights", "torchvision"], "torchvision publishes no weights of dpn68; it has densenet121, "),
        (["--wieghts", "seeded"], "No such option: --wieghts"),
    ],
)
def test_a_wrong_argument_is_a_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, trtzoo: Run, tmp_path: Path
) -> None:
    done = trtzoo("export", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr
    assert visible(tmp_path) == []


# --- what it says ---


def test_a_model_named_twice_is_exported_once_and_the_result_is_on_stdout(trtzoo: Run, tmp_path: Path) -> None:
    done = trtzoo("export", *SMALL, "DPN68", "dpn68", "--precision", "fp16,fp32,tf32,fp16")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["onnx/dpn68-fp16-c10-s32.onnx", f"onnx/{NAME}.onnx"]
    assert all(" MiB  error " in line for line in lines)
    again = trtzoo("export", *SMALL)
    assert (again.returncode, again.stdout, again.stderr) == (0, f"onnx/{NAME}.onnx  up to date  SEEDED\n", "")


def test_two_exports_in_two_folders_give_the_same_bytes(trtzoo: Run, tmp_path: Path) -> None:
    found = []
    for salt in ("1", "2"):
        folder = tmp_path / f"folder {salt}"
        folder.mkdir()
        environment = {"PYTHONHASHSEED": salt, "OMP_NUM_THREADS": salt}
        assert trtzoo("export", *SMALL, "--precision", "fp32,fp16", cwd=folder, env=environment).returncode == 0
        found.append({path.name: sha256_file(path) for path in sorted((folder / "onnx").glob("*.onnx"))})
    assert found[0] == found[1] and len(found[0]) == 2


def test_folder_and_fixed_batch_are_options(trtzoo: Run, tmp_path: Path) -> None:
    done = trtzoo("export", *SMALL, "--batch", "4", "--onnx-dir", "a/b")
    assert done.returncode == 0, done.stderr
    assert visible(tmp_path / "a" / "b") == [name.replace("fp32", "fp32-b4") for name in TRIO]
    assert json.loads((tmp_path / "a" / "b" / f"{NAME.replace('fp32', 'fp32-b4')}.json").read_text())["batch"] == 4


# --- what goes wrong ---


def test_an_invalid_file_of_weights_is_a_sentence_and_exit_code_1(trtzoo: Run, tmp_path: Path) -> None:
    (tmp_path / "w.pdparams").write_bytes(b"cos\nsystem\n(S'touch canary'\ntR.")
    done = trtzoo("export", "dpn68", "--weights", "w.pdparams")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "onnx/dpn68-fp32.onnx: w.pdparams: it is not a weights file: it asks for os.system. None of its code was run.\n"
    )
    assert visible(tmp_path) == ["onnx", "w.pdparams"] and visible(tmp_path / "onnx") == []


def test_a_folder_that_cannot_be_written_is_one_sentence(trtzoo: Run, tmp_path: Path) -> None:
    (tmp_path / "onnx").write_text("a file where the folder should be")
    done = trtzoo("export", *SMALL)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"onnx/{NAME}.onnx: onnx/{NAME}.onnx could not be written: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("room", [0, 10_000, 1_000_000])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(room: int, tmp_path: Path) -> None:
    """Room for nothing, for the golden sample's first bytes, and for a part of the graph."""
    program = (
        f"import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room})); "
        "from trtzoo.cli import main; sys.argv[0] = 'trtzoo'; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "export", *SMALL], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    sentence = f"onnx/{NAME}.onnx could not be written: File too large. Nothing was changed."
    assert done.stderr == f"onnx/{NAME}.onnx: {sentence}\n"
    assert visible(tmp_path / "onnx") == []


def test_two_simultaneous_exports_of_a_file_leave_one_complete_artifact(command_line: CommandLine, tmp_path: Path) -> None:
    both = [command_line.start("export", *SMALL, cwd=tmp_path) for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(not err or err.startswith("Waiting for onnx/") for _, err in outputs)
    assert sorted("up to date" in out for out, _ in outputs) == [False, True]
    assert visible(tmp_path / "onnx") == TRIO and whole(tmp_path / "onnx")


# --- stopped in the middle ---

KILL = """
import os, signal, sys

def count(event, arguments, seen=[0]):
    made = event in ("open", "os.rename", "os.mkdir", "os.remove", "shutil.rmtree") and not isinstance(arguments[0], int)
    if made and os.path.abspath(arguments[0]).startswith(os.path.join(os.getcwd(), "onnx")):
        seen[0] += 1
        if seen[0] == {step}:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
"""


def test_an_export_killed_before_any_file_operation_leaves_no_partial_artifact(trtzoo: Run, tmp_path: Path) -> None:
    """The real command kills itself before its n-th operation on a file of onnx/; the next run makes all whole."""
    onnx, code, step, answers = tmp_path / "onnx", -signal.SIGKILL, 1, set()
    assert trtzoo("export", *SMALL).returncode == 0
    first = sha256_file(onnx / f"{NAME}.onnx")
    while code == -signal.SIGKILL and step < 90:
        code = trtzoo("export", *SMALL, "--force", before=KILL.replace("{step}", str(step))).returncode
        answers.add(whole(onnx))
        step += 5
    assert code == 0 and step > 9 and True in answers
    assert trtzoo("export", *SMALL).returncode == 0
    assert visible(onnx) == TRIO and whole(onnx) and sha256_file(onnx / f"{NAME}.onnx") == first


@pytest.mark.parametrize("delay", [0.05, 0.4, 0.8, 1.2])
def test_an_export_killed_at_any_moment_leaves_no_partial_artifact(
    delay: float, command_line: CommandLine, tmp_path: Path
) -> None:
    process = _started(command_line, tmp_path)
    time.sleep(delay)
    process.kill()
    process.communicate()
    onnx = tmp_path / "onnx"
    assert whole(onnx) or not (onnx / f"{NAME}.json").exists()


@pytest.mark.parametrize("delay", [0.0, 0.3, 0.7, 1.1])
def test_ctrl_c_ends_an_export_with_one_sentence_and_no_partial_file(
    delay: float, command_line: CommandLine, tmp_path: Path
) -> None:
    process = _started(command_line, tmp_path)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    if out:  # the export was faster than the signal
        assert process.returncode in (0, 130) and whole(tmp_path / "onnx")
    else:
        assert (process.returncode, err) == (130, "\ntrtzoo: Interrupted.\n")
        assert visible(tmp_path / "onnx") == []


def _started(command_line: CommandLine, folder: Path) -> subprocess.Popen[str] | Child:
    """An export that has begun to write: its lock is there."""
    process = command_line.start("export", *SMALL, cwd=folder)
    while not (folder / "onnx" / ".locks").exists():
        assert process.poll() is None
        time.sleep(0.005)
    return process


def test_a_publisher_without_one_of_the_models_is_refused_before_any_export(trtzoo: Run, tmp_path: Path) -> None:
    done = trtzoo("export", "dpn68", "densenet264", "--weights", "torchvision")
    assert done.returncode == 2
    assert (
        "torchvision publishes no weights of dpn68; it has densenet121, densenet161, densenet169, densenet201." in done.stderr
    )
    assert not (tmp_path / "onnx").exists()
