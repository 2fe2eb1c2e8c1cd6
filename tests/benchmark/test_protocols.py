"""Protocols: the reported latency lies in the interval beside it, and both are of the protocol's metric."""

import pytest
from msgspec.structs import replace

from tests.report.runs import run
from trtzoo.benchmark.protocols import METRICS, PROTOCOLS, reported, reported_latency
from trtzoo.core.records import Sample

PARTS = tuple(Sample(total=0.016 + n * 1e-5, compute=0.0155 + n * 1e-6, h2d=1e-4, d2h=1e-4) for n in range(100))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_interval_is_of_the_reported_metric(protocol):
    found = reported(replace(run(protocol=protocol), samples=PARTS))
    assert found.samples == [METRICS[PROTOCOLS[protocol].metric](sample) for sample in PARTS]
    assert min(found.samples) < found.low <= found.latency <= found.high <= max(found.samples)
    assert found.statistic == PROTOCOLS[protocol].statistic


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_latency_without_its_interval_is_the_same(protocol):
    result = run(protocol=protocol)
    assert reported_latency(result) == reported(result).latency
