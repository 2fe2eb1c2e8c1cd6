"""`trtzoo models` and `trtzoo table`, as they are typed."""

import json

from tests.report.test_tables import result, weights
from trtzoo.models import MODELS
from trtzoo.store import encode


def results(folder, **more):
    (folder / "benchmarks" / "a-cpu-2c").mkdir(parents=True)
    (folder / "benchmarks" / "a-cpu-2c" / "one.json").write_bytes(encode(result(**more)))


def test_models_shows_exact_and_published_counts_and_says_why_they_differ(trtzoo):
    done = trtzoo("models")
    assert done.returncode == 0
    assert all(name in done.stdout for name in MODELS)
    assert "12.61" in done.stdout and "10.78" in done.stdout
    assert "groups twice" in " ".join(done.stdout.split())


def test_models_counts_again_and_names_the_two_figures_that_do_not_come_out(trtzoo):
    done = trtzoo("models", "--count", "--format", "json")
    (table,) = json.loads(done.stdout)
    assert [row["Model"] for row in table["rows"] if row["same"] == "no"] == ["densenet264", "dpn98"]


def test_the_table_is_made_from_files_alone(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", "--format", "md")
    assert done.returncode == 0
    assert "| densenet121 | 11.00 | — | — | 4.40 | 9.33 | 15.25 | 4.37 |" in done.stdout
    assert done.stderr == ""


def test_a_table_of_seeded_weights_cannot_be_taken_for_another(trtzoo, tmp_path):
    results(tmp_path, weights=weights("seeded", "a.host cannot be reached."))
    text = trtzoo("table", "--format", "md").stdout
    assert "SEEDED weights, which classify nothing" in text and "Why seeded: a.host cannot be reached." in text


def test_without_results_the_published_columns_stand_alone_and_the_command_is_named(trtzoo):
    done = trtzoo("table", "--format", "csv")
    assert done.returncode == 0
    assert "densenet121,,,,4.40447,9.32623,15.25175,4.371" in done.stdout
    assert "Nothing measured is in benchmarks. To measure: trtzoo bench --all --gpu auto" in done.stderr


def test_a_damaged_result_is_told_and_the_rest_is_shown(trtzoo, tmp_path):
    results(tmp_path)
    (tmp_path / "benchmarks" / "a-cpu-2c" / "bad.json").write_text("{")
    done = trtzoo("table", "--format", "csv")
    assert done.returncode == 0
    assert "skipped: benchmarks/a-cpu-2c/bad.json is damaged" in done.stderr
    assert "densenet121,11.0," in done.stdout


def test_results_are_chosen_by_device(trtzoo, tmp_path):
    results(tmp_path)
    assert "densenet121,11.0," in trtzoo("table", "--format", "csv", "--gpu", "cpu").stdout
    assert "densenet121,11.0," not in trtzoo("table", "--format", "csv", "--gpu", "t4").stdout


def test_an_unknown_format_lists_those_there_are(trtzoo):
    done = trtzoo("table", "--format", "xml")
    assert done.returncode == 2
    assert "There is no format 'xml'. Known: rich, md, csv, json." in done.stderr


def test_the_table_fits_eighty_columns(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout
