"""Comparisons on a GPU whose clock changes: a power cap of both sides is a condition, one of a single side proves nothing."""

import numpy as np
import pytest
from msgspec.structs import replace

from tests.report.results import T4
from tests.report.runs import run
from trtzoo.core.records import GpuState, Sample, Span
from trtzoo.report.compare.cells import compare
from trtzoo.report.compare.table import table

STEADY = (1590, 1590, 1590)
FALLING = (900, 1100, 1590)


def on_t4(seconds=0.02, *, clock=STEADY, capped=0, begin=0, falls=False, **state):
    """Five runs of a T4; `clock` is in MHz, `capped` of 30 readings have the power cap's bit. `falls`: the run gets slower."""
    reasons = {"software power cap": capped} if capped else {}
    low, median, high = (megahertz * 1e6 for megahertz in clock)
    given = {"sm_clock": Span(low=low, median=median, high=high), "readings": 30, "reasons": reasons} | state
    runs = [run(seconds, at=begin + 100 * n, device=T4, runtime="tensorrt", gpu_state=GpuState(**given)) for n in range(5)]
    pace = np.linspace(0.75, 1.25, 100) if falls else np.ones(100)
    return [replace(each, samples=tuple(map(slower, each.samples, pace))) for each in runs]


def slower(sample, factor):
    return Sample(total=float(sample.total * factor), compute=float(sample.compute * factor))


def only_cell(*sides):
    (cell,) = compare(*sides).cells
    return cell


@pytest.mark.parametrize("capped", [30, 1])
def test_a_slowdown_is_proven_on_a_gpu_that_is_power_capped_on_both_sides(capped):
    """As on a T4: the clock falls from 1590 to 900 MHz while it is sampled, and the latency rises."""
    state = {"clock": FALLING, "capped": capped, "falls": True}
    cell = only_cell(on_t4(**state), on_t4(0.025, begin=900, **state))
    assert (cell.verdict, cell.warning, cell.left_out) == ("SLOWER", "", 0)
    assert cell.slower_than(0.03)


def test_the_same_build_is_no_slower_under_a_power_cap():
    state = {"clock": FALLING, "capped": 30, "falls": True}
    cell = only_cell(on_t4(**state), on_t4(begin=900, **state))
    assert cell.ratio.value == pytest.approx(1, abs=0.01)
    assert not cell.warning and not cell.slower_than(0.03)


@pytest.mark.parametrize(("before", "after", "side"), [(0, 30, "B"), (30, 0, "A")])
def test_a_power_cap_of_one_side_proves_nothing(before, after, side):
    cell = only_cell(on_t4(capped=before), on_t4(0.025, capped=after, begin=900))
    assert (cell.verdict, cell.warning) == ("UNCLEAR", f"software power cap in 30 of 30 readings, in {side} only")
    assert not cell.slower_than(0.03)


def test_a_capped_run_is_left_out_if_the_other_side_has_none():
    old, new = on_t4(), on_t4(0.025, begin=900)
    new[0] = on_t4(0.06, begin=900, capped=3)[0]
    cell = only_cell(old, new)
    assert (cell.left_out, cell.verdict) == (1, "SLOWER")
    assert cell.ratio.value == pytest.approx(1.25, rel=0.02)


@pytest.mark.parametrize("capped", [0, 30])
@pytest.mark.parametrize("field", ["sm_clock", "memory_clock"])
def test_clocks_that_differ_between_the_sides_prove_nothing(capped, field):
    spans = [Span(low=hertz, median=hertz, high=hertz) for hertz in (1590e6, 1200e6)]
    old, new = (on_t4(0.02 + n * 0.01, begin=900 * n, capped=capped, **{field: spans[n]}) for n in (0, 1))
    cell = only_cell(old, new)
    assert cell.verdict == "UNCLEAR" and not cell.slower_than(0.03)
    name = field.replace("sm_", "SM ").replace("_", " ")
    assert cell.warning.startswith(f"the {name} was 1590 MHz in A and 1200 MHz in B (limit 5% apart): lock the GPU at a clock")


def test_clocks_within_five_percent_are_the_same():
    assert not only_cell(on_t4(clock=(1590,) * 3), on_t4(0.025, clock=(1520,) * 3, begin=900)).warning


@pytest.mark.parametrize("reason", ["software thermal slowdown", "hardware slowdown", "hardware power brake"])
def test_other_slowdowns_disturb_even_if_both_sides_have_them(reason):
    state = {"clock": FALLING, "reasons": {reason: 3, "software power cap": 30}}
    cell = only_cell(on_t4(**state), on_t4(0.025, begin=900, **state))
    assert (cell.verdict, cell.warning) == ("UNCLEAR", f"{reason} in 3 of 30 readings")


def test_a_trend_at_a_steady_clock_is_not_the_power_cap_s():
    cell = only_cell(on_t4(capped=30, falls=True), on_t4(0.025, begin=900, capped=30, falls=True))
    assert cell.verdict == "UNCLEAR" and "the last third of the run" in cell.warning


def test_a_clock_that_varies_without_a_power_cap_disturbs():
    cell = only_cell(on_t4(clock=FALLING), on_t4(0.025, begin=900, clock=FALLING))
    assert (cell.verdict, cell.warning) == ("UNCLEAR", "the SM clock ran between 900 and 1590 MHz (limit 5%)")


def test_a_power_cap_of_both_sides_is_reported_with_its_clocks():
    shown = table(compare(on_t4(clock=FALLING, capped=30), on_t4(clock=(900, 1075, 1590), capped=2, begin=900)))
    assert "Software power cap on both sides, a condition of these cells: dpn68 fp32 b1." in shown.caption
    assert "Their median SM clocks: 1100 to 1100 MHz in A, 1075 to 1075 MHz in B." in shown.caption
    assert not any("power cap" in line for line in table(compare(on_t4(), on_t4(begin=900))).caption)
