"""MLPerf's own load generator drives the session; its verdict goes to a folder that is thrown away, its queries are ours."""

import tempfile
from pathlib import Path
from typing import Any

import mlperf_loadgen

from trtzoo.benchmark.loops import steady
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample
from trtzoo.runtimes.registry import Session


def single_stream(session: Session, protocol: MeasurementProtocol, images: Array, *, logs: Path | None = None) -> list[Sample]:
    """SingleStream, performance mode: LoadGen issues a query when the last is done, until both minima are reached.

    `logs` is a folder to keep LoadGen's own logs in.
    """
    first = steady(session, MeasurementProtocol("warm-up", queries=protocol.warm_up_queries), images)
    samples: list[Sample] = []

    def issue(queries: list[Any]) -> None:
        for query in queries:
            samples.append(session.sample())
            mlperf_loadgen.QuerySamplesComplete([mlperf_loadgen.QuerySampleResponse(query.id, 0, 0)])

    system = mlperf_loadgen.ConstructSUT(issue, lambda: None)
    library = mlperf_loadgen.ConstructQSL(len(images), len(images), lambda _: None, lambda _: None)
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = _settings(protocol, expected=first[-1].total)
            mlperf_loadgen.StartTestWithLogSettings(system, library, settings, _log_settings(str(logs or folder)))
    finally:
        mlperf_loadgen.DestroyQSL(library)
        mlperf_loadgen.DestroySUT(system)
    return samples


def _settings(protocol: MeasurementProtocol, *, expected: float) -> Any:
    settings = mlperf_loadgen.TestSettings()
    settings.scenario = mlperf_loadgen.TestScenario.SingleStream
    settings.mode = mlperf_loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms = round(protocol.seconds * 1000)
    settings.min_query_count = protocol.queries
    settings.single_stream_expected_latency_ns = max(1, round(expected * 1e9))
    return settings


def _log_settings(folder: str) -> Any:
    settings = mlperf_loadgen.LogSettings()
    settings.enable_trace = False
    settings.log_output = mlperf_loadgen.LogOutputSettings()
    settings.log_output.outdir = folder
    settings.log_output.copy_summary_to_stdout = False
    return settings
