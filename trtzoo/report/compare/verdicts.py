"""Is B slower than A? Statistics of runs and of pairs of runs: pure functions.

Samples within a run are autocorrelated, so each run counts as one observation. The spread between runs decides:

- Within a run, blocks of neighbouring samples are resampled instead of single samples (Künsch 1989).
- Between runs, the variance combines the observed one with a prior, weighted by degrees of freedom, and the interval is a t
  interval: the moderated t of Smyth (2004). One run a side rests on the prior alone.
- Interleaved runs, A B A B, are compared pair by pair, so what disturbs both runs of a pair cancels.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, pstdev

import msgspec
import numpy as np

from trtzoo.core.arrays import Array

MARGIN = 0.03
"""Two builds are the same if their latencies are within 3 % of each other."""
APART, INTERLEAVED = 0.024, 0.015
"""The prior: standard deviation of log latency between two runs of one build, and of the log ratio of an interleaved pair.

Measured runs had 0.012 to 0.021. The prior is a little larger because consecutive runs show less spread than there is.
"""
PRIOR_FREEDOM = 4
"""Degrees of freedom of the prior."""
RESAMPLES = 100

SAME, FASTER, SLOWER, UNCLEAR = "SAME", "FASTER", "SLOWER", "UNCLEAR"


class Moment(msgspec.Struct, frozen=True):
    """A run as one observation: the logarithm of its reported latency, and its standard error."""

    level: float
    error: float


class Ratio(msgspec.Struct, frozen=True):
    """Latency of B over latency of A, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """SAME if the whole interval is within MARGIN, SLOWER or FASTER if it excludes 1, else UNCLEAR."""
        if self.low >= 1 / (1 + MARGIN) and self.high <= 1 + MARGIN:
            return SAME
        if self.low > 1:
            return SLOWER
        return FASTER if self.high < 1 else UNCLEAR

    def slower_than(self, share: float) -> bool:
        """Return whether a slowdown of more than `share` (0.03 is 3 %) is proven."""
        return self.low > 1 + share


def moment(values: Sequence[float], statistic: Callable[[Array], float]) -> Moment:
    """Reduce a run's seconds to `statistic`, with its standard error from a circular block bootstrap."""
    seconds = np.asarray(values)
    size, length = len(seconds), math.isqrt(len(seconds))
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        starts = random.integers(size, size=-(-size // length))
        block = (starts[:, None] + np.arange(length)).ravel()[:size] % size
        drawn.append(math.log(statistic(seconds[block])))
    return Moment(math.log(statistic(seconds)), pstdev(drawn))


def ratio(before: Sequence[Moment], after: Sequence[Moment], *, interleaved: bool) -> Ratio:
    """Compare the runs of A with those of B. `interleaved` runs are pairs: as many of A as of B, each beside its partner."""
    if interleaved:
        changes = [new.level - old.level for old, new in zip(before, after, strict=True)]
        errors = [old.error**2 + new.error**2 for old, new in zip(before, after, strict=True)]
        reach = _reach([changes], INTERLEAVED**2 + fmean(errors))
        return _interval(fmean(changes), reach / math.sqrt(len(changes)))
    levels = [[run.level for run in side] for side in (before, after)]
    reach = _reach(levels, APART**2 + fmean(run.error**2 for run in (*before, *after)))
    return _interval(fmean(levels[1]) - fmean(levels[0]), reach * math.sqrt(sum(1 / len(side) for side in levels)))


def geometric_mean(ratios: Sequence[Ratio]) -> Ratio:
    """Average ratios and both ends of their intervals: most of the error is common to all cells and does not average out."""
    logs = [[math.log(value) for value in (one.value, one.low, one.high)] for one in ratios]
    return Ratio(*(math.exp(fmean(column)) for column in zip(*logs, strict=True)))


def _reach(groups: Sequence[Sequence[float]], prior: float) -> float:
    """Return the 95 % half-width of a value around its group's mean, from observed and `prior` variance.

    If the observed variance is over twice the prior, this machine is noisier than usual: then at least the observed half-width.
    """
    squares, own = sum((value - fmean(group)) ** 2 for group in groups for value in group), sum(map(len, groups)) - len(groups)
    reach = student(PRIOR_FREEDOM + own) * math.sqrt((PRIOR_FREEDOM * prior + squares) / (PRIOR_FREEDOM + own))
    return max(reach, student(own) * math.sqrt(squares / own)) if own and squares / own > 2 * prior else reach


def _interval(middle: float, half: float) -> Ratio:
    return Ratio(*(math.exp(value) for value in (middle, middle - half, middle + half)))


def student(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
