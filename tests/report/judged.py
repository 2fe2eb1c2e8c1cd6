"""Verdicts with chosen numbers, and interleaved runs of two files on a machine that drifts."""

import math
from datetime import timedelta

import numpy as np
from msgspec.structs import replace

from tests.report.results import DEVICE, PREPROCESSING
from tests.report.runs import BEGIN, run
from trtzoo.core.records import Case, Identity, Weights
from trtzoo.report.verdict import Accuracy, Side, TimedRun, Verdict
from trtzoo.verification.tolerances import LabelledOutcome, PairedMetrics

TRAINED = Weights(source="paddle", origin="paddle", sha256="0" * 64, epsilon=1e-5, preprocessing=PREPROCESSING)


def metrics(images=1000, *, lost=0, won=0, known=None, **changes):
    """The reference is right about `known` images (None: all but those won); other fields are `changes`."""
    known = images - won if known is None else known
    outcome = LabelledOutcome(reference=known, engine=known - lost + won, lost=lost, won=won, p=1.0)
    given = {"same_top1": images - lost - won, "same_top5": images, "flips": lost + won, "margin": 0.0, "error": 0.0}
    given |= {"rms": 0.0, "cosine": 0.99, "worst": 0, "labelled": outcome} | changes
    return PairedMetrics(images=images, **given)


def latencies(ratio, *, count=4, drift=0.0, back_and_forth=True, noise=0.002, day=0.01, seed=0):
    """Seconds of FP32's runs and of a precision's, in turns, each with its place in the order of all.

    Every run is `drift` slower than the one before it, in log; `day` is the standard deviation of a turn's pace, `noise` that
    of a run's.
    """
    random = np.random.default_rng(seed)
    made = [], []
    for turn in range(count):
        pace = math.log(0.02) + random.normal(0, day)
        for place, side in enumerate((0, 1) if turn % 2 == 0 or not back_and_forth else (1, 0)):
            at = 2 * turn + place
            made[side].append((at, math.exp(pace + drift * at + random.normal(0, noise)) * (ratio if side else 1)))
    return made


def sides(ratio, *, precision="int8", device=DEVICE, **more):
    """The same as results, with samples."""
    made = latencies(ratio, **more)
    return [
        [run(seconds, at=5.0 * at, precision=name, samples=60, device=device) for at, seconds in side]
        for name, side in zip(("fp32", precision), made, strict=True)
    ]


def judged(ratio=0.5, *, accuracy=None, data="photographs", weights=TRAINED, warning="", block="", precision="int8", **more):
    """A verdict of synthetic runs. Without `data` the images are the golden sample."""
    before, after = (
        tuple(
            TimedRun(started=(BEGIN + timedelta(seconds=5 * at)).isoformat(), seconds=taken, error=0.001) for at, taken in side
        )
        for side in latencies(ratio, **more)
    )
    about = {"dataset": data, "fingerprint": "f" * 64} if data else {}
    return Verdict(
        case=Case(model="dpn68", precision=precision, batch=1, runtime="onnxruntime", device=DEVICE.key, protocol="trtzoo"),
        identity=Identity(model="dpn68", network="dpn68", weights=weights),
        device=DEVICE,
        versions={"onnxruntime": "1.2.3"},
        before=Side(precision="fp32", artifact_sha256="cd", io="fp32", bytes=4_000_000, runs=before),
        after=Side(precision=precision, artifact_sha256="ab", io="fp32", bytes=1_000_000, runs=after),
        interleaved=True,
        warning=warning,
        accuracy=Accuracy(reference="PyTorch in FP32", metrics=accuracy or metrics(), block=block, **about),
        started=before[0].started,
    )


def result_of(verdict, **changes):
    """A result of the precision that a verdict is on."""
    case: Case = verdict.case
    facts = {"artifact_sha256": verdict.artifact_sha256, "versions": verdict.versions, "weights": verdict.identity.weights}
    made = run(0.01, model=case.model, precision=case.precision, batch=case.batch, **facts)
    return replace(made, identity=verdict.identity, **changes)
