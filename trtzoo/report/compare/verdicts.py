"""Is B slower than A? Statistics of runs and of pairs of them: pure functions.

The samples of one run lie closer together than two runs of one build do: the machine has its days, and each process its
luck with memory. So a run is one observation, and how far runs scatter is what counts:

- Inside a run neighbouring samples are alike, so blocks of them are drawn again, not single ones (Künsch 1989).
- Between runs the variance is taken from the runs that are there and from what is known beforehand, weighed by their degrees
  of freedom, and the interval is a t interval: the moderated t of Smyth (2004). One run a side rests on the second alone.
- Runs taken in turns, A B A B, are compared pair by pair: what the machine does to both is in neither ratio.
"""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist, fmean, pstdev

import msgspec
import numpy as np

from trtzoo.core.arrays import Array

MARGIN = 0.03
"""Builds are the same whose latencies are within 3 % of each other."""
APART, INTERLEAVED = 0.024, 0.015
"""Known beforehand: the standard deviation of log latency between two runs of one build, and of a pair's log ratio.

Runs measured had 0.012 to 0.021; a little more, for runs in a row hang together and show less scatter than there is.
"""
KNOWN = 4
"""How much that counts: as much as so many degrees of freedom."""
RESAMPLES = 100

SAME, FASTER, SLOWER, UNCLEAR = "SAME", "FASTER", "SLOWER", "UNCLEAR"


class Moment(msgspec.Struct, frozen=True):
    """A run in one number: the logarithm of its headline latency, and by how much that is uncertain (standard error)."""

    level: float
    error: float


class Ratio(msgspec.Struct, frozen=True):
    """Latency of B over latency of A, and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """SAME is proven, too: the whole interval is within MARGIN. Otherwise it has to leave out 1."""
        if self.low >= 1 / (1 + MARGIN) and self.high <= 1 + MARGIN:
            return SAME
        if self.low > 1:
            return SLOWER
        return FASTER if self.high < 1 else UNCLEAR

    def slower_than(self, share: float) -> bool:
        """Whether a slowdown by more than `share` (0.03 is 3 %) is proven."""
        return self.low > 1 + share


def moment(values: Sequence[float], statistic: Callable[[Array], float]) -> Moment:
    """`statistic` of a run's seconds, and its error by a circular block bootstrap."""
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
    """Of runs of A and of B; `interleaved` says that they are pairs, one after another, and as many of each."""
    if interleaved:
        changes = [new.level - old.level for old, new in zip(before, after, strict=True)]
        errors = [old.error**2 + new.error**2 for old, new in zip(before, after, strict=True)]
        reach = _reach([changes], INTERLEAVED**2 + fmean(errors))
        return _interval(fmean(changes), reach / math.sqrt(len(changes)))
    levels = [[run.level for run in side] for side in (before, after)]
    reach = _reach(levels, APART**2 + fmean(run.error**2 for run in (*before, *after)))
    return _interval(fmean(levels[1]) - fmean(levels[0]), reach * math.sqrt(sum(1 / len(side) for side in levels)))


def geometric_mean(ratios: Sequence[Ratio]) -> Ratio:
    """Its interval's ends are the ends' means: what cells have in common does not average out, and that is most of it."""
    logs = [[math.log(value) for value in (one.value, one.low, one.high)] for one in ratios]
    return Ratio(*(math.exp(fmean(column)) for column in zip(*logs, strict=True)))


def _reach(groups: Sequence[Sequence[float]], known: float) -> float:
    """How far 95 % of values lie from their group's mean: by a variance moderated by the one known beforehand.

    Where the groups' own variance is over twice the known one, this machine is not as known: then not less than by their own.
    """
    squares, own = sum((value - fmean(group)) ** 2 for group in groups for value in group), sum(map(len, groups)) - len(groups)
    reach = student(KNOWN + own) * math.sqrt((KNOWN * known + squares) / (KNOWN + own))
    return max(reach, student(own) * math.sqrt(squares / own)) if own and squares / own > 2 * known else reach


def _interval(middle: float, half: float) -> Ratio:
    return Ratio(*(math.exp(value) for value in (middle, middle - half, middle + half)))


def student(freedom: int) -> float:
    """The 97.5th percentile of Student's t, by its expansion (Abramowitz and Stegun 26.7.5), good to 0.001 from 4 on."""
    if freedom < 4:
        return (12.7062, 4.3027, 3.1824)[freedom - 1]
    z, n = NormalDist().inv_cdf(0.975), float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / n**power for power, term in enumerate(terms, start=1))
