"""MLPerf's real LoadGen drives a session."""

import re
import time

import numpy as np
import pytest

from trtzoo.benchmark.loops import mlperf_single_stream
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.records import Sample
from trtzoo.core.statistics import early_stopping

IMAGES = np.zeros((2, 3, 8, 8), np.float32)


class Sleeper:
    def __init__(self):
        self.taken = 0

    def sample(self):
        start = time.perf_counter()
        time.sleep(0.001)
        self.taken += 1
        total = time.perf_counter() - start
        return Sample(total=total, compute=total)


def test_loadgen_issues_one_query_after_another_until_both_minima_are_reached():
    session, start = Sleeper(), time.perf_counter()
    samples = mlperf_single_stream(session, MeasurementProtocol("p", seconds=0.5, queries=64, warm_up_queries=2), IMAGES)
    assert session.taken == len(samples) + 2
    assert len(samples) >= 64
    assert time.perf_counter() - start >= 0.5
    assert all(sample.total >= 0.001 for sample in samples)


@pytest.mark.parametrize("queries", [64, 100, 200, 881])
def test_early_stopping_discards_as_many_queries_as_loadgen(queries, tmp_path):
    """LoadGen's own summary of a run is compared with our formula."""
    mlperf_single_stream(Sleeper(), MeasurementProtocol("p", warm_up_queries=1, queries=queries), IMAGES, logs=str(tmp_path))
    summary = (tmp_path / "mlperf_log_summary.txt").read_text()
    done, discarded = (int(re.search(form, summary)[1]) for form in (r"queries \((\d+)\)", r"discard (\d+) highest"))
    assert early_stopping(list(range(done))) == done - 1 - discarded
