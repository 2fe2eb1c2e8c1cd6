"""The networks' own tables: published beside exact counts, published beside measured accuracy."""

import pytest
from msgspec.structs import replace

from tests.report.results import cell, evaluation, weights
from trtzoo.models.table import MODELS
from trtzoo.report.published import document
from trtzoo.report.tables.accuracy import accuracy_table, evaluation_tables


@pytest.mark.parametrize("name", MODELS)
def test_the_accuracy_table_prints_what_the_document_printed_beside_the_exact_counts(name):
    table, printed = accuracy_table(), document().models[name]
    assert cell(table, name, "Top1").text == f"{printed.top1:.3f}"
    assert cell(table, name, "FLOPs (G) published").value == printed.gflops
    assert cell(table, name, "FLOPs (G) exact").value == MODELS[name].flops / 1e9
    assert cell(table, name, "Params (M) exact").value == MODELS[name].params / 1e6


def test_a_reference_that_was_not_printed_is_a_dash():
    assert cell(accuracy_table(), "densenet121", "Ref. top5").text == "—"
    assert cell(accuracy_table(), "dpn131", "Ref. top5").text == "0.949"


def test_ratios_of_counts_are_exact_to_published():
    assert cell(accuracy_table(), "dpn68", "Params ratio").text == "1.17"
    assert cell(accuracy_table(), "densenet121", "FLOPs ratio").text == "1.00"


def test_a_measured_accuracy_stands_beside_the_published_with_its_difference_and_interval():
    (table,) = evaluation_tables([evaluation()])
    assert table.title == "Accuracy, FP32, on A CPU, onnxruntime"
    texts = {column: cell(table, "densenet121", column).text for column in table.columns[1:]}
    assert texts == {
        "Top1 published": "0.757",
        "Top1 measured": "0.7500",
        "Top1 difference": "-0.0070",
        "Top1 ±": "0.0268",
        "Top5 published": "0.926",
        "Top5 measured": "0.9200",
        "Top5 difference": "-0.0060",
        "Top5 ±": "0.0169",
        "Images": "1000",
    }
    assert table.caption[0] == (
        "Measured: A CPU, 2 cores; onnxruntime 1.2.3; weights of paddle; data set val, fingerprint abc."
    )


def test_a_network_that_was_not_evaluated_has_no_row():
    (table,) = evaluation_tables([evaluation()])
    assert [row[0].value for row in table.rows] == ["densenet121"]


def test_the_newest_evaluation_counts_and_one_without_images_does_not():
    empty = evaluation(model="dpn68", images=0, top1=0, top5=0)
    rows = [evaluation(started="2026-01-02"), evaluation(top1=1, started="2026-01-01"), empty]
    (table,) = evaluation_tables(rows)
    assert cell(table, "densenet121", "Top1 measured").text == "0.7500"
    assert len(table.rows) == 1


def test_an_evaluation_of_some_images_does_not_stand_for_the_whole_data_set():
    some = evaluation(images=100, top1=90, top5=95, limit=100, fingerprint="def", started="2026-01-03")
    (table,) = evaluation_tables([evaluation(started="2026-01-01"), some])
    assert cell(table, "densenet121", "Images").text == "1000"
    assert (
        table.caption[-1] == "Left out: 1 evaluations of a limited number of images, because the whole data set was evaluated."
    )
    (table,) = evaluation_tables([some])
    assert cell(table, "densenet121", "Images").text == "100"


@pytest.mark.parametrize(
    ("other", "name"), [({"classes": 10}, "densenet121 (10 classes)"), ({"size": 32}, "densenet121 (32x32)")]
)
def test_an_evaluation_of_other_classes_or_sizes_is_shown_but_not_compared_to_the_published(other, name):
    (table,) = evaluation_tables([evaluation(**other)])
    assert cell(table, name, "Top1 measured").text == "0.7500"
    assert cell(table, name, "Top1 published").text == "—"


def test_own_weights_are_named_by_their_file_and_not_compared_to_the_published():
    own = replace(weights(), source="file", origin="timm_dpn68.pth", sha256="abcdef0123")
    (table,) = evaluation_tables([evaluation(weights=own)])
    assert cell(table, "densenet121", "Top1 published").text == "—"
    assert "weights of the file timm_dpn68.pth [abcdef01]" in table.caption[0]


def test_weights_of_an_older_record_that_names_a_publisher_for_a_local_file_are_the_files():
    own = replace(weights(), source="timm", origin="timm_dpn68.pth", sha256="abcdef0123")
    (table,) = evaluation_tables([evaluation(weights=own)])
    assert "weights of the file timm_dpn68.pth [abcdef01]" in table.caption[0]
