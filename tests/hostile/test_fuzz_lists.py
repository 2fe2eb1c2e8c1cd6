"""Fuzz of what trtexec, an interrupted evaluation and a user write: exports, journals, label lists and class files."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.hostile.mutate import CORPUS, mutate
from tests.photographs import noise
from trtzoo.accuracy.records import Journal
from trtzoo.benchmark.trtexec import read_profile, read_times
from trtzoo.cli.commands import app
from trtzoo.core.decoding import UnreadableError, decode_json
from trtzoo.core.errors import TrtzooError
from trtzoo.core.files import decode
from trtzoo.core.records import Result, is_plain
from trtzoo.images.dataset import read_dataset
from trtzoo.models.table import VARIABLE, use_zoo


@pytest.mark.parametrize(("name", "release"), [("times.json", (10, 13)), ("times-8.4.json", (8, 4))])
def test_the_queries_of_a_damaged_export_are_its_own_or_refused(trials, tmp_path, name, release):
    path = tmp_path / "times.json"
    for trial in trials("fuzz", f"{name}: trtexec's queries", few=150, full=2_800):
        with trial:
            path.write_bytes(mutate(name, trial.random))
            samples = read_times(path, release=release)
            rows = [row for row in json.loads(path.read_bytes()) if "count" not in row]
            if release < (8, 5):
                rows = [row for row in rows if row["startComputeMs"] / 1000 >= 0.2]
            assert len(rows) == len(samples)
            for row, sample in zip(rows, samples, strict=True):
                before, after = ("h2dMs", "d2hMs") if row.get("inMs") is None else ("inMs", "outMs")
                assert sample.compute == row["computeMs"] / 1000 > 0
                assert sample.total == pytest.approx((row[before] + row["computeMs"] + row[after]) / 1000)
                assert all(0 <= part < math.inf for part in (sample.h2d, sample.d2h, sample.enqueue))


def test_the_layers_of_a_damaged_profile_are_its_own_or_refused(trials, tmp_path):
    path = tmp_path / "profile.json"
    for trial in trials("fuzz", "profile.json: trtexec's layers", few=100, full=2_800):
        with trial:
            path.write_bytes(mutate("profile.json", trial.random))
            rows = read_profile(path)
            wanted = [(row["name"], row["averageMs"] / 1000) for row in json.loads(path.read_bytes()) if "count" not in row]
            assert [(row.name, row.seconds) for row in rows] == wanted


RELEASES = ("10.13.2", "11.4", "8.4.3", "8.6rc1", "10rc1", "10", "", ".", "1.-1", "10." + "9" * 5000, "٣.٣", "10.13\n", "v10.1")


def test_an_import_writes_a_result_that_can_be_read_or_nothing(trials, tmp_path):
    times, profile, results = (tmp_path / name for name in ("times.json", "profile.json", "results"))
    for trial in trials("fuzz", "import of trtexec's files", few=30, full=1_000):
        with trial:
            random = trial.random
            times.write_bytes(random.choice((CORPUS["times.json"], mutate("times.json", random))))
            profile.write_bytes(random.choice((CORPUS["profile.json"], mutate("profile.json", random))))
            before = set(results.rglob("*.json"))
            for path in before:
                path.unlink()
            words = ["--model", "dpn131", "--gpu", "t4", "--precision", "fp16", "--batch", "4", "--results", results]
            release = random.choice(RELEASES if random.random() < 0.5 else RELEASES[:2])
            command = ["import", times, *words, "--profile", profile, "--tensorrt", release]
            done = CliRunner().invoke(app, [str(word) for word in command])
            if done.exception and not isinstance(done.exception, SystemExit):
                assert not list(results.rglob("*.json")) or not isinstance(done.exception, TrtzooError)
                raise done.exception
            if done.exit_code == 0:
                (path,) = results.rglob("*.json")
                assert decode(path.read_bytes(), Result, name="x").samples


HEADER = json.loads(CORPUS["evaluation.journal"].splitlines()[0])


def test_a_damaged_journal_is_resumed_with_its_own_outcomes_or_refused(trials, tmp_path):
    path = tmp_path / "x.journal"
    for trial in trials("fuzz", "evaluation.journal", few=200, full=3_600):
        with trial:
            data = mutate("evaluation.journal", trial.random)
            path.write_bytes(data)
            journal = Journal(path, HEADER, resume=True)
            assert not journal.ranks.keys() & journal.bad.keys()
            assert all(0 <= index < HEADER["images"] for index in (*journal.ranks, *journal.bad))
            assert all(0 <= rank <= HEADER["classes"] for rank in journal.ranks.values()) and 0 <= journal.seconds < math.inf
            lines = data.split(b"\n")[1:-1]
            entries = [json.loads(line) for line in lines] if journal.ranks or journal.bad else []
            assert journal.ranks == {index: rank for entry in entries for index, rank in entry.get("ranks", [])}
            again = Journal(path, HEADER, resume=True)
            assert (again.ranks, again.bad, again.seconds) == (journal.ranks, journal.bad, journal.seconds)


def test_only_a_newline_ends_an_entry_of_a_journal(tmp_path):
    path = tmp_path / "x.journal"
    header, entry, *_ = CORPUS["evaluation.journal"].splitlines(keepends=True)
    path.write_bytes(header + entry + entry.replace(b"[0,", b"[4,").replace(b"\n", b"\r\0"))
    journal = Journal(path, HEADER, resume=True)
    assert journal.ranks.keys() == {0, 1}
    assert path.read_bytes() == header + entry


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "data"
    for number, name in enumerate(("a/0.png", "a/1.png", "b 2.png", "c.png")):
        noise(folder / name, seed=number)
    return folder


def test_the_labels_of_a_damaged_list_are_its_own_or_refused(trials, images, tmp_path):
    source = tmp_path / "list.txt"
    for trial in trials("fuzz", "val_list.txt: label list", few=100, full=2_400):
        with trial:
            data = mutate("val_list.txt", trial.random)
            source.write_bytes(data)
            found = read_dataset(images, classes=3, labels=source)
            rows = [line.rsplit(maxsplit=1) for line in data.decode("utf-8-sig").rstrip().split("\n")]
            order = {label: number for number, label in enumerate(sorted({label for _, label in rows}))}
            numbers = any(label.lstrip("+-").isdecimal() for _, label in rows)
            wanted = {(images / name.strip()).resolve(): int(label) if numbers else order[label] for name, label in rows}
            assert {image.path.resolve(): image.label for image in found.photographs} == wanted
            assert found.lists == {"list.txt": found.lists["list.txt"]} and len(found.fingerprint) == 64


def test_the_classes_of_a_damaged_file_are_its_lines_or_refused(trials, tmp_path):
    for number, name in enumerate(("n01440764", "great white shark", "käfer")):
        noise(tmp_path / "data" / name / "x.png", seed=number)
    source = tmp_path / "classes.txt"
    for trial in trials("fuzz", "classes.txt: class file", few=100, full=2_400):
        with trial:
            data = mutate("classes.txt", trial.random)
            source.write_bytes(data)
            found = read_dataset(tmp_path / "data", classes=3, class_file=source)
            lines = [line.strip() for line in data.decode("utf-8-sig").split("\n") if line.strip()]
            for image in found.photographs:
                line = lines[image.label]
                assert image.path.parent.name in (line, line.split()[0])


def test_the_networks_of_a_damaged_zoo_are_its_tables_or_refused(trials, tmp_path, monkeypatch):
    path = tmp_path / "zoo.toml"
    monkeypatch.setenv(VARIABLE, "")
    for trial in trials("fuzz", "zoo.toml: --zoo", few=150, full=2_800):
        with trial:
            path.write_bytes(mutate("zoo.toml", trial.random))
            for name, row in use_zoo(path).items():
                assert row.name == name and is_plain(name) and row.params >= 0 <= row.macs
                assert row.network == "" or is_plain(row.network)
                assert row.file is None or row.file.resolve().is_relative_to(tmp_path.resolve())


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda v: st.lists(v) | st.dictionaries(st.text(), v),
    )
)
def test_any_json_is_read_as_python_reads_it_or_refused(value):
    data = json.dumps(value).encode()
    try:
        assert decode_json(data) == json.loads(data)
    except UnreadableError as error:
        assert str(error)
