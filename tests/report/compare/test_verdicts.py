"""Statistics of runs: what is proven, how often a verdict is wrong, and what determines an interval."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.report.compare.verdicts import APART, INTERLEAVED, MARGIN, Moment, Ratio, mean_ratio, moment, ratio, student

levels = st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=6)


def moments(values, error=0.001):
    return [Moment(value, error) for value in values]


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.98, 1.02, "SAME"),
        (1.001, 1.02, "SAME"),
        (0.99, 1.04, "UNCLEAR"),
        (1.001, 1.04, "SLOWER"),
        (0.90, 0.999, "FASTER"),
        (0.90, 1.0, "UNCLEAR"),
        (1 / 1.03, 1.03, "SAME"),
    ],
)
def test_a_verdict_needs_the_whole_interval(low, high, verdict):
    assert Ratio(math.sqrt(low * high), low, high).verdict == verdict


@pytest.mark.parametrize(
    ("freedom", "percentile"),
    [(1, 12.706), (2, 4.3027), (3, 3.1824), (4, 2.7764), (5, 2.5706), (8, 2.3060), (30, 2.0423), (1000, 1.9623)],
)
def test_students_percentiles_are_those_of_the_tables(freedom, percentile):
    assert student(freedom) == pytest.approx(percentile, abs=1e-3)


@given(levels, levels)
def test_a_against_b_is_the_inverse_of_b_against_a(before, after):
    there, back = (ratio(moments(a), moments(b), interleaved=False) for a, b in ((before, after), (after, before)))
    assert there.low <= there.value <= there.high
    assert (there.value, there.low, there.high) == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))


@given(levels, st.floats(-3, 3))
def test_a_factor_in_latency_is_the_ratio(before, factor):
    after = [level + factor for level in before]
    for interleaved in (False, True):
        assert ratio(moments(before), moments(after), interleaved=interleaved).value == pytest.approx(math.exp(factor))


def test_one_run_a_side_rests_on_the_prior():
    found = ratio(moments([0.0], 0), moments([0.0], 0), interleaved=False)
    assert math.log(found.high) == pytest.approx(student(4) * APART * math.sqrt(2))
    paired = ratio(moments([0.0], 0), moments([0.0], 0), interleaved=True)
    assert math.log(paired.high) == pytest.approx(student(4) * INTERLEAVED)


def test_interleaved_runs_ignore_what_both_share():
    before = [0.0, 0.2, -0.1]
    after = [level + 0.05 for level in before]
    assert ratio(moments(before), moments(after), interleaved=True).verdict == "SLOWER"
    assert ratio(moments(before), moments(after), interleaved=False).verdict == "UNCLEAR"


def test_a_spread_between_runs_widens_the_interval():
    quiet, noisy = (ratio(moments([-x, x]), moments([-x, x]), interleaved=False) for x in (0.005, 0.05))
    assert quiet.verdict == "UNCLEAR" and noisy.high > quiet.high > 1 + MARGIN


def test_autocorrelated_samples_are_less_certain_than_independent_ones():
    random = np.random.default_rng(0)
    independent = 1 + random.normal(0, 0.01, 400)
    correlated = 1 + np.repeat(random.normal(0, 0.01, 20), 20)
    assert moment(correlated, np.median).error > 2 * moment(independent, np.median).error


@pytest.mark.parametrize("size", [1, 2, 3, 10, 101])
def test_a_run_of_any_length_is_a_moment(size):
    values = np.random.default_rng(size).uniform(1, 2, size)
    found = moment(values.tolist(), np.median)
    assert found.level == pytest.approx(math.log(np.median(values)))
    assert found.error >= 0 and (size > 1 or found.error == 0)


def false_verdicts(runs, spread):
    """The share of FASTER and SLOWER among comparisons of one build whose runs have a standard deviation of `spread`."""
    random = np.random.default_rng(runs)
    sides = (moments(random.normal(0, spread, runs)) for _ in range(2000))
    verdicts = [ratio(before, after, interleaved=False).verdict for before, after in zip(sides, sides, strict=True)]
    return (verdicts.count("FASTER") + verdicts.count("SLOWER")) / len(verdicts)


@pytest.mark.parametrize("runs", [1, 2, 3, 5])
@pytest.mark.parametrize("spread", [APART / 4, APART / 2, APART])
def test_the_same_build_is_called_another_less_than_once_in_twenty(runs, spread):
    assert false_verdicts(runs, spread) <= 0.05


@pytest.mark.parametrize("runs", [2, 3, 5])
@pytest.mark.parametrize("spread", [1.5 * APART, 3 * APART, 10 * APART])
def test_repeated_runs_reveal_a_machine_noisier_than_the_prior(runs, spread):
    assert false_verdicts(runs, spread) <= 0.085


@pytest.mark.parametrize(("runs", "interleaved", "share"), [(5, False, 0.9), (3, True, 0.85), (5, True, 0.99)])
def test_a_slowdown_of_five_percent_is_found(runs, interleaved, share):
    random = np.random.default_rng(runs)
    found = 0
    for _ in range(1000):
        days = random.normal(0, 0.02, (2, runs))
        if interleaved:
            days = days[0] + random.normal(0, INTERLEAVED / math.sqrt(2), (2, runs))
        found += ratio(moments(days[0]), moments(days[1] + math.log(1.05)), interleaved=interleaved).verdict == "SLOWER"
    assert found / 1000 >= share


@given(st.lists(st.floats(0.5, 2), min_size=1, max_size=8))
def test_the_mean_ratio_lies_between_its_cells(values):
    mean = mean_ratio([Ratio(value, value / 1.02, value * 1.02) for value in values])
    assert min(values) * 0.999 <= mean.value <= max(values) * 1.001
    assert mean.high / mean.value == pytest.approx(1.02)
