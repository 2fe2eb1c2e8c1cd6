"""`trtzoo models` and `trtzoo table` as a user runs it."""

import csv
import json

import pytest

from tests.report.results import evaluation, result, weights
from trtzoo.core.files import encode
from trtzoo.core.records import Identity
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
    (table,) = json.loads(done.stdout)["tables"]
    assert [row["Model"] for row in table["rows"] if row["same"] == "no"] == ["densenet264", "dpn98"]


def test_the_table_has_what_was_measured_first_and_only_that(trtzoo, tmp_path):
    results(tmp_path)
    done = trtzoo("table", "--format", "md")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line for line in done.stdout.splitlines() if line.startswith(("#", "|"))] == [
        "### Latency in ms, FP32, on A CPU, 2 cores, onnxruntime",
        "| Model | CPU b1 | T4 published b1 | V100 published b1 |",
        "| --- | ---: | ---: | ---: |",
        "| densenet121 | 11.00 | 4.40 | 4.37 |",
        "### Accuracy, FLOPs and parameters",
        "| Model | Top1 | Top5 | Ref. top1 | Ref. top5 | FLOPs (G) published | FLOPs (G) exact | FLOPs ratio "
        "| Params (M) published | Params (M) exact | Params ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| densenet121 | 0.757 | 0.926 | 0.750 | — | 5.69 | 5.67 | 1.00 | 7.98 | 7.98 | 1.00 |",
    ]


def test_everything_published_is_there_on_request(trtzoo, tmp_path):
    results(tmp_path)
    text = trtzoo("table", "--published", "--format", "md").stdout
    assert "| densenet121 | 11.00 | — | — | 4.40 | 9.33 | 15.25 | 4.37 |" in text
    assert "| densenet121 | 4.40 | — | — | 9.33 | — | — | 15.25 | — | — |" in text
    assert "| dpn131 | 0.807 |" in text
    some = trtzoo("table", "--published", "--format", "md", "--device", "t4", "--model", "dpn68", "--precision", "fp16").stdout
    assert [line for line in some.splitlines() if line.startswith("|")][2:] == [
        "| dpn68 | 11.78 | — | — | 13.13 | — | — | 16.19 | — | — |"
    ]


def test_a_network_outside_of_the_zoo_is_shown_below_its_networks(trtzoo, tmp_path):
    results(tmp_path)
    for name, network in (("aaa", "aaa@0a1b2c3d"), ("resnet18", "timm:resnet18")):
        other = result(model=name, identity=Identity(model=name, network=network, macs=1_814_073_344, params=11_689_512))
        (tmp_path / "benchmarks" / "a-cpu-2c" / f"{name}.json").write_bytes(encode(other))
    rows = [line for line in trtzoo("table", "--format", "md").stdout.splitlines() if line.startswith("|")]
    assert rows[2:5] == [
        "| densenet121 | 11.00 | 4.40 | 4.37 |",
        "| aaa | 11.00 | — | — |",
        "| resnet18 | 11.00 | — | — |",
    ]
    assert rows[-1] == "| resnet18 | — | — | — | — | — | 3.63 | — | — | 11.69 | — |"


def test_a_table_of_seeded_weights_is_marked_as_such(trtzoo, tmp_path):
    results(tmp_path, weights=weights("seeded", "a.host cannot be reached."))
    text = trtzoo("table", "--format", "md").stdout
    assert "SEEDED weights (latency is valid, accuracy is not)" in text and "Why seeded: a.host cannot be reached." in text


def test_without_results_the_published_columns_and_the_command_to_measure_are_shown(trtzoo):
    done = trtzoo("table", "--format", "md")
    assert done.returncode == 0
    assert "| densenet121 | 4.40 | — | — | 9.33 | — | — | 15.25 | — | — |" in done.stdout
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
    assert ",11.0,11.0,11.0," in done.stdout


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
    done = trtzoo("table", "--explain", "dpn68,fp32,b2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "trtzoo: Nothing was measured for dpn68, fp32, b2. To measure: trtzoo bench dpn68 --precision fp32 --batch 2"
    )


def test_a_published_cell_is_explained(trtzoo):
    done = trtzoo("table", "--explain", "dpn68,fp32,b1,t4")
    assert done.returncode == 0
    assert "Nothing was measured for dpn68, fp32, b1, t4. To measure: trtzoo bench dpn68 --precision fp32" in done.stderr
    facts = {line[:18].rstrip(): line[18:] for line in done.stdout.splitlines()}
    assert facts["Cell"] == "dpn68,fp32,b1,t4,published"
    assert facts["Published"] == "11.649 ms on Tesla T4"
    assert facts["Source"] == "PaddleClas, docs/en/models/DPN_DenseNet_en.md"
    assert facts["Limit"] == "0.574 ms by compute, 4.9% reached"
    assert "most likely the host was timed, not the GPU" in facts["Audit"]
    both = trtzoo("table", "--explain", "dpn68,fp32,b1,published")
    assert both.stdout.splitlines() == [f"--explain dpn68,fp32,b1,{gpu},published" for gpu in ("v100", "t4")]


def test_results_are_filtered_by_what_they_are_of(trtzoo, tmp_path):
    results(tmp_path)
    (tmp_path / "benchmarks" / "a-cpu-2c" / "two.json").write_bytes(encode(result(model="dpn68", batch=4)))

    def models(*words):
        return [row["model"] for row in csv.DictReader(trtzoo("table", "--format", "csv", *words).stdout.splitlines())]

    assert models("--gpu", "cpu") == models("--device", "a-cpu-2c", "--runtime", "onnxruntime") == ["densenet121", "dpn68"]
    assert models("--model", "DPN68,dpn92", "--protocol", "trtzoo", "--precision", "fp32") == ["dpn68"]
    assert models("--batch", "1") == ["densenet121"]
    done = trtzoo("table", "--device", "t4")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == ("No result is of t4. To measure: trtzoo bench. For what was published: trtzoo table --published\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--gpu", "rtx409"), "There is no device 'rtx409'. Did you mean rtx4090?"),
        (("--device", "nosuch"), "There is no device 'nosuch'. Known: cpu, gpu, v100, t4,"),
        (("--model", "dpn86"), "There is no model 'dpn86'. Did you mean dpn98?"),
        (("--runtime", "fake"), "There is no runtime 'fake'. Known: auto, onnxruntime,"),
        (("--protocol", "trtzo"), "There is no protocol 'trtzo'. Did you mean trtzoo?"),
        (("--precision", "fp32,"), "--precision 'fp32,' has an empty item."),
        (("--batch", "3"), "There is no batch '3'. Known: 1, 4, 8."),
    ],
)
def test_a_word_that_nothing_has_is_an_error(trtzoo, words, sentence):
    done = trtzoo("table", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr


def test_csv_and_json_have_one_record_for_each_number(trtzoo, tmp_path):
    results(tmp_path, weights=weights("seeded"))
    (tmp_path / "benchmarks" / "a-cpu-2c" / "accuracy").mkdir()
    (tmp_path / "benchmarks" / "a-cpu-2c" / "accuracy" / "one.json").write_bytes(encode(evaluation()))
    cell, accuracy = csv.DictReader(trtzoo("table", "--format", "csv").stdout.splitlines())
    assert {name: text for name, text in cell.items() if text} == {
        "model": "densenet121",
        "network": "densenet121",
        "family": "densenet",
        "precision": "fp32",
        "batch": "1",
        "device": "A CPU, 2 cores",
        "runtime": "onnxruntime",
        "versions": "onnxruntime 1.2.3",
        "protocol": "trtzoo",
        "io": "fp32",
        "state": "measured",
        **dict.fromkeys(("latency_ms", "low_ms", "high_ms", "p99_ms"), "11.0"),
        "queries": "12",
        "published_ms": "4.40447",
        "published_gpu": "Tesla T4",
        "top1": "0.757",
        "top1_source": "published",
        "weights": "SEEDED weights (latency is valid, accuracy is not)",
        "marks": "seeded weights",
    }
    shown = ("state", "top1", "top5", "images", "latency_ms", "weights")
    assert [accuracy[name] for name in shown] == ["evaluated", "0.75", "0.92", "1000", "", "weights of paddle"]
    read = json.loads(trtzoo("table", "--published", "--format", "json").stdout)
    assert list(read) == ["schema", "cells", "networks", "skipped"]
    assert (read["schema"], len(read["cells"]), read["skipped"]) == (1, 1 + 1 + 70, [])
    assert read["cells"][0]["latency_ms"] == 11.0 and read["cells"][0]["ratio"] is None
    assert read["networks"][0]["flops"] == 5_668_323_328 and read["networks"][0]["published"]["gflops"] == 5.69


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
