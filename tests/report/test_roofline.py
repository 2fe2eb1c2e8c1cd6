"""Limits: by hand, from the peaks of the very card, and never where a peak is not known."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.report.results import T4, cell, gpu_result, result
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import CpuPeak, Device, Failure
from trtzoo.hardware.gpus import Card, find_card
from trtzoo.models.table import MODELS
from trtzoo.report.page.rows import measured
from trtzoo.report.published import document
from trtzoo.report.roofline import (
    BYTES,
    least_bytes,
    limit_doubt,
    limit_of,
    limit_of_published,
    limit_on_card,
    limit_share,
)
from trtzoo.report.tables.latency import limit_tables

DENSENET = MODELS["densenet121"]


def rated(inner, rate):
    """A result beside which the sgemm rate was measured."""
    return msgspec.structs.replace(inner, sgemm=rate)


def test_a_compute_bound_limit_is_flops_over_the_peak():
    limit = limit_of_published("t4", DENSENET, "fp32", 8)
    assert limit.bound == "compute"
    assert limit.seconds == pytest.approx(8 * 2 * 2_834_161_664 / 8.1e12)
    assert limit.source == "NVIDIA T4 data sheet"


def test_a_memory_bound_limit_is_weights_and_images_and_logits_once():
    limit = limit_of_published("t4", MODELS["dpn131"], "fp16", 1)
    assert limit.bound == "memory"
    assert limit.seconds == pytest.approx((79_254_504 * 2 + (3 * 224 * 224 + 1000) * 4) / 320e9)


def test_fp16_input_and_output_is_half_as_much():
    assert least_bytes(DENSENET, "fp16", 1, "fp32") - least_bytes(DENSENET, "fp16", 1, "fp16") == (3 * 224 * 224 + 1000) * 2


def test_cards_of_one_gpu_have_limits_of_their_own():
    slow, fast = (limit_on_card(find_card(f"Tesla V100-{form}-16GB"), DENSENET, "fp32", 8).seconds for form in ("PCIE", "SXM2"))
    assert slow / fast == pytest.approx(15.7 / 14)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16"])
def test_tf32_has_a_peak_of_its_own(precision):
    limits = {
        name: limit_on_card(find_card("NVIDIA A100-SXM4-80GB"), DENSENET, name, 8).seconds for name in ("fp32", "tf32", "fp16")
    }
    assert limits["fp32"] > limits["tf32"] > limits["fp16"]


def test_where_no_peak_is_known_there_is_no_limit():
    unknown = Device(key="gtx-970", name="NVIDIA GeForce GTX 970", kind="gpu", sm=52)
    assert (
        limit_of(result(device=unknown))
        is limit_of(result(device=T4, precision="tf32"))
        is limit_of(result())
        is limit_share(result())
        is None
    )


def test_a_processor_s_limit_is_the_sgemm_rate_measured_beside_it():
    found = rated(result(seconds=(0.05,) * 12), 145e9)
    assert limit_of(found).seconds == pytest.approx(DENSENET.flops / 145e9)
    assert limit_of(found).source == "sgemm measured beside it: 145 GFLOP/s"
    assert limit_share(found) == pytest.approx(DENSENET.flops / 145e9 / 0.05)
    assert limit_of(rated(result(precision="fp16"), 145e9)) is None


def peaked(other_load=0.0, seconds=0.05, **more):
    peak = CpuPeak(rate=400e9, low=380e9, kernel="NumPy's product", turns=5, threads=2, other_load=other_load)
    return result(seconds=(seconds,) * 12, peak=peak, **more)


def test_a_processor_s_limit_is_its_measured_peak_with_its_range():
    assert limit_of(peaked()).seconds == pytest.approx(DENSENET.flops / 400e9)
    assert limit_of(peaked()).source == "NumPy's product, 400 GFLOP/s, the best of 5 turns from 380"
    assert limit_doubt(peaked()) == ""
    assert limit_of(peaked(precision="fp16")) is None


def test_a_limit_measured_beside_other_programs_and_one_that_is_exceeded_are_marked_in_the_table():
    busy, fast = peaked(other_load=0.6), peaked(seconds=0.007, model="densenet121", batch=4)
    assert limit_doubt(busy) == "other programs used 0.6 of 2 cores while the limit was measured"
    exceeded = "FASTER THAN THE LIMIT, 810%: it is too low, or the runtime needs fewer FLOPs (Winograd)"
    assert limit_doubt(fast) == exceeded
    (table,) = limit_tables([busy, fast], published=[])
    assert cell(table, "densenet121", "b1 measured").note == limit_doubt(busy)
    assert (cell(table, "densenet121", "b4 measured").text, cell(table, "densenet121", "b4 measured").note) == (
        "809.8%",
        exceeded,
    )
    assert "faster than its limit" in measured(fast).marks and "faster than its limit" not in measured(busy).marks


def test_an_older_limit_by_pytorch_s_product_is_in_doubt():
    assert limit_doubt(rated(result(seconds=(0.05,) * 12), 145e9)) == (
        "the limit is PyTorch's matrix product, whose kernels are slow on some processors"
    )


def test_a_failed_result_has_a_limit_and_no_share():
    failed = gpu_result(seconds=(), failure=Failure(kind="crash", reason="so"))
    assert limit_of(failed) and limit_share(failed) is None


def test_published_cells_have_their_share_beside_the_measured_ones():
    tables = {table.title: table for table in limit_tables([gpu_result(seconds=(0.002,) * 12)])}
    assert list(tables) == [
        "Share of the limit, Tesla T4, tensorrt, FP32",
        "Share of the limit, Tesla V100, FP32",
        "Share of the limit, Tesla T4, FP16",
    ]
    table = tables["Share of the limit, Tesla T4, tensorrt, FP32"]
    assert cell(table, "densenet121", "b1 limit").text == "0.70"
    assert cell(table, "densenet121", "b1 published").text == "15.9%"
    assert cell(table, "densenet121", "b1 measured").text == "35.0%"
    assert cell(table, "densenet121", "b4 measured").text == "—"
    assert table.caption[1] == "Peaks: NVIDIA T4 data sheet."


def test_a_device_without_a_known_limit_has_no_table():
    assert len(limit_tables([result()])) == 3
    assert len(limit_tables([rated(result(), 145e9)])) == 4


def test_no_published_cell_is_over_its_limit():
    for gpu, by_precision in document().latency.items():
        for precision, rows in by_precision.items():
            for model, printed in rows.items():
                for batch, milliseconds in printed.items():
                    assert limit_of_published(gpu, MODELS[model], precision, int(batch[1:])).seconds * 1000 < milliseconds


@given(st.integers(1, 1024), st.floats(1e6, 1e16), st.floats(1e6, 1e13))
def test_a_limit_is_the_longer_of_both_times(batch, peak, bandwidth):
    limit = limit_on_card(Card("a card", fp32=peak, bandwidth=bandwidth), DENSENET, "fp32", batch)
    compute, memory = batch * DENSENET.flops / peak, least_bytes(DENSENET, "fp32", batch) / bandwidth
    assert limit.seconds == max(compute, memory)
    assert limit.bound == ("compute" if compute >= memory else "memory")


def test_every_graph_has_its_bytes():
    assert BYTES == {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
    assert {row.graph for row in PRECISIONS.values()} == BYTES.keys()
