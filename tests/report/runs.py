"""Synthetic runs, for tests of comparisons and the page."""

from datetime import datetime, timedelta, timezone

import numpy as np

from tests.report.results import CHECK, DEVICE, weights
from trtzoo.core.records import Case, Result, Sample

BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)
WEIGHTS = weights("seeded")
KEYS = {"model", "precision", "batch", "runtime", "protocol", "cuda_graph", "wait", "flush_l2", "form"}


def run(seconds=0.02, *, at=0.0, device=DEVICE, samples=100, noise=0.01, seed=0, **more):
    """A run of about 2 s that began `at` seconds after BEGIN. The median of its samples is about `seconds`."""
    given = {"model": "dpn68", "precision": "fp32", "batch": 1, "runtime": "onnxruntime", "protocol": "trtzoo"} | more
    random = np.random.default_rng([seed, int(at)])
    taken = seconds * np.exp(random.normal(0, noise, samples))
    facts = {"versions": {"onnxruntime": "1.2.3"}, "threads": 2, "io": "fp32", "weights": WEIGHTS, "check": CHECK}
    return Result(
        case=Case(device=device.key, **{name: value for name, value in given.items() if name in KEYS}),
        device=device,
        started=(BEGIN + timedelta(seconds=at)).isoformat(),
        samples=tuple(Sample(total=float(value), compute=float(value)) for value in taken),
        **(facts | {name: value for name, value in given.items() if name not in KEYS}),
    )


def turns(count=3, *, slower=1.0, gap=30.0, day=0.02, seed=1, **more):
    """Interleaved runs of A and B. Both runs of a turn share its pace; `day` is the pace's standard deviation of log."""
    random = np.random.default_rng(seed)
    sides = ([], [])
    for turn in range(count):
        pace = 0.02 * np.exp(random.normal(0, day))
        for number, side in enumerate(sides):
            at = (2 * turn + number) * gap
            side.append(run(pace * (slower if number else 1) * np.exp(random.normal(0, 0.002)), at=at, seed=seed, **more))
    return sides
