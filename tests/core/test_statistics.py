"""Statistics of raw samples."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.core.statistics import (
    early_stopping,
    early_stopping_interval,
    mean_interval,
    median_interval,
    percentile,
    proportion,
    summarise,
    trend,
)

seconds = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200)


@given(seconds, st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_with_that_share_at_or_below_it(values, fraction):
    found = percentile(values, fraction)
    assert found in values
    assert sum(value <= found for value in values) >= fraction * len(values) - 1e-6


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)])
def test_percentiles_are_trtexec_s(fraction, expected):
    assert percentile([float(value) for value in (3, 1, 2, 10, 5, 4, 9, 8, 7, 6)], fraction) == expected


@given(seconds)
def test_a_summary_is_ordered(values):
    found = summarise(values)
    assert found.minimum <= found.median <= found.maximum
    assert found.minimum <= found.p90 <= found.p99 <= found.maximum
    assert found.count == len(values) and found.spread >= 0


@given(seconds, st.floats(0.1, 10))
def test_the_spread_does_not_depend_on_the_unit(values, factor):
    scaled = summarise([value * factor for value in values])
    assert scaled.spread == pytest.approx(summarise(values).spread, rel=1e-6, abs=1e-9)


def test_equal_samples_have_no_spread():
    assert summarise([0.25] * 7).spread == 0


@given(seconds)
def test_the_interval_holds_the_median_and_ends_on_samples(values):
    low, high = median_interval(values)
    assert low in values and high in values
    assert low <= summarise(values).median <= high


@given(st.lists(st.floats(1e-6, 1e3), min_size=64, max_size=300))
def test_the_interval_holds_mlperf_s_estimate_and_ends_on_samples(values):
    low, high = early_stopping_interval(values)
    assert low in values and high in values
    assert low <= early_stopping(values) <= high


@pytest.mark.parametrize("count", [5, 11, 40, 61, 200])
def test_the_interval_is_the_bootstrap_s(count):
    random = np.random.default_rng(count)
    values = random.lognormal(0, 0.1, count)
    gap = 2 * (np.sort(values)[1:] - np.sort(values)[:-1]).max()
    compare_with_bootstrap(median_interval, np.median, values, gap)


@pytest.mark.parametrize("count", [64, 100, 400])
def test_the_interval_of_mlperf_s_estimate_is_the_bootstrap_s(count):
    values = np.random.default_rng(count).lognormal(0, 0.1, count)
    rank = sorted(values).index(early_stopping(values.tolist()))
    gap = 2 * (np.sort(values)[1:] - np.sort(values)[:-1])[-rank // 4 :].max()
    compare_with_bootstrap(early_stopping_interval, lambda drawn, axis: np.sort(drawn, axis)[:, rank], values, gap)


@pytest.mark.parametrize("count", [100, 500])
def test_the_interval_of_the_mean_is_the_bootstrap_s(count):
    values = np.random.default_rng(count).lognormal(0, 0.1, count)
    compare_with_bootstrap(mean_interval, np.mean, values, 0.1 * values.std() / count**0.5)


def compare_with_bootstrap(interval, statistic, values, gap):
    resampled = statistic(np.random.default_rng(0).choice(values, (20_000, len(values))), axis=1)
    assert interval(values.tolist()) == pytest.approx(np.percentile(resampled, [2.5, 97.5]), rel=0, abs=gap)


@pytest.mark.parametrize("count", [15, 40, 100])
def test_the_interval_holds_the_true_median_nineteen_times_of_twenty(count):
    random = np.random.default_rng(7)
    intervals = [median_interval(random.lognormal(0, 0.2, count).tolist()) for _ in range(1000)]
    assert 0.93 <= np.mean([low <= 1 <= high for low, high in intervals]) <= 0.99


def test_the_trend_compares_the_last_third_with_the_first():
    assert trend([1.0] * 5 + [1.2] * 5 + [1.5] * 5) == pytest.approx(0.5)
    assert trend([1.0, 9.0] * 4) == 0.0


@given(st.integers(64, 30_000))
def test_mlperf_s_estimate_lies_at_or_above_the_ninetieth_percentile(count):
    values = list(range(count))
    assert percentile(values, 0.9) <= early_stopping(values) <= count - 1


def test_mlperf_s_estimate_needs_sixty_four_queries():
    for function in (early_stopping, early_stopping_interval):
        with pytest.raises(ValueError, match="63 queries; at least 64 are needed"):
            function([1.0] * 63)


@pytest.mark.parametrize("function", [summarise, median_interval, mean_interval, lambda values: percentile(values, 0.5)])
def test_no_values_have_no_statistics(function):
    with pytest.raises(ValueError, match=r"no values|requires at least one"):
        function([])


def test_the_interval_of_a_proportion_is_wilson_s():
    assert proportion(90, 100) == pytest.approx((0.8256343, 0.9447708), abs=1e-6)
    assert proportion(0, 10) == pytest.approx((0, 0.2775328), abs=1e-6)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_proportion_contains_it_and_lies_between_0_and_1(counts):
    low, high = proportion(*counts)
    assert -1e-12 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1 + 1e-12


@given(st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=200))
def test_the_spread_is_that_of_the_textbook(values):
    assert summarise(values).spread == pytest.approx(statistics.stdev(values) / statistics.fmean(values), rel=1e-9, abs=1e-12)
