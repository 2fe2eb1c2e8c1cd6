"""PROTOCOLS: how a latency is measured and which number is reported, one row each."""

from collections.abc import Callable
from statistics import fmean, median

import msgspec

from trtzoo.core.errors import find_row
from trtzoo.core.records import Result, Sample
from trtzoo.core.statistics import early_stopping


class MeasurementProtocol(msgspec.Struct, frozen=True):
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

PROTOCOLS: dict[str, MeasurementProtocol] = {
    row.name: row
    for row in (
        MeasurementProtocol(
            "trtzoo",
            warm_up_seconds=0.5,
            warm_up_queries=2,
            seconds=3.0,
            queries=10,
            note="one query outstanding, inputs in place; warm-up of 0.5 s and 2 queries, then at least 3 s and 10 queries",
        ),
        # The published tables: PaddleClas of 2020, deploy/…/predict.py --enable_benchmark.
        MeasurementProtocol(
            "paddle2020",
            loop="trtzoo.benchmark.loops:fresh_inputs",
            warm_up_queries=10,
            queries=500,
            statistic="mean",
            cuda_graph=False,
            session_options={"pinned": False},
            note="10 warm-ups, 500 runs; host clock around copy in, run, copy out and flatten; pageable memory, fresh input",
        ),
        # The defaults of trtexec before and since TensorRT 11.0. Its queue holds two queries and ours one: slightly slower.
        MeasurementProtocol(
            "trtexec10",
            warm_up_seconds=0.2,
            seconds=3.0,
            queries=10,
            metric="copies and compute",
            cuda_graph=False,
            note="trtexec 10's defaults: 0.2 s warm-up, at least 3 s and 10 iterations, copies counted; queue of one, not two",
        ),
        MeasurementProtocol(
            "trtexec11",
            warm_up_seconds=0.2,
            seconds=3.0,
            queries=10,
            metric="compute",
            session_options={"transfers": False},
            note="trtexec 11's defaults: as 10, with CUDA graph and without copies; queue of one, not two",
        ),
        MeasurementProtocol(
            "trial",
            warm_up_seconds=0.2,
            warm_up_queries=2,
            seconds=0.8,
            queries=5,
            note="the trials of --runtime auto: warm-up of 0.2 s and 2 queries, then at least 0.8 s and 5 queries",
        ),
        # MLPerf Inference rules: SingleStream, p90 by early stopping, at least 64 queries and 600 s.
        MeasurementProtocol(
            "mlperf-ss",
            loop="trtzoo.benchmark.mlperf:single_stream",
            warm_up_queries=2,
            seconds=600.0,
            queries=64,
            statistic="early-stopping p90",
            module="mlperf_loadgen",
            extra="mlperf",
            note="MLPerf LoadGen, SingleStream: one query outstanding, at least 600 s and 64 queries, early stopping",
        ),
    )
}


def find_protocol(name: str) -> MeasurementProtocol:
    """The row called `name`, in any case. Raises UsageError that suggests the nearest name."""
    return find_row("protocol", name, PROTOCOLS)


def reported_latency(result: Result) -> float:
    """The latency of a good result, in seconds: the statistic of the metric that its protocol names.

    Raises KeyError for an unknown protocol.
    """
    row = PROTOCOLS[result.case.protocol]
    return STATISTICS[row.statistic]([METRICS[row.metric](sample) for sample in result.samples])
