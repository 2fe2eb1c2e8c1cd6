"""The loops that take samples."""

import time
from statistics import median

import numpy as np
import pytest

from trtzoo.benchmark.loops import POOL, fresh_inputs, steady
from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.records import Sample

IMAGES = np.zeros((2, 3, 8, 8), np.float32)


class Clockwork:
    """A session whose queries each take `seconds`; it records the images it receives."""

    def __init__(self, seconds=0.001):
        self.seconds, self.taken, self.seen = seconds, 0, []

    def sample(self):
        self.taken += 1
        return Sample(total=self.seconds, compute=self.seconds)

    def prepare(self, images):
        time.sleep(0.002)
        return images.astype(np.float16)

    def infer(self, images):
        self.seen.append(images)
        return np.zeros((len(images), 10))


@pytest.mark.parametrize(
    ("seconds", "warm_up", "samples"),
    [(0.001, 500, 3000), (1.0, 2, 10), (0.25, 2, 12)],
)
def test_both_minima_of_warm_up_and_of_sampling_are_reached(seconds, warm_up, samples):
    session = Clockwork(seconds)
    taken = steady(session, MeasurementProtocol("p", warm_up_seconds=0.5, warm_up_queries=2, seconds=3.0, queries=10), IMAGES)
    assert len(taken) == pytest.approx(samples, abs=2)
    assert session.taken - len(taken) == pytest.approx(warm_up, abs=2)


def test_fresh_inputs_differ_from_the_previous_ones_and_are_timed_on_the_host():
    session = Clockwork()
    taken = fresh_inputs(session, MeasurementProtocol("p", warm_up_queries=10, queries=50), IMAGES)
    assert len(taken) == 50 and len(session.seen) == 60
    assert all(sample.total == sample.compute > 0 for sample in taken)
    assert len({images.tobytes() for images in session.seen}) == POOL
    assert all(one is not next_one for one, next_one in zip(session.seen, session.seen[1:], strict=False))
    assert session.seen[0].shape == IMAGES.shape


def test_fresh_inputs_are_converted_to_the_networks_type_before_the_clock_starts():
    session = Clockwork()
    taken = fresh_inputs(session, MeasurementProtocol("p", queries=20), IMAGES)
    assert {images.dtype.name for images in session.seen} == {"float16"}
    assert median(sample.total for sample in taken) < 0.002  # what preparing one takes


def test_fresh_inputs_are_sampled_for_the_protocols_seconds(monkeypatch):
    session = Clockwork()
    monkeypatch.setattr(session, "infer", lambda images: time.sleep(0.01) or IMAGES)
    taken = fresh_inputs(session, MeasurementProtocol("p", warm_up_queries=1, queries=2, seconds=0.3), IMAGES)
    assert 10 < len(taken) <= 30 and sum(sample.total for sample in taken) >= 0.3
