"""`trtzoo clean` as a user runs it."""

import json

import pytest

from tests.benchmark.fakes import fake_job
from trtzoo.core.files import locked


@pytest.fixture
def damaged(tmp_path):
    """A graph that was truncated, and a file of the user's beside it."""
    (tmp_path / "onnx").mkdir()
    fake_job(tmp_path / "onnx", model="dpn68")
    (tmp_path / "onnx" / "dpn68-fp32.onnx").write_bytes(b"")
    (tmp_path / "onnx" / "mine.onnx").write_bytes(b"")
    return tmp_path / "onnx"


def test_nothing_is_deleted_without_the_option(trtzoo, damaged):
    done = trtzoo("clean")
    assert (done.returncode, done.stdout) == (
        0,
        "damaged     3 kB  onnx/dpn68-fp32.onnx  it is not the file that its sidecar describes\n",
    )
    assert done.stderr == "3 kB in all. To delete it: trtzoo clean --delete\n"
    assert len(list(damaged.iterdir())) == 4
    assert trtzoo("clean", "--verify").returncode == 1


def test_deletion_leaves_other_files_and_a_second_one_has_nothing_to_do(trtzoo, damaged):
    done = trtzoo("clean", "--delete", "--format", "json")
    report = json.loads(done.stdout)
    assert (done.returncode, done.stderr, report["schema"]) == (0, "", 1)
    (item,) = report["items"]
    assert item["deleted"] and sorted(item["paths"]) == [f"onnx/dpn68-fp32.{suffix}" for suffix in ("json", "npz", "onnx")]
    assert sorted(path.name for path in damaged.iterdir()) == [".locks", "mine.onnx"]
    again = trtzoo("clean", "--delete")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "There is nothing to delete.\n")


def test_what_another_process_writes_is_not_listed(trtzoo, damaged):
    with locked(damaged / "dpn68-fp32.onnx"):
        assert trtzoo("clean", "--delete").stdout == ""
