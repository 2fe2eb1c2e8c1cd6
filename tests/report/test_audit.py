"""The audit: each check reports its findings, and finds an error that is put in."""

import msgspec
import pytest

from trtzoo.models.count import count
from trtzoo.models.table import MODELS
from trtzoo.report import audit
from trtzoo.report.audit import CHECKS, findings
from trtzoo.report.published import document


def of(check, verdict=None):
    return [row for row in check() if verdict in (None, row.verdict)]


@pytest.fixture
def printed(monkeypatch):
    """Changes one latency, or a field of one network's row, of the document that the audit reads."""

    def change(path, value):
        plain = msgspec.to_builtins(document())
        *way, last = path
        place = plain
        for name in way:
            place = place[name]
        assert last in place
        place[last] = value
        changed = msgspec.convert(plain, type(document()))
        monkeypatch.setattr(audit, "document", lambda: changed)

    return change


@pytest.mark.parametrize("name", MODELS)
def test_the_publisher_s_counter_still_gives_what_the_audit_says(name):
    assert count(MODELS[name], "paddle2019") == document().counted[name]


def test_findings_are_sorted_by_verdict_and_each_has_its_evidence():
    found = findings()
    assert list(dict.fromkeys(row.verdict for row in found)) == ["wrong", "doubtful", "holds"]
    assert all(row.claim.endswith(".") and row.evidence and row.subject for row in found)


def test_counts_of_dpn_are_wrong_and_two_figures_are_typing_errors():
    wrong = of(audit.counts, "wrong")
    assert {row.subject for row in wrong} == {"densenet264", *(name for name in MODELS if name.startswith("dpn"))}
    assert [(row.subject, row.evidence) for row in wrong if "typing error" in row.claim] == [
        ("densenet264", "exact 33.34 M; that counter gives 33.34 M"),
        ("dpn98", "exact 61.57 M; that counter gives 58.47 M"),
    ]
    (dpn68, _) = [row for row in wrong if row.subject == "dpn68"]
    assert dpn68.claim == "4.03 G FLOPs is -13.4% off the exact count."
    assert dpn68.evidence == "exact 4.65 G; the counter of 2019 gives 4.03, the publisher's of 2021 4.70"
    assert of(audit.counts, "holds")[0].claim == "10 of 20 counts are within 0.5% of the exact ones."


def test_a_count_that_is_off_is_found(printed):
    printed(("models", "densenet121", "gflops"), 5.8)
    claims = [row.claim for row in of(audit.counts, "wrong") if row.subject == "densenet121"]
    assert len(claims) == 2 and "typing error" in claims[0] and "+2.3%" in claims[1]


def test_accuracies_agree_with_the_later_page_and_one_that_did_not_is_found(printed):
    assert [row.verdict for row in of(audit.accuracies)] == ["holds"]
    printed(("models", "dpn92", "top5"), 0.950)
    assert [(row.verdict, row.subject, row.evidence) for row in of(audit.accuracies)] == [("wrong", "dpn92", "later 0.9480")]


def test_a_latency_under_the_limit_is_found(printed):
    assert of(audit.roofline, "wrong") == []
    assert [row.subject for row in of(audit.roofline, "doubtful")] == ["T4 FP16 b1"]
    printed(("latency", "t4", "fp32", "dpn107", "b8"), 30.0)
    (row,) = of(audit.roofline, "wrong")
    assert row.subject == "T4 FP32 b8" and "120.5% (dpn107)" in row.evidence


@pytest.mark.parametrize("value", [40.0, 150.0])
def test_a_batch_out_of_order_is_found(printed, value):
    assert [row.claim for row in of(audit.batches)] == ["40 steps of the batch take longer, but not longer per image."]
    printed(("latency", "t4", "fp32", "dpn131", "b8"), value)
    (row,) = of(audit.batches, "doubtful")
    assert row.subject == "dpn131, T4 FP32"
    assert of(audit.batches, "holds")[0].claim.startswith("39 steps")


def test_fp16_that_is_slower_than_fp32_is_found():
    assert [row.subject for row in of(audit.precisions)] == [
        *(f"dpn{size}, T4 b1" for size in (68, 92, 98, 107, 131)),
        "dpn68, T4 b4",
        "T4",
    ]
    assert of(audit.precisions)[-1].claim == (
        "FP16 is at most 1.77 times as fast as FP32, although the T4's peaks differ 8-fold."
    )


def test_a_deeper_network_that_is_faster_is_found(printed):
    assert [row.verdict for row in of(audit.widths)] == ["holds"]
    printed(("latency", "v100", "fp32", "densenet264", "b1"), 8.0)
    assert [row.claim for row in of(audit.widths, "doubtful")] == [
        "It is faster than densenet201, which has fewer FLOPs, parameters and layers."
    ]


def test_a_v100_that_is_slower_than_a_t4_is_found(printed):
    assert [row.subject for row in of(audit.devices)] == ["dpn68, FP32 b1", "dpn107, FP32 b1"]
    printed(("latency", "v100", "fp32", "dpn68", "b1"), 5.0)
    assert [row.subject for row in of(audit.devices)] == ["dpn107, FP32 b1"]


def test_equal_latencies_on_unequal_gpus_are_host_bound(printed):
    found = {row.subject: row for row in of(audit.host_bound)}
    assert set(found) == {f"{name}, b1" for name in MODELS if name != "densenet161"}
    assert found["dpn68, b1"].claim == (
        "The three latencies are within 1.3% of one another, although their limits are 7.1-fold apart: "
        "most likely the host was timed, not the GPU."
    )
    assert found["dpn68, b1"].evidence.startswith("V100 FP32 11.80 ms, T4 FP32 11.65 ms, T4 FP16 11.78 ms;")
    printed(("latency", "t4", "fp16", "dpn68", "b1"), 6.0)
    assert "dpn68, b1" not in {row.subject for row in of(audit.host_bound)}


def test_the_later_page_contradicts_every_v100_latency_and_itself():
    subjects = [row.subject for row in of(audit.later)]
    assert subjects[:10] == [f"{name}, V100 FP32 b1" for name in MODELS]
    assert subjects[10:] == [f"{name}, later V100 FP32" for name in ("dpn98", "dpn107", "dpn131")]


def test_the_footnote_contradicts_the_dates():
    (row,) = audit.footnote()
    note = document().footnote
    assert row.verdict == "wrong"
    assert note["first"] < note["newest_on"] < note["added"]
    assert [int(part) for part in note["newest"].split(".")] < [int(part) for part in note["version"].split(".")]


def test_every_check_has_a_finding():
    assert all(of(check) for check in CHECKS)
