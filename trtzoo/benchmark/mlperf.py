"""MLPerf's load generator drives the session. Its own summary is discarded: the samples are the session's."""

import tempfile
from pathlib import Path
from typing import Any

import mlperf_loadgen

from trtzoo.benchmark.loops import take_samples
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample
from trtzoo.runtimes.registry import Session


def single_stream(session: Session, protocol: MeasurementProtocol, images: Array, *, logs: Path | None = None) -> list[Sample]:
    """SingleStream, performance mode: one query after another, until both minima are reached.

    `logs` is a folder for LoadGen's own logs.
    """
    warm_up = take_samples(session, seconds=protocol.warm_up_seconds, queries=protocol.warm_up_queries)
    samples: list[Sample] = []

    def issue(queries: list[Any]) -> None:
        for query in queries:
            samples.append(session.sample())
            mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query.id, 0, 0)])

    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(protocol.seconds * 1000)
    settings.min_query_count = protocol.queries
    settings.single_stream_expected_latency_ns = max(1, round(warm_up[-1].total * 1e9))
    log_settings = mlperf_loadgen.LogSettings()
    log_settings.enable_trace = False
    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(len(images), len(images), lambda _: None, lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            log_settings.log_output.outdir = str(logs or folder)
            mlperf_loadgen.StartTestWithLogSettings(system, library, settings, log_settings)
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
    return samples
