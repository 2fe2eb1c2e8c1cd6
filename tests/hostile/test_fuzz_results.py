"""Fuzz of result files and evaluations: what a user runs on damaged ones shows what is in the file, or says why it does not."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from math import log
from pathlib import Path
from random import Random
from statistics import fmean, median

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.hostile.mutate import CORPUS, NUMBERS, TEXTS, mutate
from trtzoo.accuracy.records import Evaluation, load_evaluations
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.cli.commands import app
from trtzoo.core.errors import TrtzooError
from trtzoo.core.files import decode, encode
from trtzoo.core.records import Result, Sample
from trtzoo.report.compare import cells
from trtzoo.report.compare.sides import read_side
from trtzoo.report.compare.table import table as comparison
from trtzoo.report.explain import explain
from trtzoo.report.figures.pictures import pictures
from trtzoo.report.page.page import page
from trtzoo.report.page.rows import measured
from trtzoo.report.published import all_cells
from trtzoo.report.results import Found, load_files, parse_result
from trtzoo.report.tables import verdicts
from trtzoo.report.tables.accuracy import evaluation_tables
from trtzoo.report.tables.cells import FIELDS, cell_records
from trtzoo.report.tables.formats import FORMATS, records_csv, render
from trtzoo.report.tables.latency import latency_tables, limit_tables
from trtzoo.report.tables.model import Table
from trtzoo.report.verdict import Verdict, load_verdicts

RESULTS = ("result-cpu.json", "result-gpu.json", "result-failed.json")
GOOD = {name: decode(CORPUS[name], Result, name=name) for name in RESULTS}


def parsed(data: bytes) -> Result:
    return parse_result(lambda: data, source="x.json")


def expected(data: bytes) -> float | None:
    """The latency of a result file in seconds, from its JSON by other code; None if it is of another statistic."""
    plain = json.loads(data)
    row = PROTOCOLS[plain["case"]["protocol"]]
    statistic = {"median": median, "mean": fmean}.get(row.statistic)
    if plain.get("failure") or statistic is None:
        return None
    samples = [[*sample, 0.0, 0.0, 0.0] for sample in plain["samples"]]
    metrics: dict[str, Callable[[list[float]], float]] = {
        "end to end": lambda sample: sample[0],
        "compute": lambda sample: sample[1],
        "copies and compute": lambda sample: sample[2] + sample[1] + sample[3],
    }
    return float(statistic([metrics[row.metric](sample) for sample in samples]))


def shown(result: Result) -> float | None:
    """The latency in the tables, in seconds."""
    (text,) = {
        str(row[name])
        for table in json.loads(render(latency_tables([result]), "json"))["tables"]
        for row in table["rows"]
        for name in row
        if row["Model"] == result.case.model
        and name.endswith((f"b{result.case.batch} measured", f" b{result.case.batch}"))
        and "published" not in name
        and row[name] is not None
    } or {None}
    return None if text is None else float(text) / 1000


def check_text(text: str, form: str = "") -> None:
    """No text of a file controls a terminal, or is HTML in Markdown."""
    assert "\x1b" not in text and "\0" not in text
    assert form != "md" or "<" not in text


def checked(tables: list[Table], random: Random) -> str:
    """The tables in one of the formats but rich, which takes longest."""
    form = random.choice(("md", "csv", "latex", "json"))
    text = render(tables, form)
    check_text(text, form)
    return text


def test_the_corpus_is_valid():
    assert all(parsed(CORPUS[name]) == result for name, result in GOOD.items())
    assert shown(GOOD["result-cpu.json"]) == pytest.approx(expected(CORPUS["result-cpu.json"]))
    assert decode(CORPUS["evaluation.json"], Evaluation, name="").top1 == 750
    assert decode(CORPUS["verdict.json"], Verdict, name="").word == "UNCLEAR"


@pytest.mark.parametrize("name", RESULTS)
def test_a_damaged_result_is_refused_or_shown_with_its_own_latency(trials, name):
    for trial in trials("fuzz", f"{name}: tables, --explain, figures' and page's data", few=150, full=5_600):
        with trial:
            data = mutate(name, trial.random)
            result = parsed(data)
            wanted = expected(data)
            assert shown(result) == (None if wanted is None else pytest.approx(wanted, rel=1e-9))
            text = render(
                [*latency_tables([result]), *limit_tables([result])], trial.random.choice(("md", "csv", "latex", "json"))
            )
            check_text(text.replace("&lt;", ""))
            facts = explain(Found(Path("x.json"), result))
            assert facts["Cell"].startswith(result.case.model)
            row = measured(result)
            assert row.seconds == (None if wanted is None else pytest.approx(wanted, rel=1e-9))
            msgspec.json.decode(msgspec.json.encode(row))
            assert len(pictures([result])) == 4
            assert parsed(encode(result)) == result


@pytest.mark.parametrize("name", RESULTS)
def test_a_damaged_result_compares_with_a_good_one_or_is_refused(trials, name):
    for trial in trials("fuzz", f"{name}: compare", few=40, full=1_600):
        with trial:
            damaged = parsed(mutate(name, trial.random))
            sides = [GOOD[name], msgspec.structs.replace(GOOD[name], started="2026-11-02")], [damaged]
            found = cells.compare(*(sides if trial.random.random() < 0.5 else sides[::-1]))
            checked([comparison(found)], trial.random)
            for cell in found.cells:
                assert cell.ratio.low <= cell.ratio.value <= cell.ratio.high


def test_a_damaged_evaluation_is_refused_or_shown_with_its_own_counts(trials):
    for trial in trials("fuzz", "evaluation.json: tables, figures' data", few=300, full=5_600):
        with trial:
            data = mutate("evaluation.json", trial.random)
            record, plain = decode(data, Evaluation, name="x.json"), json.loads(data)
            assert (record.top1, record.images) == (plain["top1"], plain["images"])
            text = render(evaluation_tables([record]), "json")
            for table in json.loads(text)["tables"]:
                (row,) = [row for row in table["rows"] if row["Images"] is not None]
                assert row["Top1 measured"] == pytest.approx(plain["top1"] / plain["images"])
            checked(evaluation_tables([record]), trial.random)
            assert len(pictures([], [record])) == 4
            measured(GOOD["result-cpu.json"], [record])


def test_a_damaged_verdict_is_refused_or_its_numbers_give_the_verdict_that_is_shown(trials):
    for trial in trials("fuzz", "verdict.json: tables, --explain, page's data", few=300, full=5_600):
        with trial:
            data = mutate("verdict.json", trial.random)
            record, plain = decode(data, Verdict, name="x.json"), json.loads(data)
            ratio = record.ratio
            assert 0 < ratio.low <= ratio.value <= ratio.high < float("inf")
            means = [fmean(map(log, [run["seconds"] for run in plain[side]["runs"]])) for side in ("before", "after")]
            assert log(ratio.value) == pytest.approx(means[1] - means[0], abs=1e-6)
            limit = 1 / 1.03
            if record.word == "PAYS":
                assert ratio.high < limit and not record.warning
                assert plain["accuracy"].get("dataset") or record.seeded
            assert ratio.low <= limit or record.warning or record.word == "DOES NOT PAY"
            checked(verdicts.tables([record]), trial.random)
            here = msgspec.structs.replace(GOOD["result-cpu.json"], case=record.case, versions=record.versions)
            here = msgspec.structs.replace(here, artifact_sha256=record.artifact_sha256)
            assert record.word in explain(Found(Path("x.json"), here), [record])["Pays"]
            assert measured(here, [], [record]).verdict.startswith(record.word)
            check_text(render(latency_tables([here], verdicts=[record]), "md").replace("&lt;", ""))
            assert decode(encode(record), Verdict, name="x.json") == record


def folder(path: Path, name: str, data: bytes) -> Path:
    """A folder with one damaged and two good files."""
    places = {"result": "tesla-t4/damaged.json", "evaluation": "a-cpu-2c/accuracy/damaged.json"}
    places["verdict"] = "a-cpu-2c/verdicts/damaged.json"
    for place in places.values():
        (path / place).unlink(missing_ok=True)
    files = {"a-cpu-2c/good.json": "result-cpu.json", "tesla-t4/good.json": "result-gpu.json"}
    files |= {"a-cpu-2c/accuracy/good.json": "evaluation.json", "a-cpu-2c/verdicts/good.json": "verdict.json"}
    whole = {place: CORPUS[own] for place, own in files.items()}
    for place, content in (whole | {places[name.partition("-")[0].partition(".")[0]]: data}).items():
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        (path / place).write_bytes(content)
    return path


COMMANDS = (
    *(("table", "--format", form) for form in FORMATS),
    *(("table", "--limits", "--gpu", word) for word in ("cpu", "t4")),
    ("table", "--explain", "densenet121"),
    ("table", "--explain", "b4", "--format", "json"),
)


def test_commands_on_a_folder_with_a_damaged_file_show_the_good_ones(trials, tmp_path):
    for trial in trials("fuzz", "table on a folder with a damaged file", few=30, full=1_600):
        with trial:
            name = trial.random.choice((*RESULTS, "evaluation.json", "verdict.json"))
            here = folder(tmp_path, name, mutate(name, trial.random))
            words = trial.random.choice(COMMANDS)
            done = CliRunner().invoke(app, [*words, "--results", str(here)])
            if done.exception and not isinstance(done.exception, (TrtzooError, SystemExit)):
                raise done.exception
            assert done.exit_code in (0, 1) or isinstance(done.exception, TrtzooError)
            assert done.stdout or isinstance(done.exception, TrtzooError)
            check_text(done.stdout, words[-1])


def test_sides_of_a_comparison_are_read_from_folders_with_damaged_files(trials, tmp_path):
    for trial in trials("fuzz", "compare of folders", few=20, full=600):
        with trial:
            name = trial.random.choice(RESULTS)
            runs, complaints = read_side(str(folder(tmp_path, name, mutate(name, trial.random))))
            assert len(runs) + len(complaints) >= 3
            sides = cells.compare(runs, list(GOOD.values()))
            check_text(render([comparison(sides)], "md"))


def test_sides_of_a_comparison_are_read_from_git_with_damaged_files(trials, tmp_path, monkeypatch):
    here = folder(tmp_path / "benchmarks", "result-gpu.json", b"")
    monkeypatch.chdir(tmp_path)
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org", "-c", "commit.gpgsign=false")
    subprocess.run([*git, "init", "--quiet"], check=True)
    for trial in trials("fuzz", "compare of git's revisions", few=2, full=100):
        with trial:
            folder(here, "result-gpu.json", mutate("result-gpu.json", trial.random))
            subprocess.run([*git, "add", "--all"], check=True)
            subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "x"], check=True)
            sides = read_side("HEAD:benchmarks"), read_side("benchmarks")
            assert sides[0][0] == sides[1][0] and len(sides[0][1]) == len(sides[1][1])


def test_the_page_of_a_folder_with_a_damaged_file_is_well_formed(trials, tmp_path):
    pytest.importorskip("vl_convert")
    for trial in trials("fuzz", "report page", few=1, full=200):
        with trial:
            name = trial.random.choice((*RESULTS, "evaluation.json", "verdict.json"))
            here = folder(tmp_path, name, mutate(name, trial.random))
            (found, complaints), (evaluations, more) = load_files(here), load_evaluations(here)
            judged, most = load_verdicts(here)
            text = page(found, evaluations, [*complaints, *more, *most], folder=here, verdicts=judged).decode()
            assert "<script>alert" not in text and text.count("</script") == text.count("<script")


WORDS = [
    *NUMBERS,
    *(text for text in TEXTS if "\0" not in text),
    "dpn68,b4",
    "densenet121,,",
    "b1,b4",
    "--",
    "3%",
    "9" * 9 + "%",
]


def test_the_command_line_answers_any_words_with_a_sentence(trials, tmp_path):
    here = folder(tmp_path, "result-gpu.json", CORPUS["result-gpu.json"])
    commands = (
        ("table", "--explain"),
        ("table", "--gpu"),
        ("table", "--format"),
        ("compare", str(here), str(here), "--gate"),
        ("compare", str(here)),
        ("bench", "dpn68", "--print-trtexec", "--batch"),
        ("bench", "dpn68", "--print-trtexec", "--precision"),
        ("bench", "--print-trtexec", "--protocol"),
        ("bench", "--print-trtexec"),
    )
    for trial in trials("fuzz", "words on the command line", few=30, full=2_000):
        with trial:
            first, word = trial.random.choice(commands), trial.random.choice(WORDS)
            results = ["--results", str(here)] if first[0] == "table" else []
            done = CliRunner().invoke(app, [*first, word, *results])
            if done.exception and not isinstance(done.exception, SystemExit):
                raise done.exception
            assert done.exit_code in (0, 1, 2)


times = st.floats(1e-6, 1e3)


@given(st.lists(st.builds(Sample, total=times, compute=times, h2d=times, d2h=times), min_size=1, max_size=40))
def test_any_possible_samples_are_shown_as_they_are_read(samples):
    for good in (GOOD["result-cpu.json"], GOOD["result-gpu.json"]):
        result = msgspec.structs.replace(good, samples=tuple(samples))
        data = encode(result)
        assert parsed(data) == result
        assert shown(parsed(data)) == pytest.approx(expected(data))
        explain(Found(Path("x.json"), result))
        measured(result)


def test_csv_of_a_damaged_result_has_the_same_columns_in_each_row(trials):
    for trial in trials("fuzz", "CSV read back", few=30, full=800):
        with trial:
            result = parsed(mutate("result-gpu.json", trial.random))
            records = cell_records([result] if result else [], [], all_cells())
            for text in (render(latency_tables([result]), "csv"), records_csv(records, FIELDS)):
                assert len({len(row) for row in csv.reader(io.StringIO(text))}) == 1
