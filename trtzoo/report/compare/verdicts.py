"""Is B slower than A? Statistics of runs and of pairs of runs: pure functions.

Samples within a run are autocorrelated, so each run counts as one observation. The spread between runs decides:

- Within a run, blocks of neighbouring samples are resampled instead of single samples (Künsch 1989).
- Between runs, the variance combines the observed one with a prior, weighted by degrees of freedom, and the interval is a t
  interval: the moderated t of Smyth (2004). One run a side rests on the prior alone.
- Interleaved runs, A B A B, are compared pair by pair, so what disturbs both runs of a pair cancels.
"""

import math
from collections.abc import Callable, Sequence
from statistics import fmean, geometric_mean, pstdev

import msgspec
import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.system import limit_blas

MARGIN = 0.03  # two builds are the same if their latencies are within 3 % of each other
RESAMPLES = 100
PRIOR_FREEDOM = 4  # degrees of freedom of the prior
APART, INTERLEAVED = 0.024, 0.015
"""The prior: standard deviation of log latency between two runs of one build, and of the log ratio of an interleaved pair.

Measured runs had 0.012 to 0.021. The prior is a little larger because consecutive runs show less spread than there is.
"""

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


def moment(values: Sequence[float], statistic: Callable[[Array], float]) -> Moment:
    """Reduce a run's seconds to `statistic`, with its standard error from a circular block bootstrap."""
    seconds = np.asarray(values)
    size, length = len(seconds), math.isqrt(len(seconds))
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        blocks = random.integers(size, size=(-(-size // length), 1)) + np.arange(length)
        drawn.append(math.log(statistic(seconds[blocks.ravel()[:size] % size])))
    return Moment(math.log(statistic(seconds)), pstdev(drawn))


def ratio(before: Sequence[Moment], after: Sequence[Moment], *, interleaved: bool) -> Ratio:
    """Compare the runs of A with those of B. `interleaved` runs are pairs: as many of A as of B, each beside its partner.

    If the observed variance is over twice the prior, this machine is noisier than usual: then the interval has at least the
    width that the observed variance alone gives.
    """
    levels = [[run.level for run in side] for side in (before, after)]
    noise = fmean(run.error**2 for run in (*before, *after))
    if interleaved:
        groups, prior = [[new - old for old, new in zip(*levels, strict=True)]], INTERLEAVED**2 + 2 * noise
    else:
        groups, prior = levels, APART**2 + noise
    squares = sum((value - fmean(group)) ** 2 for group in groups for value in group)
    observed = sum(len(group) - 1 for group in groups)
    reach = student(PRIOR_FREEDOM + observed) * math.sqrt((PRIOR_FREEDOM * prior + squares) / (PRIOR_FREEDOM + observed))
    if squares > 2 * prior * observed > 0:
        reach = max(reach, student(observed) * math.sqrt(squares / observed))
    middle, half = fmean(levels[1]) - fmean(levels[0]), reach * math.sqrt(sum(1 / len(group) for group in groups))
    return Ratio(*map(math.exp, (middle, middle - half, middle + half)))


def mean_ratio(ratios: Sequence[Ratio]) -> Ratio:
    """Average ratios and both ends of their intervals: most of the error is common to all cells and does not average out."""
    return Ratio(*map(geometric_mean, zip(*map(msgspec.structs.astuple, ratios), strict=True)))


def student(freedom: int) -> float:
    """Return the 97.5th percentile of Student's t distribution."""
    limit_blas()
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.975))
