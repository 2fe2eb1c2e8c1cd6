"""Whether a precision pays: what is proven, what is excluded, and what is missing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.report.judged import TRAINED, judged, metrics, result_of, sides
from tests.report.results import T4
from tests.report.runs import WEIGHTS
from trtzoo.core.files import decode, encode, write_record
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import GpuState, Span
from trtzoo.report.compare.cells import compared
from trtzoo.report.explain import explain
from trtzoo.report.page.rows import measured
from trtzoo.report.results import Found
from trtzoo.report.tables.cells import cell_records
from trtzoo.report.tables.latency import latency_tables
from trtzoo.report.tables.verdicts import tables
from trtzoo.report.verdict import DOES_NOT_PAY, LEAST_GAIN, PAYS, UNCLEAR, Verdict, load_verdicts, verdict_of

OTHERS = [name for name in PRECISIONS if name != "fp32"]


# --- the ratio ---


@pytest.mark.parametrize("ratio", [0.3, 0.9, 1.0, 1.2])
def test_a_known_ratio_is_within_its_interval_in_nineteen_of_twenty_verdicts(ratio):
    found = [judged(ratio, seed=seed, noise=0.01).ratio for seed in range(200)]
    assert sum(each.low <= ratio <= each.high for each in found) >= 190
    assert all(each.low < each.value < each.high for each in found)


@given(st.floats(0.2, 3.0), st.floats(-0.01, 0.01), st.integers(0, 1000))
def test_a_steady_drift_adds_nothing_to_the_ratio_of_runs_back_and_forth(ratio, drift, seed):
    found = judged(ratio, drift=drift, seed=seed, day=0.0, noise=0.0)
    assert found.ratio.value == pytest.approx(ratio)


def test_runs_in_one_order_only_would_count_the_drift():
    values = {}
    for back_and_forth in (True, False):
        cell = compared(*sides(1.0, drift=0.02, day=0.0, noise=0.0, back_and_forth=back_and_forth), same_work=False)
        assert cell.interleaved and not cell.warning
        values[back_and_forth] = cell.ratio.value
    assert values == {True: pytest.approx(1, rel=0.006), False: pytest.approx(1.02, rel=0.006)}  # samples have noise, too


@pytest.mark.parametrize("drift", [0.0, 0.003, -0.003])
def test_two_equal_files_never_pay(drift):
    words = [judged(1.0, drift=drift, seed=seed, noise=0.01).word for seed in range(60)]
    assert {*words} <= {DOES_NOT_PAY, UNCLEAR} and words.count(DOES_NOT_PAY) >= 30


def test_a_pace_that_changes_from_turn_to_turn_does_not_hide_a_gain():
    assert [judged(0.8, day=0.1, seed=seed).word for seed in range(10)] == [PAYS] * 10


@pytest.mark.parametrize("ratio", [1 / (1 + LEAST_GAIN) + 0.002, 1 / (1 + LEAST_GAIN) - 0.002])
def test_at_the_least_gain_nothing_is_proven(ratio):
    assert {judged(ratio, seed=seed).word for seed in range(10)} == {UNCLEAR}


def test_a_power_cap_and_its_clock_are_an_effect_of_the_precision():
    def state(megahertz):
        clock = Span(low=megahertz * 1e6, median=megahertz * 1e6, high=megahertz * 1e6)
        return GpuState(sm_clock=clock, reasons={"software power cap": 9}, readings=10)

    before, after = sides(0.5, device=T4)
    before, after = ([replace(run, gpu_state=state(clock)) for run in side] for side, clock in ((before, 800), (after, 1500)))
    assert "SM clock was 800 MHz in A and 1500 MHz in B" in compared(before, after).warning
    assert compared(before, after, same_work=False).warning == ""
    hot = [replace(run, gpu_state=replace(run.gpu_state, reasons={"thermal slowdown": 9})) for run in after]
    assert "thermal slowdown in 9 of 10 readings" in compared(before, hot, same_work=False).warning


# --- the verdict ---


@pytest.mark.parametrize(
    ("word", "reason", "given"),
    [
        (PAYS, "at least 99.73% of FP32's top-1 is kept (1000 images: 0 lost, 0 won)", {}),
        (PAYS, "at least 99.00% of FP32's top-1 is kept (268 images: 0 lost, 0 won)", {"accuracy": metrics(268)}),
        (PAYS, "seeded weights have no accuracy: this is about the speed only", {"weights": WEIGHTS}),
        (PAYS, "seeded weights have no accuracy: this is about the speed only", {"weights": WEIGHTS, "data": ""}),
        (DOES_NOT_PAY, "not faster by 3%: latency / FP32's is 1.09", {"ratio": 1.1}),
        (DOES_NOT_PAY, "not faster by 3%: latency / FP32's is 1.09", {"ratio": 1.1, "data": ""}),
        (
            DOES_NOT_PAY,
            "at most 96.02% of FP32's top-1 is kept, and 99% is allowed (1000 images: 50 lost, 0 won); leave out conv4_5",
            {"accuracy": metrics(lost=50), "block": "conv4_5"},
        ),
        (
            DOES_NOT_PAY,
            "the logits of an image have cosine 0.800 with the reference's (at least 0.9); leave out conv3_1",
            {"accuracy": metrics(cosine=0.8), "block": "conv3_1", "weights": WEIGHTS},
        ),
        (
            DOES_NOT_PAY,
            "a logit differs by 0.5 of max|logit|",
            {"accuracy": metrics(error=0.5), "precision": "fp16", "data": ""},
        ),
        (UNCLEAR, "accuracy not measured: add --data DIR", {"data": ""}),
        (UNCLEAR, "accuracy not measured: add --data DIR", {"data": "", "precision": "fp16"}),
        (
            UNCLEAR,
            "20 images (0 lost, 0 won) prove only that 88.08% of FP32's top-1 is kept, and 99% is needed; "
            "about 268 images like these decide: --data",
            {"accuracy": metrics(20)},
        ),
        (UNCLEAR, "more images like these decide nothing", {"accuracy": metrics(1000, lost=10)}),
        (UNCLEAR, "the runs prove nothing: a load; measure again without that", {"warning": "a load"}),
        (UNCLEAR, "4 runs do not show whether it is faster by 3%", {"ratio": 0.968}),
    ],
)
def test_a_verdict_has_its_reasons(word, reason, given):
    found = judged(**given)
    assert found.word == word
    assert reason in "; ".join(found.judgement.reasons)


def test_unclear_names_all_that_is_missing_and_a_reason_against_it_alone():
    both = judged(0.968, accuracy=metrics(20)).judgement
    assert len(both.reasons) == 2 and "runs decide: --runs" in both.reasons[0] and "268 images" in both.reasons[1]
    assert len(judged(1.5, accuracy=metrics(20)).judgement.reasons) == 1
    assert judged(1.5, accuracy=metrics(20)).word == DOES_NOT_PAY


def test_as_many_runs_as_are_asked_for_decide():
    found = judged(0.96, noise=0.0, day=0.0)
    assert found.word == UNCLEAR
    count = int(found.judgement.reasons[0].partition("about ")[2].split()[0])
    assert 4 < count <= 100 and count % 2 == 0
    assert judged(0.96, noise=0.0, day=0.0, count=count).word == PAYS


@pytest.mark.parametrize("precision", OTHERS)
def test_every_precision_has_verdicts(precision):
    assert judged(0.5, precision=precision, accuracy=metrics(cosine=1.0)).word == PAYS
    assert judged(1.5, precision=precision, accuracy=metrics(cosine=1.0)).word == DOES_NOT_PAY
    assert judged(0.5, precision=precision, accuracy=metrics(cosine=1.0), data="").word == UNCLEAR


# --- the record ---


def test_a_record_is_read_as_it_was_written(tmp_path):
    found = judged(accuracy=metrics(lost=50), block="conv4_5")
    write_record(tmp_path / "a-cpu-2c" / "verdicts" / f"{found.name}.json", found)
    (tmp_path / "a-cpu-2c" / "verdicts" / "cut.json").write_text('{"schema": 1')
    (tmp_path / "a-cpu-2c" / "verdicts" / "old.json").write_text('{"schema": 0}')
    read, complaints = load_verdicts(tmp_path)
    assert read == [found] and found.name == "dpn68-int8-b1-onnxruntime-trtzoo"
    assert [text.partition("verdicts/")[2].partition(":")[0] for text in complaints] == [
        "cut.json is damaged",
        "old.json has schema version 0; this trtzoo reads version 1.",
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda plain: plain["case"].update(precision="fp32"),
        lambda plain: plain["case"].update(precision="fp16"),
        lambda plain: plain["case"].update(precision="int3"),
        lambda plain: plain["case"].update(runtime="magic"),
        lambda plain: plain["case"].update(model="dpn92"),
        lambda plain: plain["device"].update(key="another"),
        lambda plain: plain["before"].update(precision="int8"),
        lambda plain: plain["before"].update(runs=[]),
        lambda plain: plain["before"]["runs"].pop(),
        lambda plain: plain["before"]["runs"][0].update(seconds=0),
        lambda plain: plain["before"]["runs"][0].update(seconds=1e5),
        lambda plain: plain["after"].update(bytes=-1),
        lambda plain: plain["accuracy"]["metrics"].update(images=0),
        lambda plain: plain["accuracy"]["metrics"]["labelled"].update(lost=2000),
        lambda plain: plain.update(left_out=-1),
        lambda plain: plain.update(started="yesterday"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change):
    plain = json.loads(encode(judged()))
    change(plain)
    with pytest.raises(Exception, match=r"^x\.json is damaged: [a-z_0-9]+ is "):
        decode(json.dumps(plain).encode(), Verdict, name="x.json")


def test_a_result_has_the_newest_verdict_on_its_case_file_and_versions():
    old, new = judged(0.5), judged(0.6)
    new = replace(new, started="2026-05-05T00:00:00+00:00")
    here = result_of(old)
    assert verdict_of(here, [new, old]) is new
    others = [replace(here, artifact_sha256="ef"), replace(here, versions={"onnxruntime": "9"})]
    others.append(replace(here, case=replace(here.case, batch=2)))
    assert [verdict_of(each, [old, new]) for each in others] == [None] * 3


# --- where it is shown ---


def test_the_tables_have_both_latencies_the_difference_and_the_sizes():
    row = judged(0.5, accuracy=metrics(1000, lost=6, won=2))
    speed, accuracy = tables([row, judged(1.2, data="", weights=WEIGHTS)])
    first, second = (dict(zip(speed.columns, cells, strict=True)) for cells in speed.rows)
    assert (first["verdict"].text, second["verdict"].text) == ("PAYS", "DOES NOT PAY (speed only)")
    assert first["ms"].value / first["FP32 ms"].value == pytest.approx(first["ratio"].value) == pytest.approx(0.5, rel=0.02)
    assert first["from"].value < first["ratio"].value < first["to"].value and first["runs"].text == "4+4"
    first, second = (dict(zip(accuracy.columns, cells, strict=True)) for cells in accuracy.rows)
    assert [first[name].text for name in ("images", "top-1, points", "FP32 MB", "MB")] == ["1000", "-0.40", "4.00", "1.00"]
    assert first["from"].value < -0.4 < first["to"].value
    assert [second[name].text for name in ("top-1, points", "from", "to", "kept, at least")] == ["—"] * 4
    assert "photographs of photographs and the golden sample: accuracy not measured" in accuracy.caption[0]
    assert "FP32 memory MiB" not in accuracy.columns and "leave out" not in accuracy.columns
    assert tables([]) == []


def test_different_types_of_input_and_output_are_told():
    row = judged()
    row = replace(row, after=replace(row.after, io="fp16"))
    assert "FP32 (fp32) and FP16 (int8) I/O." in tables([row])[0].caption[0]


def test_a_latency_has_its_verdict_beside_it_and_a_table_without_verdicts_has_no_such_column():
    row = judged(0.5)
    results = [result_of(row), result_of(row, case=replace(row.case, batch=4))]
    (table,) = [each for each in latency_tables(results, published=[], verdicts=[row]) if "INT8" in each.title]
    assert table.columns == ("Model", "CPU b1", "b1 pays", "CPU b4")
    assert table.rows[0][2].text == "PAYS" and table.rows[0][2].note == "; ".join(row.judgement.reasons)
    assert not any("pays" in name for each in latency_tables(results) for name in each.columns)


def test_page_records_and_explain_have_it():
    row = judged(0.5, weights=TRAINED)
    here = result_of(row)
    assert measured(here, [], [row]).verdict == cell_records([here], [], [], [row])[0]["verdict"] == "PAYS"
    facts = explain(Found("x.json", here), [row])
    assert facts["Pays"].startswith("PAYS: faster: latency / FP32's is 0.")
    assert facts["Judged"].endswith("4 runs of each file in turns, 1000 photographs of photographs, fingerprint ffffffffffff")
    assert "Pays" not in explain(Found("x.json", here))
    assert np.isfinite(row.ratio.value)
