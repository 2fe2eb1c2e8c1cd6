"""Statistics of raw samples: pure functions over seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev

import msgspec


class Summary(msgspec.Struct, frozen=True):
    """Of one case's latencies, in seconds; `spread` is the coefficient of variation, standard deviation / mean."""

    count: int
    median: float
    mean: float
    p90: float
    p99: float
    minimum: float
    maximum: float
    spread: float


def percentile(values: Sequence[float], fraction: float) -> float:
    """trtexec's: sorted[n - 1 - floor((1 - fraction) n)], always one of the values. Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    index = len(ordered) - 1 - math.floor((1 - fraction) * len(ordered) + 1e-9)
    return ordered[max(0, min(index, len(ordered) - 1))]


def summarise(values: Sequence[float]) -> Summary:
    """Raises ValueError without values."""
    if not values:
        raise ValueError("no values")
    mean = fmean(values)
    return Summary(
        count=len(values),
        median=median(values),
        mean=mean,
        p90=percentile(values, 0.90),
        p99=percentile(values, 0.99),
        minimum=min(values),
        maximum=max(values),
        spread=stdev(values) / mean if len(values) > 1 and mean else 0.0,
    )
