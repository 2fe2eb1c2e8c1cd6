"""Sides of a comparison: files, folders, git revisions and lists of them; a file that is not a result is skipped and named."""

import contextlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.runs import run
from trtzoo.core.errors import StoreError, TrtzooError, UsageError
from trtzoo.core.files import encode
from trtzoo.report.compare import sides
from trtzoo.report.compare.sides import read_side


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """results/a-cpu-2c/ with two results, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    save("results/a-cpu-2c/one.json", run())
    save("results/a-cpu-2c/four.json", run(batch=4))
    return tmp_path


def save(name, result):
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(result) if not isinstance(result, bytes) else result)


@pytest.fixture
def repository(folder):
    """The results, committed; in the work tree they are then changed."""
    git("init", "-q")
    commit()
    save("results/a-cpu-2c/one.json", run(0.5, at=9000))


def commit():
    git("add", "-A")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "results")


def git(*words):
    subprocess.run(["git", *words], check=True, capture_output=True)


def batches(side):
    return [run.case.batch for run in side[0]]


@pytest.mark.parametrize(
    "text", ["results", "results/a-cpu-2c", "results/", "results/a-cpu-2c/one.json,results/a-cpu-2c/four.json"]
)
def test_a_folder_of_devices_a_device_and_a_list_of_files_are_the_same_runs(text):
    assert sorted(batches(read_side(text))) == [1, 4]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("text", ["results", "results/a-cpu-2c", "HEAD:results"])
def test_further_runs_of_a_case_are_read_with_the_first(text):
    save("results/a-cpu-2c/runs/one.2.json", run(at=900))
    save("results/a-cpu-2c/runs/deeper/one.3.json", run(at=1800))
    commit()
    assert sorted(batches(read_side(text))) == [1, 1, 4]


def test_a_path_with_a_comma_or_a_colon_is_that_path():
    save("a,b:c/one.json", run())
    assert batches(read_side("a,b:c")) == [1]


def test_damaged_foreign_future_and_copied_files_are_named_and_the_rest_is_read():
    save("results/a-cpu-2c/cut.json", encode(run())[:60])
    save("results/a-cpu-2c/list.json", b"[]")
    save("results/a-cpu-2c/future.json", encode(run()).replace(b'"schema": 1', b'"schema": 9', 1))
    save("results/a-cpu-2c/zcopy.json", run())
    save("results/a-cpu-2c/.half.json", b"{")
    save("results/a-cpu-2c/accuracy/x.json", b"{}")
    side = read_side("results")
    assert sorted(batches(side)) == [1, 4]
    assert [text.split()[0].rpartition("/")[2] for text in side[1]] == [
        "cut.json",
        "future.json",
        "list.json",
        "zcopy.json",
    ]
    assert "is a copy of results/a-cpu-2c/one.json: a run counts once" in side[1][-1]


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize("text", ["HEAD:results", "HEAD:results/", "HEAD:results/a-cpu-2c", "HEAD:./results"])
def test_a_git_revision_is_what_was_committed(text):
    assert {row.case.batch: row for row in read_side(text)[0]} == {1: run(), 4: run(batch=4)}
    assert {row.started for row in read_side("results")[0]} != {row.started for row in read_side(text)[0]}


@pytest.mark.usefixtures("repository")
def test_a_folder_without_results_says_how_to_measure():
    for text in ("HEAD:", "."):
        with pytest.raises(UsageError, match="has no results"):
            read_side(text)


@pytest.mark.usefixtures("repository")
def test_one_committed_file_is_a_side():
    assert read_side("HEAD:results/a-cpu-2c/one.json") == ([run()], [])


@pytest.mark.usefixtures("repository")
def test_names_in_a_repository_are_displayed_and_never_executed(tmp_path):
    save("evil/$(touch hacked)/--output=x.json", run())
    save("evil/-d/\x1b[31m.json", b"{")
    commit()
    side = read_side("HEAD:evil")
    assert batches(side) == [1]
    assert side[1][0].startswith("HEAD:evil/-d/?[31m.json is ")
    assert not (tmp_path / "hacked").exists() and not (tmp_path / "x.json").exists()


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    "text", ["nope:results", "HEAD:nope", "--output=x:results", "-h:x", "HEAD~9:results", "a..b:c", ":x", "@{:x"]
)
def test_a_revision_that_git_does_not_know_is_an_error(text, tmp_path):
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match="There is no"):
        read_side(text)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("repository")
def test_links_and_modules_in_a_repository_are_not_followed():
    Path("results/a-cpu-2c/link.json").symlink_to("/etc/hostname")
    commit()
    assert sorted(batches(read_side("HEAD:results"))) == [1, 4]


def test_without_a_repository_and_without_git_the_sentence_says_so(monkeypatch):
    with pytest.raises(StoreError, match="not a git repository"):
        read_side("HEAD:results")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(StoreError, match="git is not installed"):
        read_side("HEAD:results")


def test_a_missing_path_says_what_to_name():
    with pytest.raises(UsageError, match="There is no old\\. Name a result file, a folder of them, or revision:path"):
        read_side("old")
    with pytest.raises(UsageError, match="There is no name between commas"):
        read_side("results,,results")


def test_a_run_counts_once_however_often_its_file_is_named():
    side = read_side("results,results/a-cpu-2c/one.json")
    assert sorted(batches(side)) == [1, 4]
    assert side[1] == ["results/a-cpu-2c/one.json is a copy of results/a-cpu-2c/one.json: a run counts once."]


def test_a_file_that_cannot_be_read_is_named_and_the_rest_is_read(monkeypatch):
    monkeypatch.setattr(sides, "read_file", lambda path: refuse() if path.name == "one.json" else encode(run(batch=4)))
    side = read_side("results")
    assert batches(side) == [4]
    assert side[1] == ["results/a-cpu-2c/one.json cannot be read: Permission denied."]


def refuse():
    raise PermissionError(13, "Permission denied")


def test_a_list_may_be_longer_than_a_name_can_be(tmp_path):
    names = [f"{'run' * 20}{number}" for number in range(30)]
    for number, name in enumerate(names):
        save(f"{name}/one.json", run(at=100 * number))
    assert len(read_side(",".join(names))[0]) == 30
    with pytest.raises(UsageError, match="There is no xxx"):
        read_side("x" * 5000)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(TrtzooError):
        read_side(f"no-such/{text}")


@pytest.mark.parametrize("text", ["results", "results/a-cpu-2c"])
def test_evaluations_beside_the_results_are_no_complaint(text):
    save("results/a-cpu-2c/accuracy/x.json", b"{}")
    assert read_side(text)[1] == []
