"""The loops that take samples: policy only. The session times its own inferences."""

import time

import numpy as np

from trtzoo.benchmark.protocols import MeasurementProtocol
from trtzoo.core.arrays import Array
from trtzoo.core.records import Sample
from trtzoo.runtimes.registry import Session

POOL = 16  # inputs that `fresh_inputs` cycles through: enough to defeat caching, and generated before timing starts


def steady(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """Warm up, then sample, each until both of the protocol's minima are reached."""
    take_samples(session, seconds=protocol.warm_up_seconds, queries=protocol.warm_up_queries)
    return take_samples(session, seconds=protocol.seconds, queries=protocol.queries)


def take_samples(session: Session, *, seconds: float, queries: int) -> list[Sample]:
    """Samples until their count reaches `queries` and their total time reaches `seconds`."""
    samples: list[Sample] = []
    elapsed = 0.0
    while len(samples) < queries or elapsed < seconds:
        samples.append(session.sample())
        elapsed += samples[-1].total
    return samples


def fresh_inputs(session: Session, protocol: MeasurementProtocol, images: Array) -> list[Sample]:
    """Host-clock time of `infer` with pageable images unlike the previous ones, including flattening the logits."""
    random = np.random.default_rng(0)
    pool = [random.random(images.shape, np.float32) for _ in range(POOL)]
    seconds = []
    for query in range(protocol.warm_up_queries + protocol.queries):
        start = time.perf_counter()
        session.infer(pool[query % POOL]).ravel()
        seconds.append(time.perf_counter() - start)
    return [Sample(total=value, compute=value) for value in seconds[protocol.warm_up_queries :]]
