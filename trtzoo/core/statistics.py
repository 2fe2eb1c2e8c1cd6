"""Statistics of raw samples: pure functions over seconds, without SciPy, whose import takes longer than most commands."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean, median

import msgspec

Z = 1.959964  # the normal distribution's 97.5th percentile


class Summary(msgspec.Struct, frozen=True):
    """Statistics of one case's latencies, in seconds; `spread` is the coefficient of variation, standard deviation / mean."""

    count: int
    median: float
    mean: float
    p90: float
    p99: float
    minimum: float
    maximum: float
    spread: float


def percentile(values: Sequence[float], fraction: float) -> float:
    """trtexec's percentile: sorted[n - 1 - floor((1 - fraction) n)], always one of the values. Raises ValueError if empty."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    index = len(ordered) - 1 - math.floor((1 - fraction) * len(ordered) + 1e-9)
    return ordered[max(0, min(index, len(ordered) - 1))]


def summarise(values: Sequence[float]) -> Summary:
    """Summarise latencies in seconds. Raises ValueError if there are none."""
    mean = fmean(values)  # the deviation is within 1e-12 of statistics.stdev, and ten times as fast
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / max(len(values) - 1, 1))
    return Summary(
        count=len(values),
        median=median(values),
        mean=mean,
        p90=percentile(values, 0.90),
        p99=percentile(values, 0.99),
        minimum=min(values),
        maximum=max(values),
        spread=deviation / mean if mean else 0.0,
    )


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median, if samples are independent. Raises ValueError if there are no values."""
    if not values:
        raise ValueError("no values")
    return _rank_interval(values, (len(values) + 1) // 2, len(values) // 2 + 1)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of many independent samples, by the normal distribution. Raises ValueError if empty."""
    found = summarise(values)
    half = Z * found.spread * found.mean / math.sqrt(found.count)
    return found.mean - half, found.mean + half


def early_stopping_interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of `early_stopping`, if samples are independent. Raises ValueError below 64 queries."""
    rank = _early_stopping_rank(len(values))
    return _rank_interval(values, rank, rank)


def _rank_interval(values: Sequence[float], lower: int, upper: int) -> tuple[float, float]:
    """The 95 % bootstrap interval of a value whose rank is `lower` to `upper` of n: both ends are order statistics.

    The r-th value of a resample is at most the j-th of all if at least r of n draws fall on the first j, so the bootstrap
    distribution is binomial (Maritz and Jarrett 1978).
    """
    ordered, n = sorted(values), len(values)
    low, high = (
        1 + bisect_right(range(1, n + 1), 0.025, key=lambda j: _at_most(j, n, rank)) for rank in (lower, n + 1 - upper)
    )
    return ordered[low - 1], ordered[n - high]


def _at_most(j: int, n: int, rank: int) -> float:
    """P(Binomial(n, j/n) >= rank): exact up to 60 values, then the normal approximation with continuity correction."""
    share = j / n
    if j == n:
        return 1.0
    if n > 60:
        return 0.5 * math.erfc((rank - 0.5 - j) / math.sqrt(2 * n * share * (1 - share)))
    return sum(math.comb(n, k) * share**k * (1 - share) ** (n - k) for k in range(rank, n + 1))


def proportion(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927)."""
    share = successes / trials
    middle, scale = share + Z * Z / (2 * trials), 1 + Z * Z / trials
    half = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    return (middle - half) / scale, (middle + half) / scale


def trend(values: Sequence[float]) -> float:
    """How much slower the last third of a run is than its first third: ratio of medians - 1; 0 below 9 values."""
    third = len(values) // 3
    if third < 3:
        return 0.0
    return median(values[-third:]) / median(values[:third]) - 1


def early_stopping(values: Sequence[float]) -> float:
    """MLPerf's estimate of the 90th percentile: with 99 % confidence, nine of ten queries are no slower.

    Raises ValueError below 64 queries.
    """
    return sorted(values)[_early_stopping_rank(len(values)) - 1]


def _early_stopping_rank(n: int) -> int:
    """LoadGen's early stopping for SingleStream: the rank, from 1, of the slowest query that it keeps of `n`.

    It discards one less than the largest t with P(Binomial(n, 0.1) <= t) <= 0.01; below 64 queries there is none to discard.
    """
    if n < 64:
        raise ValueError(f"{n} queries; at least 64 are needed")
    below, discarded = 0.0, -1
    while below <= 0.01:
        discarded += 1
        ways = math.lgamma(n + 1) - math.lgamma(discarded + 1) - math.lgamma(n - discarded + 1)
        below += math.exp(ways + discarded * math.log(0.1) + (n - discarded) * math.log(0.9))
    return n - discarded + 2
