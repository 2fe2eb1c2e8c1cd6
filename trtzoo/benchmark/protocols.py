"""PROTOCOLS: how a latency is measured and which number is reported, one table of protocols.toml each."""

from collections.abc import Callable
from statistics import fmean, median

import msgspec

from trtzoo.core.errors import find_row
from trtzoo.core.modules import read_rows
from trtzoo.core.records import Result, Sample
from trtzoo.core.statistics import early_stopping


class MeasurementProtocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`loop` warms up and then samples, each until both minima are reached, seconds and queries.

    The reported latency is `statistic` of `metric` (rows below). On a GPU `cuda_graph` is the default of --cuda-graph and
    `session_options` are passed to the session. `module` is a required package, installed by the extra `extra`.
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
    session_options: dict[str, bool] = {}
    module: str = ""
    extra: str = ""
    note: str = ""


STATISTICS: dict[str, Callable[[list[float]], float]] = {"median": median, "mean": fmean, "early-stopping p90": early_stopping}
METRICS: dict[str, Callable[[Sample], float]] = {
    "end to end": lambda sample: sample.total,
    "copies and compute": lambda sample: sample.h2d + sample.compute + sample.d2h,
    "compute": lambda sample: sample.compute,
}

PROTOCOLS = read_rows("trtzoo.benchmark", "protocols.toml", MeasurementProtocol)


def find_protocol(name: str) -> MeasurementProtocol:
    """The row called `name`, in any case. Raises UsageError that suggests the nearest name."""
    return find_row("protocol", name, PROTOCOLS)


def reported_latency(result: Result) -> float:
    """The latency of a good result, in seconds: the statistic of the metric that its protocol names.

    Raises KeyError for an unknown protocol.
    """
    row = PROTOCOLS[result.case.protocol]
    return STATISTICS[row.statistic]([METRICS[row.metric](sample) for sample in result.samples])
