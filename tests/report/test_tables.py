"""Tables: every cell measured, printed or a dash; every fact in the caption or at the cell."""

import pytest

from trtzoo.models import MODELS
from trtzoo.report.published import document
from trtzoo.report.tables import accuracy_table, latency_tables
from trtzoo.spec import Case, Device, Failure, GoldenCheck, Preprocessing, Result, Sample, Weights

CHECK = GoldenCheck(error=1e-6, tolerance=2e-5, images=4)
DEVICE = Device(key="a-cpu-2c", name="A CPU", kind="cpu", cores=2)
PREPROCESSING = Preprocessing(
    decoder="pil", interpolation="bilinear", resize=256, crop=224, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
)


def weights(source="paddle", fallback=""):
    return Weights(source=source, origin=source, sha256="", epsilon=1e-5, preprocessing=PREPROCESSING, fallback=fallback)


def result(model="densenet121", batch=1, seconds=(0.011,) * 12, precision="fp32", device=DEVICE, **fields):
    case = Case(model=model, precision=precision, batch=batch, runtime="onnxruntime", device=device.key, protocol="trtzoo")
    given = {"versions": {"onnxruntime": "1.2.3"}, "threads": 2, "io": "fp32", "weights": weights(), "check": CHECK} | fields
    samples = tuple(Sample(total=value, compute=value) for value in seconds)
    return Result(case=case, device=device, samples=samples, **given)


def cell(table, model, column):
    (row,) = [row for row in table.rows if row[0].value == model]
    return row[table.columns.index(column)]


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


def test_a_measured_cell_is_the_median_in_milliseconds_and_the_rest_are_dashes():
    fp32, fp16 = latency_tables([result()])
    assert cell(fp32, "densenet121", "CPU b1").text == "11.00"
    assert cell(fp32, "densenet121", "CPU b4").text == "—"
    assert cell(fp32, "dpn131", "CPU b1").text == "—"
    assert cell(fp16, "densenet121", "CPU b1").text == "—"
    assert fp16.caption == ("Nothing was measured at this precision.",)


@pytest.mark.parametrize(
    ("precision", "column", "text"),
    [
        ("fp32", "T4 published b8", "15.25"),
        ("fp32", "V100 published b1", "4.37"),
        ("fp16", "T4 published b4", "7.21"),
    ],
)
def test_published_columns_stand_beside_the_measured_and_name_their_gpu(precision, column, text):
    tables = {table.title.split(", ")[1].lower(): table for table in latency_tables([])}
    assert cell(tables[precision], "densenet121", column).text == text


def test_every_published_latency_of_every_model_is_there():
    printed = sum(len(batches) for gpu in document().latency.values() for rows in gpu.values() for batches in rows.values())
    shown = [
        cell.value
        for table in latency_tables([])
        for row in table.rows
        for cell, column in zip(row, table.columns, strict=True)
        if "published" in column and cell.value is not None
    ]
    assert len(shown) == printed == 70


def test_constant_facts_are_said_once_in_the_caption():
    (fp32, _) = latency_tables([result(), result(batch=4)])
    assert fp32.caption == (
        "Measured: A CPU, 2 cores; onnxruntime 1.2.3; 2 threads; FP32 I/O; protocol trtzoo; weights of paddle; "
        "outputs checked.",
        "Protocol trtzoo: median of end to end; one query outstanding, inputs in place; warm-up of 0.5 s and 2 queries, then "
        "at least 3 s and 10 queries.",
    )
    assert fp32.notes == ()


def test_a_fact_that_differs_is_noted_at_its_cells():
    other = result(batch=4, versions={"onnxruntime": "9.9.9"})
    (fp32, _) = latency_tables([result(), other])
    assert fp32.notes == ("onnxruntime 1.2.3", "onnxruntime 9.9.9")
    assert cell(fp32, "densenet121", "CPU b4").mark == "[2]"
    assert "onnxruntime" not in fp32.caption[0]


def test_a_table_of_seeded_weights_says_so_and_why():
    (fp32, _) = latency_tables([result(weights=weights("seeded", fallback="a.host cannot be reached."))])
    assert "SEEDED weights, which classify nothing" in fp32.caption[0]
    assert fp32.caption[-1] == "Why seeded: a.host cannot be reached."


def test_a_failed_case_is_a_failure_with_its_reason_below():
    bad = result(seconds=(), failure=Failure(kind="timeout", reason="no result after 600 s"))
    (fp32, _) = latency_tables([bad, result(batch=4)])
    assert (cell(fp32, "densenet121", "CPU b1").text, cell(fp32, "densenet121", "CPU b1").mark) == ("failed", "[1]")
    assert fp32.notes == ("timeout: no result after 600 s",)


def test_each_device_has_tables_of_its_own():
    other = Device(key="tesla-t4", name="Tesla T4", kind="gpu", driver="550.54.14")
    titles = [table.title for table in latency_tables([result(), result(device=other)])]
    assert titles == [
        "Latency in ms, FP32, on CPU, onnxruntime",
        "Latency in ms, FP16, on CPU, onnxruntime",
        "Latency in ms, FP32, on Tesla T4, onnxruntime",
        "Latency in ms, FP16, on Tesla T4, onnxruntime",
    ]


def test_a_batch_that_was_never_published_has_a_column_too():
    (fp32, _) = latency_tables([result(batch=16)])
    assert cell(fp32, "densenet121", "CPU b16").text == "11.00"


def test_results_of_models_that_are_not_ours_are_left_out():
    assert len(latency_tables([result(model="resnet50")])) == 2
