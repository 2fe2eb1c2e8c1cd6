"""`trtzoo build` as a user runs it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import onnx
import pytest

from tests.foreign import deep
from tests.making import tiny, unknown
from trtzoo.artifacts import engines
from trtzoo.core.files import sha256_file
from trtzoo.hardware.probes import run_probes

VERSION = run_probes("tensorrt_rtx")["tensorrt_rtx"].version
T4 = Path("engines/t4") / f"rtx-{VERSION}"
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light/light_squeezenet.onnx"


def error_of(done):
    """stderr without the lines that say what will be built, and of what."""
    lines = [line.rstrip() for line in done.stderr.splitlines() if line.strip()]
    return "\n".join(line for line in lines if "engine for Tesla T4" not in line and not line.startswith("Adopted "))


def test_a_foreign_onnx_file_is_built_and_is_up_to_date_the_second_time(trtzoo, tmp_path):
    mine = sha256_file(tiny(tmp_path / "mine.onnx", dtype="fp16"))[:8]
    done = trtzoo("build", "--onnx", "mine.onnx", "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{T4}/mine-io16-{mine}-fp16-b1.engine  ")
    assert "  layers FP16 100.0%  " in done.stdout
    assert f"1 engine for Tesla T4 (SM75), ahead of time by TensorRT-RTX {VERSION}, 1 at once, about 20 MB" in done.stderr
    again = trtzoo("build", "--onnx", "mine.onnx", "--precision", "fp16")
    assert (again.returncode, again.stdout) == (0, f"{T4}/mine-io16-{mine}-fp16-b1.engine  up to date\n")


def test_the_squeezenet_of_the_onnx_package_is_built(trtzoo):
    done = trtzoo("build", "--onnx", LIGHT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{T4}/light_squeezenet-{sha256_file(LIGHT)[:8]}-fp32-b1.engine  ")


@pytest.mark.parametrize(
    ("make", "options", "sentence"),
    [
        (lambda path: path.write_bytes(b""), (), "bad.onnx cannot be used: it has 0 inputs (none), and a classifier has one."),
        (lambda path: path.write_text("hello"), (), "bad.onnx is not an ONNX file: DecodeError."),
        (lambda path: os.truncate(tiny(path), 300), (), "bad.onnx is not an ONNX file: DecodeError."),
        (
            lambda path: unknown(path, "Relu", "Det", "Unique"),
            (),
            "bad.onnx cannot be used: its output value2 is of unknown shape, not (N, classes).",
        ),
        (lambda path: tiny(path, batch=8), ("--batch", "4"), "bad.onnx takes batches of 8 only. Say --batch 8."),
        (
            lambda path: tiny(path, dtype="fp16"),
            ("--precision", "fp32"),
            "bad.onnx is fp16: it cannot be used as fp32.",
        ),
    ],
    ids=["empty", "text", "truncated", "unknown operations", "fixed batch", "fp32 of fp16"],
)
def test_a_file_that_cannot_be_built_is_refused_in_a_sentence(trtzoo, tmp_path, make, options, sentence):
    make(tmp_path / "bad.onnx")
    done = trtzoo("build", "--onnx", "bad.onnx", *options)
    assert done.returncode in (1, 2) and done.stdout == ""
    assert done.stderr.splitlines()[-1] == f"trtzoo: {sentence}"
    assert not (tmp_path / "engines").exists()


def test_an_operation_that_tensorrt_does_not_know_is_named(trtzoo, tmp_path):
    path = unknown(tmp_path / "bad.onnx", "Relu", "Det")  # (1, 3, 8, 8) → (1, 3)
    name = f"bad-{sha256_file(path)[:8]}-fp32.onnx"
    done = trtzoo("build", "--onnx", "bad.onnx")
    assert (done.returncode, done.stdout) == (1, "")
    assert error_of(done).partition(".engine: ")[2] == (f"TensorRT cannot read {name}: node 1 node1 (Det): unsupported node")
    assert not [path for path in (tmp_path / T4).iterdir() if path.name != ".locks"]


def test_two_files_of_one_name_and_a_file_with_a_models_name_are_built_side_by_side(trtzoo, tmp_path):
    for number, name in enumerate(("a/cnn.onnx", "b/cnn.onnx", "b/densenet121.onnx")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        tiny(tmp_path / name, seed=number)
        done = trtzoo("build", "--onnx", name)
        assert done.returncode == 0, done.stderr
    hashes = [sha256_file(tmp_path / name)[:8] for name in ("a/cnn.onnx", "b/cnn.onnx", "b/densenet121.onnx")]
    names = [f"{stem}-{digits}-fp32-b1.engine" for stem, digits in zip(("cnn", "cnn", "densenet121"), hashes, strict=True)]
    assert sorted(path.name for path in (tmp_path / T4).glob("*.engine")) == sorted(names)


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--gpu", "t5"), 2, "There is no GPU 't5'. Did you mean t4?"),
        (("--flavour", "trt"), 2, "There is no flavour 'trt'. Did you mean rtx?"),
        (("--precision", "fp9"), 2, "There is no precision 'fp9'."),
        (("--batch", "1,,8"), 2, "--batch '1,,8' has an empty item."),
        (("--batch", "0"), 2, "--batch '0': '0' is not a whole number from 1 to 1024."),
        (("densenet12",), 2, "There is no model 'densenet12'. Did you mean densenet121?"),
        (("dpn68", "--onnx", "x.onnx"), 2, "Give either model names or --onnx FILE, not both."),
        (("--onnx", "x.onnx"), 1, "There is no x.onnx."),
        (("dpn68",), 1, "Nothing is exported: onnx/dpn68-fp32.onnx does not exist. Run: trtzoo export dpn68 --precision fp32"),
        (("--gpu", "v100"), 3, f"TensorRT-RTX {VERSION} cannot build for Tesla V100 (SM70): TensorRT-RTX starts at Turing"),
        (("--gpu", "h100"), 3, f"TensorRT-RTX {VERSION} cannot build for H100 (SM90): TensorRT-RTX has no data-centre Hopper"),
        (("--precision", "tf32", "--gpu", "t4"), 2, "Tesla T4 (SM75) has no TF32; it came with SM80. Say --precision fp32"),
    ],
)
def test_an_impossible_command_is_one_sentence_and_its_exit_code(trtzoo, options, code, sentence):
    done = trtzoo("build", *options)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith(f"trtzoo: {sentence}")


def start(folder, *options):
    command = [sys.executable, "-m", "trtzoo.cli", "build", "--onnx", "mine.onnx", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def wait_for_a_build(folder):
    deadline = time.monotonic() + 60
    while not list((folder / "engines").rglob(".*.tmp-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)


def whole(folder):
    """The engines in a folder, each of which is whole or is seen not to be: (taken as good, not)."""
    found = list((folder / T4).glob("*.engine"))
    good = [path for path in found if (about := engines.read_sidecar_unchecked(path)) and engines.is_intact(path, about)]
    for path in set(found) - set(good):
        with pytest.raises(engines.StoreError):
            engines.load_plan(path, flavour="rtx", version=VERSION, sm=75, device="Tesla T4", memory=16 << 30)
    for path in good:
        assert engines.load_plan(path, flavour="rtx", version=VERSION, sm=75, device="Tesla T4", memory=16 << 30)
    return good


def test_a_build_killed_at_any_point_leaves_no_engine_that_passes_for_complete(trtzoo, tmp_path):
    tiny(tmp_path / "mine.onnx")
    random.seed(0)
    for _ in range(12):
        process = start(tmp_path, "--batch", "1,2", "--force")
        time.sleep(random.uniform(0.2, 2.0))
        process.kill()
        process.communicate()
        whole(tmp_path)
    done = trtzoo("build", "--onnx", "mine.onnx", "--batch", "1,2")
    assert done.returncode == 0, done.stderr
    assert len(whole(tmp_path)) == 2


def test_a_killed_builder_s_children_end_too(tmp_path):
    deep(tmp_path / "mine.onnx", 300)  # seconds to build
    process = start(tmp_path)
    wait_for_a_build(tmp_path)
    pids = [path for path in Path("/proc").glob("[0-9]*") if _parent(path) == process.pid]
    process.kill()
    process.communicate()
    assert pids
    deadline = time.monotonic() + 20
    while any(path.exists() for path in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(path.exists() for path in pids)
    assert not whole(tmp_path)


def _parent(process):
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def test_ctrl_c_cancels_the_build_and_keeps_finished_engines(tmp_path):
    deep(tmp_path / "mine.onnx", 300)
    process = start(tmp_path)
    wait_for_a_build(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the children get it, too
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert b"Traceback" not in err
    assert not list((tmp_path / "engines").rglob(".*.tmp-*"))
    whole(tmp_path)


def test_two_commands_for_one_engine_build_it_once(tmp_path):
    tiny(tmp_path / "mine.onnx")
    both = [start(tmp_path, "--batch", "1,2") for _ in range(2)]
    printed = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], printed
    lines = b"".join(out for out, _ in printed).decode().splitlines()
    assert sorted(line.partition("-b")[2].split()[0] for line in lines) == ["1.engine", "1.engine", "2.engine", "2.engine"]
    assert sum(line.endswith("up to date") for line in lines) == 2
