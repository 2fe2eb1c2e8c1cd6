"""`trtzoo models` and `trtzoo table` as a user runs it."""

import json

from tests.report.results import evaluation, result, weights
from trtzoo.core.files import encode
from trtzoo.models.table import MODELS


def results(folder, **more):
    (folder / "benchmarks" / "a-cpu-2c").mkdir(parents=True)
    (folder / "benchmarks" / "a-cpu-2c" / "one.json").write_bytes(encode(result(**more)))


def test_models_shows_exact_and_published_counts_and_explains_the_difference(trtzoo):
    done = trtzoo("models")
    assert done.returncode == 0
    assert all(name in done.stdout for name in MODELS)
    assert "12.61" in done.stdout and "10.78" in done.stdout
    assert "groups twice" in " ".join(done.stdout.split())


def test_a_recount_marks_the_two_published_figures_that_are_wrong(trtzoo):
    done = trtzoo("models", "--count", "--format", "json")
    (table,) = json.loads(done.stdout)
    assert [row["Model"] for row in table["rows"] if row["same"] == "no"] == ["densenet264", "dpn98"]


def test_the_table_is_made_from_the_files(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", "--format", "md")
    assert done.returncode == 0
    assert "| densenet121 | 11.00 | — | — | 4.40 | 9.33 | 15.25 | 4.37 |" in done.stdout
    assert "| densenet121 | 4.40 | — | — | 9.33 | — | — | 15.25 | — | — |" in done.stdout
    assert done.stderr == ""


def test_a_table_of_seeded_weights_is_marked_as_such(trtzoo, tmp_path):
    results(tmp_path, weights=weights("seeded", "a.host cannot be reached."))
    text = trtzoo("table", "--format", "md").stdout
    assert "SEEDED weights (latency is valid, accuracy is not)" in text and "Why seeded: a.host cannot be reached." in text


def test_without_results_the_published_columns_and_the_command_to_measure_are_shown(trtzoo):
    done = trtzoo("table", "--format", "csv")
    assert done.returncode == 0
    assert "densenet121,4.40447,,,9.32623,,,15.25175,," in done.stdout
    assert "benchmarks has no results. To measure: trtzoo bench --all --gpu auto" in done.stderr


def test_bad_files_are_skipped_by_name_and_the_exit_code_is_one(trtzoo, tmp_path):
    results(tmp_path)
    folder = tmp_path / "benchmarks" / "a-cpu-2c"
    (folder / "bad.json").write_text("{")
    (folder / "copy.json").write_bytes(encode(result(seconds=(0.5,))))
    (folder / "foreign.json").write_text('{"hello": 1}')
    (folder / "future.json").write_bytes(encode(result()).replace(b'"schema": 1', b'"schema": 2', 1))
    (folder / "accuracy").mkdir()
    (folder / "accuracy" / "odd.json").write_text("[]")
    done = trtzoo("table", "--format", "csv")
    assert done.returncode == 1
    names = ("bad.json is damaged", "copy.json is of the same case as", "foreign.json is not a result file")
    for sentence in (*names, "future.json has schema version 2", "odd.json is damaged"):
        assert f"skipped: benchmarks/a-cpu-2c/{'accuracy/' if 'odd' in sentence else ''}{sentence}" in done.stderr
    assert "densenet121,11.0," in done.stdout


def test_measured_accuracy_is_shown_beside_the_published(trtzoo, tmp_path):
    (tmp_path / "benchmarks" / "a-cpu-2c" / "accuracy").mkdir(parents=True)
    (tmp_path / "benchmarks" / "a-cpu-2c" / "accuracy" / "one.json").write_bytes(encode(evaluation()))
    text = trtzoo("table", "--format", "md").stdout
    assert "| densenet121 | 0.757 | 0.7500 | -0.0070 | 0.0268 | 0.926 | 0.9200 | -0.0060 | 0.0169 | 1000 |" in text


def test_limits_are_shown_on_request(trtzoo):
    assert "Share of the limit, Tesla T4, FP16" not in trtzoo("table", "--format", "md").stdout
    assert "| dpn68 | 0.08 | 0.7% |" in trtzoo("table", "--format", "md", "--limits").stdout


def test_a_cell_is_explained_whatever_the_order_of_its_words(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", "--explain", "b1,densenet121,fp32")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "File              benchmarks/a-cpu-2c/one.json\nCell              densenet121,fp32,b1,a-cpu-2c,"
    )
    assert "Latency           11.000 ms" in done.stdout
    (facts,) = json.loads(trtzoo("table", "--explain", "b1,densenet121,fp32", "--format", "json").stdout)
    assert facts["Versions"] == "onnxruntime 1.2.3"


def test_an_ambiguous_cell_lists_the_words_that_select_each_one(trtzoo, tmp_path):
    results(tmp_path)
    (tmp_path / "benchmarks" / "a-cpu-2c" / "two.json").write_bytes(encode(result(batch=4)))
    done = trtzoo("table", "--explain", "densenet121")
    assert done.returncode == 0
    assert "'densenet121' selects 2 results. To see one:" in done.stderr
    assert done.stdout.splitlines()[1] == "--explain densenet121,fp32,b4,a-cpu-2c,onnxruntime,trtzoo"


def test_an_unmeasured_cell_names_the_command_to_measure_it(trtzoo):
    done = trtzoo("table", "--explain", "dpn68,fp32,b1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "trtzoo: Nothing was measured for dpn68, fp32, b1. To measure: trtzoo bench dpn68 --precision fp32 --batch 1"
    )


def test_results_are_filtered_by_device(trtzoo, tmp_path):
    results(tmp_path)
    assert "densenet121,11.0," in trtzoo("table", "--format", "csv", "--gpu", "cpu").stdout
    assert "densenet121,11.0," not in trtzoo("table", "--format", "csv", "--gpu", "t4").stdout


def test_an_unknown_format_lists_the_known_ones(trtzoo):
    done = trtzoo("table", "--format", "xml")
    assert done.returncode == 2
    assert "There is no format 'xml'. Known: rich, md, csv, json, latex." in done.stderr


def test_the_tables_fit_eighty_columns(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", "--limits", env={"COLUMNS": "80"})
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "…" not in done.stdout


def test_an_explanation_does_not_control_the_terminal(trtzoo, tmp_path):
    results(tmp_path, settings={"a\x1b]0;title\x07": "b\nLatency           0.001 ms"})
    out = trtzoo("table", "--explain", "densenet121").stdout
    assert "\x1b" not in out and "\x07" not in out
    assert [line for line in out.splitlines() if line.startswith("Latency")] == [
        "Latency           11.000 ms; 95 % interval of the median: 11.000 ms to 11.000 ms"
    ]
    assert "Settings          a?]0;title? b Latency           0.001 ms" in out
