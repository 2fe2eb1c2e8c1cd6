"""Stage 3: latency. A sweep of cases, one process each; loops, protocols and warnings."""

from trtzoo.benchmark.protocols import PROTOCOLS, MeasurementProtocol, find_protocol, reported_latency
from trtzoo.benchmark.sweep import bench, bench_jobs, cases
from trtzoo.benchmark.warnings import WARNINGS, warning_sentence

__all__ = [
    "PROTOCOLS",
    "WARNINGS",
    "MeasurementProtocol",
    "bench",
    "bench_jobs",
    "cases",
    "find_protocol",
    "reported_latency",
    "warning_sentence",
]
