"""The loops that take samples: policy only. How one inference is timed is the session's business."""

import time

import numpy as np

from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample
from trtzoo.runtimes.registry import Session

POOL = 16
"""Different inputs that `fresh_inputs` goes through: as good as new ones, and made outside the timer."""


def steady(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """Warm up, then sample, each until both of the protocol's minima are reached; time is what the samples say."""
    _repeat(session, protocol.warm_up_seconds, protocol.warm_up_queries)
    return _repeat(session, protocol.seconds, protocol.queries)


def _repeat(session: Session, seconds: float, queries: int) -> list[Sample]:
    samples: list[Sample] = []
    elapsed = 0.0
    while len(samples) < queries or elapsed < seconds:
        samples.append(session.sample())
        elapsed += samples[-1].total
    return samples


def fresh_inputs(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """The host's clock around an inference of pageable images that it has not just seen, logits flattened."""
    random = np.random.default_rng(0)
    pool = [random.random(images.shape, np.float32) for _ in range(POOL)]
    seconds = []
    for query in range(protocol.warm_up_queries + protocol.queries):
        start = time.perf_counter()
        session.infer(pool[query % POOL]).ravel()
        seconds.append(time.perf_counter() - start)
    return [Sample(total=value, compute=value) for value in seconds[protocol.warm_up_queries :]]
