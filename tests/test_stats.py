"""Statistics of raw samples."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtzoo.stats import percentile, summarise

seconds = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=200)


@given(seconds, st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_with_that_share_at_or_below_it(values, fraction):
    found = percentile(values, fraction)
    assert found in values
    assert sum(value <= found for value in values) >= fraction * len(values) - 1e-6


@pytest.mark.parametrize(("fraction", "expected"), [(0.5, 5), (0.9, 9), (0.99, 10), (1.0, 10)])
def test_percentiles_are_trtexecs(fraction, expected):
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


@pytest.mark.parametrize("function", [summarise, lambda values: percentile(values, 0.5)])
def test_no_values_have_no_statistics(function):
    with pytest.raises(ValueError, match="no values"):
        function([])
