"""Latency tables: every cell is measured, published or a dash; every fact is in the caption or at the cell."""

import msgspec
import pytest

from tests.report.results import T4, cell, gpu_result, result, weights
from trtzoo.core.records import Device, Failure, GoldenCheck, Identity
from trtzoo.report.published import document
from trtzoo.report.results import groups
from trtzoo.report.tables.latency import latency_tables


def by(results):
    """The tables by title."""
    return {table.title: table for table in latency_tables(results)}


def cpu(results):
    return by(results)["Latency in ms, FP32, on A CPU, 2 cores, onnxruntime"]


def chosen(inner, selection_reason):
    """A result that also says why its runtime was chosen."""
    return msgspec.structs.replace(inner, selection_reason=selection_reason)


def test_without_results_the_document_s_three_tables_are_there_with_dashes_and_the_command():
    v100, fp32, fp16 = latency_tables([])
    assert [v100.title, fp32.title, fp16.title] == [
        "Inference speed on Tesla V100, FP32, in ms",
        "Inference speed on Tesla T4, FP32, in ms",
        "Inference speed on Tesla T4, FP16, in ms",
    ]
    assert v100.columns == ("Model", "b1 published", "b1 measured", "b1 ratio")
    assert [entry.text for entry in fp16.rows[0]] == ["densenet121", "4.16", "—", "—", "7.21", "—", "—", "10.50", "—", "—"]
    assert fp16.caption == (
        "Nothing was measured on a Tesla T4 at this precision. On a machine with one, run: "
        "trtzoo bench --all --gpu t4 --precision fp16",
        "Published: PaddleClas, docs/en/models/DPN_DenseNet_en.md; crop 224, short side resized to 256.",
        "Ratios are measured / published.",
    )


def test_every_published_latency_of_every_model_is_there():
    printed = sum(len(batches) for gpu in document().latency.values() for rows in gpu.values() for batches in rows.values())
    shown = [
        entry.value
        for table in latency_tables([])
        for row in table.rows
        for entry, column in zip(row, table.columns, strict=True)
        if "published" in column and entry.value is not None
    ]
    assert len(shown) == printed == 70


def test_a_latency_measured_on_the_published_gpu_stands_beside_the_published_with_its_ratio():
    table = by([gpu_result(seconds=(0.0022,) * 12, protocol="paddle2020")])[
        "Inference speed on Tesla T4, FP32, in ms, Tesla T4, tensorrt, paddle2020"
    ]
    assert cell(table, "densenet121", "b1 measured").text == "2.20"
    assert cell(table, "densenet121", "b1 ratio").text == "0.50"
    assert cell(table, "densenet121", "b4 ratio").text == "—"
    assert cell(table, "dpn131", "b1 ratio").text == "—"


def test_a_protocol_that_does_not_measure_as_the_publisher_did_has_no_ratio():
    table = by([gpu_result(seconds=(0.0022,) * 12)])["Inference speed on Tesla T4, FP32, in ms, Tesla T4, tensorrt"]
    assert table.columns[:3] == ("Model", "b1 published", "b1 measured") and not any("ratio" in name for name in table.columns)
    assert table.caption[-1] == (
        "Protocol trtzoo does not measure as the publisher did, so no ratio is shown. To measure one: "
        "trtzoo bench --all --gpu t4 --precision fp32 --protocol paddle2020"
    )


def test_a_batch_that_was_not_published_has_a_column_without_a_ratio():
    table = by([gpu_result(batch=16, protocol="paddle2020")])[
        "Inference speed on Tesla T4, FP32, in ms, Tesla T4, tensorrt, paddle2020"
    ]
    assert table.columns[-2:] == ("b8 ratio", "b16 measured")
    assert cell(table, "densenet121", "b16 measured").text == "11.00"


def test_another_device_is_never_compared_to_the_published_ones():
    table = cpu([result()])
    assert not any("ratio" in column for column in table.columns)
    assert cell(table, "densenet121", "CPU b1").text == "11.00"
    assert cell(table, "densenet121", "CPU b4").text == "—"
    assert cell(table, "densenet121", "T4 published b8").text == "15.25"
    assert cell(table, "densenet121", "V100 published b1").text == "4.37"
    assert "other hardware" in table.caption[-1]


def test_a_precision_of_the_published_gpu_that_was_not_published_has_a_table_of_its_own():
    titles = list(by([gpu_result(precision="tf32")]))
    assert titles[0] == "Latency in ms, TF32, on Tesla T4, tensorrt"
    assert titles[2] == "Inference speed on Tesla T4, FP32, in ms"


def test_runtimes_protocols_and_conditions_do_not_share_a_table():
    results = [
        gpu_result(cuda_graph=True),
        gpu_result(cuda_graph=False),
        gpu_result(cuda_graph=False, protocol="paddle2020"),
        gpu_result(runtime="rtx", cuda_graph=True),
        gpu_result(cuda_graph=True, wait="block"),
        gpu_result(cuda_graph=True, wait="spin", flush_l2=True),
    ]
    assert [title.split("in ms, ")[1] for title in by(results) if "FP32, in ms, " in title] == [
        "Tesla T4, rtx, CUDA graph",
        "Tesla T4, tensorrt, paddle2020, no CUDA graph",
        "Tesla T4, tensorrt, CUDA graph",
        "Tesla T4, tensorrt, CUDA graph, blocking wait",
        "Tesla T4, tensorrt, CUDA graph, L2 flushed",
        "Tesla T4, tensorrt, no CUDA graph",
    ]


def test_results_chosen_by_trials_share_a_table_and_name_the_runtime_at_each_cell():
    other = result(batch=4, versions={"openvino": "2026.4"})
    other = msgspec.structs.replace(other, case=msgspec.structs.replace(other.case, runtime="openvino"))
    table = by([chosen(result(), "a trial: 11 ms against 12"), chosen(other, "a trial: 9 ms against 11")])[
        "Latency in ms, FP32, on A CPU, 2 cores, auto"
    ]
    assert table.notes == ("onnxruntime 1.2.3", "openvino 2026.4")
    assert "Each cell's runtime is the fastest in a short trial. See --explain for a cell's runtime." in table.caption
    assert [cell(table, "densenet121", f"CPU b{batch}").note for batch in (1, 4)] == list(table.notes)


def test_a_fact_of_most_cells_is_in_the_caption_and_the_others_are_marked():
    other = result(batch=8, versions={"openvino": "2026.4"})
    table = by([result(), result(batch=4), other])["Latency in ms, FP32, on A CPU, 2 cores, onnxruntime"]
    assert "onnxruntime 1.2.3 unless marked" in table.caption[0]
    assert table.notes == ("openvino 2026.4",)
    assert [cell(table, "densenet121", f"CPU b{batch}").note for batch in (1, 4, 8)] == ["", "", "openvino 2026.4"]


def test_of_two_trials_of_one_cell_the_newer_is_shown_and_the_older_is_noted():
    old = chosen(result(started="2026-01-01"), "first")
    new = result(started="2026-01-02", seconds=(0.009,) * 12)
    new = chosen(msgspec.structs.replace(new, case=msgspec.structs.replace(new.case, runtime="openvino")), "first")
    (group,) = groups([old, new])
    assert list(group.results.values()) == [new]
    table = by([old, new])["Latency in ms, FP32, on A CPU, 2 cores, auto"]
    assert cell(table, "densenet121", "CPU b1").text == "9.00"
    assert table.notes == ("an older result of this cell, by onnxruntime, is left out",)


def test_constant_facts_are_in_the_caption_once():
    table = cpu([result(), result(batch=4)])
    assert table.caption[:2] == (
        "Measured: A CPU, 2 cores; onnxruntime 1.2.3; 2 threads; FP32 I/O; protocol trtzoo; weights of paddle; "
        "outputs checked.",
        "Protocol trtzoo: median of end to end; one query outstanding, inputs in place; warm-up of 0.5 s and 2 queries, then "
        "at least 3 s and 10 queries.",
    )
    assert table.notes == ()


def test_fp16_that_was_computed_in_float32_says_so():
    half = msgspec.structs.replace(result(precision="fp16"), settings={"arithmetic": "float32"})
    (table,) = (table for title, table in by([half]).items() if title.startswith("Latency in ms, FP16"))
    assert "float32 arithmetic" in table.caption[0]


def test_a_fact_that_differs_is_noted_at_its_cells():
    table = cpu([result(), result(batch=4, versions={"onnxruntime": "9.9.9"})])
    assert table.notes == ("onnxruntime 1.2.3", "onnxruntime 9.9.9")
    assert cell(table, "densenet121", "CPU b4").note == "onnxruntime 9.9.9"
    assert "onnxruntime" not in table.caption[0]


@pytest.mark.parametrize(
    ("check", "note"),
    [(None, "OUTPUTS NOT CHECKED"), (GoldenCheck(error=0.5, tolerance=2e-5, images=4), "WRONG OUTPUTS: error 0.5")],
)
def test_an_unproven_cell_is_marked_even_if_all_are(check, note):
    table = cpu([result(check=check), result(batch=4, check=check)])
    assert table.notes == (note,)
    assert cell(table, "densenet121", "CPU b4").note == note
    assert "outputs checked" not in table.caption[0]


def test_a_table_of_seeded_weights_says_so_and_why():
    table = cpu([result(weights=weights("seeded", fallback="a.host cannot be reached."))])
    assert "SEEDED weights (latency is valid, accuracy is not)" in table.caption[0]
    assert "Why seeded: a.host cannot be reached." in table.caption


def test_a_failed_case_is_a_failure_with_its_reason_below():
    bad = result(seconds=(), failure=Failure(kind="timeout", reason="no result after 600 s"))
    table = cpu([bad, result(batch=4)])
    entry = cell(table, "densenet121", "CPU b1")
    assert (entry.text, entry.note) == ("failed", "timeout: no result after 600 s")
    assert table.notes == (entry.note,) and "failed [1]" in table.texts[1]


def test_each_device_has_tables_of_its_own():
    other = Device(key="h100", name="NVIDIA H100 80GB HBM3", kind="gpu", driver="550.54.14", sm=90)
    titles = list(by([result(), result(device=other), result(device=T4)]))
    assert titles == [
        "Inference speed on Tesla T4, FP32, in ms, Tesla T4, onnxruntime",
        "Latency in ms, FP32, on A CPU, 2 cores, onnxruntime",
        "Latency in ms, FP32, on NVIDIA H100 80GB HBM3, onnxruntime",
        "Inference speed on Tesla V100, FP32, in ms",
        "Inference speed on Tesla T4, FP16, in ms",
    ]


def test_results_of_several_equal_gpus_in_one_table_say_which_gpu_each_is_of():
    cards = [msgspec.structs.replace(T4, uuid=f"GPU-{letter}") for letter in "aab"]
    shown = [gpu_result(batch=batch) for batch in (1, 4, 8)]
    mixed = [msgspec.structs.replace(each, device=card) for each, card in zip(shown, cards, strict=True)]
    table, *_ = latency_tables(mixed)
    assert [cell(table, "densenet121", f"b{batch} measured").note for batch in (1, 4, 8)] == ["", "", "GPU-b"]
    assert "GPU-a unless marked" in " ".join(table.caption)
    table, *_ = latency_tables(mixed[:2])
    assert "GPU-a" not in " ".join(table.caption)


def of_file(name="cnn", sha256="0123456789", **fields):
    """A result of a foreign file."""
    made = result(model=name, **fields)
    return msgspec.structs.replace(made, identity=Identity(model=name, classes=5, height=8, width=8, sha256=sha256))


def test_the_users_own_network_has_a_row_below_the_models():
    (table, *_) = latency_tables([of_file(), result()])
    assert [row[0].value for row in table.rows] == ["densenet121", "cnn (5 classes, 8x8)"]
    assert cell(table, "cnn (5 classes, 8x8)", "T4 published b8").text == "—"


def test_two_files_of_one_name_have_a_row_each_with_their_hash():
    (table, *_) = latency_tables([of_file(), of_file(sha256="fedcba9876", seconds=(0.02,) * 12)])
    assert [row[0].value for row in table.rows] == ["cnn (5 classes, 8x8) [01234567]", "cnn (5 classes, 8x8) [fedcba98]"]


def test_a_file_with_a_models_name_does_not_stand_beside_the_published_latencies():
    (table, *_) = latency_tables([of_file("densenet121"), result()])
    assert [row[0].value for row in table.rows] == ["densenet121", "densenet121 (5 classes, 8x8)"]
    assert cell(table, "densenet121 (5 classes, 8x8)", "T4 published b8").text == "—"


def test_another_form_of_a_model_has_a_row_of_its_own():
    identity = Identity(model="densenet121", network="densenet121", classes=10, height=32, width=32)
    made = result(seconds=(0.001,) * 12)
    small = msgspec.structs.replace(made, identity=identity, case=msgspec.structs.replace(made.case, form="c10-s32"))
    (table, *_) = latency_tables([small, result()])
    assert [row[0].value for row in table.rows] == ["densenet121", "densenet121 (10 classes, 32x32)"]


def test_a_good_result_stands_before_a_newer_failure_which_is_told():
    good = result(started="2026-01-01")
    failed = result(started="2026-01-02", seconds=(), failure=Failure(kind="crash", reason="it ended"))
    (table, *_) = latency_tables([good, failed])
    shown = cell(table, "densenet121", "CPU b1")
    assert shown.text == "11.00"
    assert "the newest measurement of this cell failed (crash: it ended); this one is older" in shown.note


def test_other_weights_of_a_model_share_its_row_and_the_newer_count():
    old = result(started="2026-01-01", weights=weights("seeded"))
    (table, *_) = latency_tables([old, result(started="2026-01-02", seconds=(0.02,) * 12)])
    shown = cell(table, "densenet121", "CPU b1")
    assert shown.text == "20.00" and "SEEDED" in shown.note


def test_a_runtime_that_computes_nothing_is_called_that():
    made = result()
    (table, *_) = latency_tables([msgspec.structs.replace(made, case=msgspec.structs.replace(made.case, runtime="fake"))])
    assert cell(table, "densenet121", "CPU b1").note == "NOT MEASURED: the runtime fake computes nothing"
    assert "outputs checked" not in " ".join(table.caption)
