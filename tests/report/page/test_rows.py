"""Rows of the page: one for each result and each published number."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.pages import T4
from tests.report.runs import WEIGHTS, run
from trtzoo.accuracy.records import Evaluation
from trtzoo.benchmark.protocols import PROTOCOLS
from trtzoo.core.records import Device, Failure, GoldenCheck
from trtzoo.report.page.rows import histogram, measured, published
from trtzoo.report.published import all_cells, document

PADDLE = msgspec.structs.replace(WEIGHTS, source="paddle", sha256="ab")


def evaluation(**more):
    row = run(weights=PADDLE)
    given = {"model": "dpn68", "precision": "fp32", "runtime": "onnxruntime", "device": row.device, "weights": PADDLE}
    given |= {"batch": 8, "dataset": "d", "fingerprint": "f", "images": 1000, "top1": 700, "top5": 900}
    return Evaluation(**(given | {"artifact_sha256": ""} | more))


def test_every_published_latency_has_a_row():
    printed = {(cell.model, cell.precision, cell.batch, cell.gpu): cell.published for cell in published(all_cells())}
    assert len(published(all_cells())) == len(printed) == 70
    assert printed["dpn131", "fp16", 4, "Tesla T4"] == pytest.approx(33.01078e-3, rel=1e-4)
    assert printed["densenet121", "fp32", 1, "Tesla V100"] == pytest.approx(4.371e-3)


def test_only_the_published_gpu_has_a_ratio():
    here = measured(run(0.02, device=T4, runtime="tensorrt", batch=4, protocol="paddle2020"))
    assert here.ratio == pytest.approx(here.seconds / document().seconds("t4", "fp32", "dpn68", 4), rel=1e-4)
    other = Device(key="nvidia-a10", name="NVIDIA A10", kind="gpu", sm=86)
    for device in (run().device, other):
        cell = measured(run(0.02, device=device, batch=4, protocol="paddle2020"))
        assert (cell.ratio, cell.gpu) == (None, "Tesla T4")


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "paddle2020"])
def test_only_the_published_protocol_has_a_ratio(protocol):
    cell = measured(run(0.02, device=T4, runtime="tensorrt", batch=4, protocol=protocol))
    assert (cell.ratio, cell.gpu) == (None, "Tesla T4")
    assert cell.published == pytest.approx(12.82807e-3)


def test_an_unpublished_batch_has_no_published_latency():
    cell = measured(run(0.02, device=T4, batch=16))
    assert (cell.published, cell.ratio, cell.gpu) == (None, None, "")


def test_a_v100_is_compared_with_a_v100():
    v100 = Device(key="tesla-v100", name="Tesla V100-SXM2-16GB", kind="gpu", sm=70)
    assert measured(run(0.02, device=v100)).published == pytest.approx(11.805e-3)
    assert measured(run(0.02, device=v100, precision="fp16")).published is None


def test_a_failed_case_has_a_reason_and_no_number():
    cell = measured(run(samples=0, failure=Failure(kind="memory", reason="too large")))
    assert (cell.state, cell.note, cell.seconds, cell.histogram) == ("failed", "memory: too large", None, None)


def test_every_latency_has_an_interval():
    for protocol in ("trtzoo", "paddle2020", "mlperf-ss"):
        cell = measured(run(device=T4, protocol=protocol))
        assert cell.low < cell.seconds <= cell.high


def test_an_untrustworthy_number_is_marked():
    assert measured(run()).marks == ("seeded weights",)
    assert measured(run(weights=PADDLE)).marks == ()
    assert measured(run(weights=PADDLE, check=None)).marks == ("outputs not checked",)
    wrong = GoldenCheck(error=0.1, tolerance=2e-5, images=4)
    assert measured(run(weights=PADDLE, check=wrong)).marks == ("wrong outputs",)
    assert measured(run(weights=PADDLE, noise=0.5)).state == "doubtful"
    assert measured(run(weights=PADDLE)).state == "measured"


NO_IMAGES = {"images": 0, "top1": 0, "top5": 0}


def test_accuracy_is_measured_with_the_same_weights_or_else_published():
    row, printed = run(weights=PADDLE), document().models["dpn68"].top1
    assert (measured(row, [evaluation()]).top1, measured(row, [evaluation()]).evaluated) == (0.7, True)
    others = (
        {"precision": "fp16"},
        {"runtime": "openvino"},
        {"model": "dpn92"},
        NO_IMAGES,
        {"classes": 10},
        {"size": 32},
    )
    for other in (*others, {"weights": WEIGHTS}):
        cell = measured(row, [evaluation(**other)])
        assert (cell.top1, cell.evaluated) == (printed, False)


def test_seeded_weights_have_no_accuracy_of_their_own():
    assert not measured(run(), [evaluation(weights=WEIGHTS, top1=1)]).evaluated


@given(st.lists(st.floats(min_value=1e-5, max_value=10), min_size=1, max_size=400))
def test_a_histogram_counts_every_sample_once(samples):
    found = histogram(samples)
    assert sum(found.counts) + found.beyond == len(samples)
    assert found.beyond <= len(samples) // 100
    assert found.start == pytest.approx(min(samples), rel=1e-4)
    assert found.slowest == pytest.approx(max(samples), rel=1e-4)


def test_one_slow_sample_does_not_squeeze_the_rest_into_one_bin():
    found = histogram([0.010 + index * 1e-6 for index in range(999)] + [5.0])
    assert (found.beyond, found.slowest) == (10, 5.0)
    assert min(found.counts) > 0


def test_equal_samples_are_one_bin():
    assert histogram([0.5] * 7).counts == [7]
