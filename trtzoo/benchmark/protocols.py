"""PROTOCOLS: how a latency is measured and which number is reported, one table of protocols.toml each."""

from collections.abc import Callable
from statistics import fmean, median
from typing import Literal

import msgspec
from msgspec.structs import replace

from trtzoo.core.errors import find_row
from trtzoo.core.modules import read_rows
from trtzoo.core.records import BenchJob, Result, Sample
from trtzoo.core.statistics import early_stopping, early_stopping_interval, mean_interval, median_interval


class MeasurementProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`loop` warms up and then samples, each until both minima are reached, seconds and queries.

    The reported latency is `statistic` of `metric` (rows below). For an engine `cuda_graph` and `wait` are the defaults of
    --cuda-graph and --wait; on a GPU `session_options` are passed to the session. `as_published`: it measures as the published
    tables' publisher did, so that ratios to those are shown. `module` is a required package, installed by the extra `extra`.
    """

    name: str
    loop: str = "trtzoo.benchmark.loops:steady"
    warm_up_seconds: float = 0.0
    warm_up_queries: int = 0
    seconds: float = 0.0
    queries: int = 1
    statistic: str = "median"
    metric: str = "end to end"
    cuda_graph: bool = True
    wait: Literal["spin", "block"] = "spin"
    session_options: dict[str, bool] = {}
    as_published: bool = False
    module: str = ""
    extra: str = ""
    note: str = ""


class Statistic(msgspec.Struct, frozen=True):
    """A value of samples, and the value's 95 % interval if the samples are independent."""

    value: Callable[[list[float]], float]
    interval: Callable[[list[float]], tuple[float, float]]


class Reported(msgspec.Struct, frozen=True):
    """The latency that a result reports, the ends of its 95 % interval, and all samples of its metric, in seconds."""

    statistic: str
    latency: float
    low: float
    high: float
    samples: list[float]


STATISTICS = {
    "median": Statistic(median, median_interval),
    "mean": Statistic(fmean, mean_interval),
    "early-stopping p90": Statistic(early_stopping, early_stopping_interval),
}
METRICS: dict[str, Callable[[Sample], float]] = {
    "end to end": lambda sample: sample.total,
    "copies and compute": lambda sample: sample.h2d + sample.compute + sample.d2h,
    "compute": lambda sample: sample.compute,
}

PROTOCOLS = read_rows("trtzoo.benchmark", "protocols.toml", MeasurementProtocol)


def find_protocol(name: str) -> MeasurementProtocol:
    """The row called `name`, in any case. Raises UsageError that suggests the nearest name."""
    return find_row("protocol", name, PROTOCOLS)


def job_protocol(job: BenchJob) -> MeasurementProtocol:
    """The protocol of a job's case, with the job's own minimum sampling time if that is longer."""
    row = find_protocol(job.case.protocol)
    return replace(row, seconds=max(row.seconds, job.seconds or 0.0))


def reported(result: Result) -> Reported:
    """What a good result reports: the statistic of the metric that its protocol names.

    Raises KeyError for an unknown protocol.
    """
    name, samples = PROTOCOLS[result.case.protocol].statistic, metric_seconds(result)
    return Reported(name, STATISTICS[name].value(samples), *STATISTICS[name].interval(samples), samples)


def reported_latency(result: Result) -> float:
    """The latency of a good result without its interval, which takes longer."""
    return STATISTICS[PROTOCOLS[result.case.protocol].statistic].value(metric_seconds(result))


def metric_seconds(result: Result) -> list[float]:
    """The samples in seconds, by the protocol's metric."""
    metric = METRICS[PROTOCOLS[result.case.protocol].metric]
    return [metric(sample) for sample in result.samples]
