"""The loops that take samples: policy only. The session times its own inferences."""

import itertools
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample
from trtzoo.runtimes.registry import Session

POOL = 16  # inputs that `fresh_inputs` cycles through: enough to defeat caching, and generated before timing starts


def steady(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """Warm up, then sample, each until both of the protocol's minima are reached."""
    return _after_warm_up(session.sample, protocol)


def _after_warm_up(query: Callable[[], Sample], protocol: MeasurementProtocol) -> list[Sample]:
    take_samples(query, seconds=protocol.warm_up_seconds, queries=protocol.warm_up_queries)
    return take_samples(query, seconds=protocol.seconds, queries=protocol.queries)


def take_samples(query: Callable[[], Sample], *, seconds: float, queries: int) -> list[Sample]:
    """Samples until their count reaches `queries` and their total time reaches `seconds`."""
    samples: list[Sample] = []
    elapsed = 0.0
    while len(samples) < queries or elapsed < seconds:
        samples.append(query())
        elapsed += samples[-1].total
    return samples


def fresh_inputs(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """Host-clock time of `infer` with pageable images unlike the previous ones, including flattening the logits.

    The images have the network's type before the clock starts.
    """
    random = np.random.default_rng(0)
    pool = itertools.cycle([random.random(images.shape, np.float32) for _ in range(POOL)])

    def query() -> Sample:
        prepared = session.prepare(next(pool))
        start = time.perf_counter()
        session.infer(prepared).ravel()
        seconds = time.perf_counter() - start
        return Sample(total=seconds, compute=seconds)

    return _after_warm_up(query, protocol)


def mlperf_single_stream(session: Session, protocol: MeasurementProtocol, images: Array, *, logs: str = "") -> list[Sample]:
    """MLPerf's LoadGen issues one query after another (SingleStream, performance mode) until both minima are reached.

    Its own summary is discarded, or kept in the folder `logs`: the samples are the session's.
    """
    import mlperf_loadgen as loadgen

    warm_up = take_samples(session.sample, seconds=protocol.warm_up_seconds, queries=protocol.warm_up_queries)
    samples: list[Sample] = []

    def issue(queries: list[Any]) -> None:
        for query in queries:
            samples.append(session.sample())
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])

    settings, log_settings = loadgen.TestSettings(), loadgen.LogSettings()
    settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = round(protocol.seconds * 1000), protocol.queries
    # LoadGen plans as many queries as fit into the minimal duration by this latency, and ends early if they are faster
    settings.single_stream_expected_latency_ns = max(1, round(min(sample.total for sample in warm_up) / 4 * 1e9))
    log_settings.enable_trace = False
    system = loadgen.ConstructSUT(issue, lambda: None)
    library = loadgen.ConstructQSL(len(images), len(images), lambda _: None, lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            log_settings.log_output.outdir = logs or folder
            loadgen.StartTestWithLogSettings(system, library, settings, log_settings)
    finally:
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
    return samples
