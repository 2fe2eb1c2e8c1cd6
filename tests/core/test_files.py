"""Atomic writes: killed at every step, on a full disk, by several writers at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from trtzoo.accuracy.records import Evaluation
from trtzoo.artifacts.engines import EngineSidecar
from trtzoo.artifacts.graphs import OnnxSidecar
from trtzoo.core.errors import StoreError
from trtzoo.core.files import (
    cached_record,
    decode,
    encode,
    locked,
    read_file,
    read_sidecar,
    replacing,
    sha256_file,
    sidecar_path,
    write_record,
)
from trtzoo.core.records import SCHEMA, Record, Result


class Made(Record, frozen=True, kw_only=True):
    schema: int = SCHEMA
    sha256: str
    note: str = ""


WRITER = """
import os, signal, sys
from pathlib import Path
from trtzoo.core.records import SCHEMA, Record
from trtzoo.core.files import encode, replacing, sha256_file, sidecar_path

class Made(Record, frozen=True, kw_only=True):
    schema: int = SCHEMA
    sha256: str
    note: str = ""

def write(artifact: Path, content: bytes) -> None:
    with replacing(artifact) as work:
        fresh = work / artifact.name
        fresh.write_bytes(content)
        (work / "extra.npz").write_bytes(content)
        sidecar_path(fresh).write_bytes(encode(Made(sha256=sha256_file(fresh), note="new")))
"""


def write(artifact: Path, content: bytes, note: str = "") -> None:
    with replacing(artifact) as work:
        fresh = work / artifact.name
        fresh.write_bytes(content)
        sidecar_path(fresh).write_bytes(encode(Made(sha256=sha256_file(fresh), note=note)))


def python(program: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER + program, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".locks")


def test_an_artifact_comes_back_with_its_sidecar(tmp_path: Path) -> None:
    artifact = tmp_path / "new" / "folder" / "a.onnx"
    write(artifact, b"content", note="é")
    assert read_sidecar(artifact, Made, remedy="") == Made(sha256=sha256_file(artifact), note="é")
    assert visible(artifact.parent) == ["a.json", "a.onnx"]


def test_an_error_while_writing_changes_nothing(tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    write(artifact, b"old")
    with pytest.raises(KeyError), replacing(artifact) as work:
        (work / "a.onnx").write_bytes(b"new")
        raise KeyError
    assert visible(tmp_path) == ["a.json", "a.onnx"]
    assert artifact.read_bytes() == b"old"
    assert read_sidecar(artifact, Made, remedy="")


KILL = """
KINDS = ("open", "os.", "shutil.", "tempfile.")
seen = 0

def count(event, arguments):
    global seen
    if event.startswith(KINDS) and armed:
        seen += 1
        if seen == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

armed = False
sys.addaudithook(count)
armed = True
write(Path(sys.argv[1]), b"new" * 1000)
"""


def test_a_write_killed_before_any_step_is_never_taken_for_whole(tmp_path: Path) -> None:
    """The child kills itself with SIGKILL before its n-th file operation, for every n until it finishes."""
    artifact, outcomes = tmp_path / "a.onnx", []
    for step in range(1, 200):
        write(artifact, b"old" * 1000, note="old")
        child = python(KILL, artifact, step)
        child.communicate(timeout=60)
        try:
            found = read_sidecar(artifact, Made, remedy="trtzoo export a").note
            assert artifact.read_bytes() == found.encode() * 1000
        except StoreError as error:
            found = str(error)
            assert found == (
                f"{artifact} is not the file that a.json describes: it was changed or truncated. Run: trtzoo export a"
            )
        outcomes.append(found if found in ("old", "new") else "detected")
        write(artifact, b"next")
        assert visible(tmp_path) in (["a.json", "a.onnx"], ["a.json", "a.onnx", "extra.npz"])
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    assert child.returncode == 0 and step > 10
    assert set(outcomes) == {"old", "detected", "new"}  # between two renames, the hash does not match


def test_a_long_write_killed_at_any_moment_is_never_taken_for_whole(tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    program = "for n in range(10**9): write(Path(sys.argv[1]), bytes([n % 256]) * (8 << 20)); print(n, flush=True)"
    for delay in (0.0, 0.003, 0.007, 0.011, 0.017, 0.023):
        child = python(program, artifact)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.communicate()
        try:
            read_sidecar(artifact, Made, remedy="")
            assert len(set(artifact.read_bytes())) == 1
        except StoreError as error:
            assert "it was changed or truncated" in str(error)
    write(artifact, b"next")
    assert visible(tmp_path) == ["a.json", "a.onnx", "extra.npz"]


def test_a_full_disk_is_reported_and_changes_nothing(tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    write(artifact, b"old")
    program = """
import resource
from trtzoo.core.errors import StoreError
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
try:
    write(Path(sys.argv[1]), bytes(10_000))
except StoreError as error:
    print(error)
"""
    out, err = python(program, artifact).communicate(timeout=60)
    assert (out, err) == (f"{artifact} could not be written: File too large. Nothing was changed.\n", "")
    assert artifact.read_bytes() == b"old"
    assert visible(tmp_path) == ["a.json", "a.onnx"]


def test_a_folder_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    artifact = tmp_path / "file" / "a.onnx"
    with pytest.raises(StoreError, match=re.escape(f"{artifact} could not be written: ")):
        write(artifact, b"")


def test_a_folder_in_the_artifact_s_place_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").mkdir()
    with pytest.raises(StoreError, match=r"could not be written: a\.onnx is a folder\. Nothing was changed"):
        write(tmp_path / "a.onnx", b"")
    assert visible(tmp_path) == ["a.onnx"]


def test_many_writers_take_turns_and_one_whole_artifact_is_left(tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    program = "for n in range(30): write(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)"
    writers = [python(program, artifact, letter) for letter in "xyz"]
    assert [writer.communicate(timeout=60)[1] for writer in writers] == ["", "", ""]
    assert read_sidecar(artifact, Made, remedy="")
    assert len(set(artifact.read_bytes())) == 1
    assert visible(tmp_path) == ["a.json", "a.onnx", "extra.npz"]


def test_a_file_that_a_user_named_leaves_nothing_else_in_its_folder(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    for text in ("old", "new"):
        with replacing(page, lock=False) as work:
            (work / page.name).write_text(text)
    assert page.read_text() == "new" and list(page.parent.iterdir()) == [page]


def test_a_dead_holder_frees_the_lock(tmp_path: Path) -> None:
    program = "from trtzoo.core.files import locked\nwith locked(Path(sys.argv[1])): print('held', flush=True); signal.pause()"
    child = python(program, tmp_path / "a.onnx")
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    child.kill()
    child.communicate()
    with locked(tmp_path / "a.onnx"):
        pass


@pytest.mark.parametrize("lost", ["a.onnx", "a.json"])
def test_a_missing_file_is_named_with_the_remedy(lost: str, tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    write(artifact, b"content")
    (tmp_path / lost).unlink()
    with pytest.raises(StoreError) as caught:
        read_sidecar(artifact, Made, remedy="trtzoo export a")
    assert str(caught.value) == f"{tmp_path / lost} is missing. Run: trtzoo export a"


@pytest.mark.parametrize("content", [b"", b"contenT", b"content!", b"conten"])
def test_a_changed_artifact_is_detected(content: bytes, tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    write(artifact, b"content")
    artifact.write_bytes(content)
    with pytest.raises(StoreError) as caught:
        read_sidecar(artifact, Made, remedy="trtzoo export a")
    assert str(caught.value) == (
        f"{artifact} is not the file that a.json describes: it was changed or truncated. Run: trtzoo export a"
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "s.json is damaged: Input data was truncated."),
        ("{", "s.json is damaged: Input data was truncated."),
        ("[]", "s.json is damaged: Expected `object`, got `array`."),
        ("hello", "s.json is damaged: JSON is malformed: invalid character (byte 0)."),
        ("{}", "s.json has schema version missing; this trtzoo reads version 1."),
        ('{"schema": 2, "sha256": ""}', "s.json has schema version 2; this trtzoo reads version 1."),
        ('{"schema": "1", "sha256": ""}', 's.json has schema version "1"; this trtzoo reads version 1.'),
        ('{"schema": 1}', "s.json is damaged: Object missing required field `sha256`."),
        ('{"schema": 1, "sha256": 5}', "s.json is damaged: Expected `str`, got `int` - at `$.sha256`."),
        (b'{"schema": 1, "sha256": "\xff"}', "s.json is damaged: "),
        (b"\xff\xfe", "s.json is damaged: "),
    ],
)
def test_damaged_and_foreign_sidecars_have_different_messages(text: str | bytes, sentence: str) -> None:
    data = text.encode() if isinstance(text, str) else text
    with pytest.raises(StoreError) as caught:
        decode(data, Made, name="s.json")
    assert str(caught.value).startswith(sentence)


def test_a_sidecar_cut_or_changed_anywhere_gives_a_record_or_a_sentence() -> None:
    whole = encode(Made(sha256="0" * 64, note="text"))
    damaged = [whole[:cut] for cut in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :] for at in range(len(whole)) for flip in (1, 0x80, 0xFF)
    ]
    for data in damaged:
        try:
            assert isinstance(decode(data, Made, name="s.json"), Made)
        except StoreError as error:
            assert str(error).startswith("s.json ")


def test_a_sidecar_is_indented_text(tmp_path: Path) -> None:
    write_record(tmp_path / "r.json", Made(sha256="abc", note="é"))
    assert (tmp_path / "r.json").read_text() == '{\n  "schema": 1,\n  "sha256": "abc",\n  "note": "é"\n}\n'
    assert visible(tmp_path) == ["r.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    for name in ("fifo", "zero"):
        with pytest.raises(OSError, match="it is not a regular file"):
            read_file(tmp_path / name)
    assert read_file(tmp_path / "link") == b"text"
    with pytest.raises(OSError, match=r"it has 4 bytes; the limit is 3"):
        read_file(tmp_path / "file", limit=3)


HOSTILE = (b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000, b"1e999", b"-1e999", b'"\xff"', b"null", b'"x"', b"{}", b"")


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value[:8]))
@pytest.mark.parametrize("kind", [Result, Evaluation, OnnxSidecar, EngineSidecar], ids=lambda kind: kind.__name__)
def test_any_json_is_a_record_or_a_sentence(kind, value):
    fields = [field.encode_name for field in msgspec.structs.fields(kind)]
    for data in (value, *(b'{"schema": 1, "%s": %s}' % (name.encode(), value) for name in fields)):
        with pytest.raises(StoreError):
            decode(data, kind, name="a.json")


# --- work folders ---


def stale(folder: Path, name: str, *, age: float = 0.0) -> Path:
    work = folder / f".{name}.tmp-abc"
    work.mkdir(parents=True)
    os.utime(work, (time.time() - age,) * 2)
    return work


def test_a_name_with_wildcards_deletes_no_other_work_folder(tmp_path: Path) -> None:
    other = stale(tmp_path, "qq.onnx")
    write(tmp_path / "q*.onnx", b"content")
    assert other.exists()


def test_work_folders_of_killed_writers_of_any_name_end(tmp_path: Path) -> None:
    dead, running = stale(tmp_path, "report.html", age=7200), stale(tmp_path, "figure.png")
    slow = stale(tmp_path, "slow.engine", age=7200)
    with locked(tmp_path / "slow.engine"), replacing(tmp_path / "page.html", lock=False) as work:
        (work / "page.html").write_bytes(b"page")
    assert (dead.exists(), running.exists(), slow.exists()) == (False, True, True)
    write(tmp_path / "a.onnx", b"content")
    assert not slow.exists()


def test_a_folder_in_an_artifacts_place_changes_nothing(tmp_path: Path) -> None:
    artifact = tmp_path / "a.onnx"
    sidecar_path(artifact).mkdir()
    with pytest.raises(StoreError, match=r"a\.onnx could not be written: a\.json is a folder\. Nothing was changed\.$"):
        write(artifact, b"content")
    assert visible(tmp_path) == ["a.json"]


def test_a_record_in_the_cache_is_made_once_and_again_if_it_is_damaged(tmp_path):
    path, made = tmp_path / "cache" / "a.json", []

    def make():
        made.append(1)
        return Made(sha256="0" * 64)

    assert cached_record(path, Made, make) == cached_record(path, Made, make) == Made(sha256="0" * 64)
    path.write_text("{")
    assert cached_record(path, Made, make) == Made(sha256="0" * 64)
    assert len(made) == 2
