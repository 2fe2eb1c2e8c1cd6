"""TOLERANCES: when an engine may stand in for the PyTorch reference, one row a precision.

The limits are made of the precision's own arithmetic, not of what happened to be measured. A number kept in p bits of mantissa
is off by at most u = 2^-(p+1) of itself, by u/√3 on average. Each layer rounds its input and its weights, and such errors add
like a random walk, so after 264 layers, the deepest network's, a logit is off by √(2·264)·u/√3 = 13 u of the logits' RMS. The
largest of a million such errors is five times that, and max|logit| is 3.5 times the RMS of 1000 logits: 19 u of max|logit|.

fp16   u = 2^-11: 9.3e-3. Allowed is twice that, 2e-2: a trained network is not as well-behaved as a random walk.
tf32   the same ten bits of mantissa in every product, so FP16's limits; its sums and its range are FP32's.
fp32   u = 2^-24: rounding alone gives 1e-6. The order of a sum's terms is free, and one of K terms is off by about √K·u/2:
       18 u for K = 1300, a usual 3x3 convolution, again over 264 layers: 2e-5. The reference is FP32 itself and as far off:
       both together 4e-5.

The RMS over all logits may be a quarter of that: so it is of errors that are like noise, and an offset that touches every
logit is found though none of them leaves the limit. Of the reference's top-1 at least 99 % must be kept, as in MLPerf
Inference, where classes mean something: with trained weights and on photographs. Seeded weights and made-up images have near
ties everywhere. Top-5 sets, cosine, margin and McNemar's p are told and not judged: they explain a failure, or a pass that is
near to one.
"""

import math

import msgspec

from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Record, Weights

MIN_TOP1_KEPT = 0.99


class LabelledOutcome(Record, frozen=True, kw_only=True):
    """What flips do where classes are known: `lost` were right and are wrong, `won` the other way. `p` is McNemar's."""

    reference: int
    engine: int
    lost: int
    won: int
    p: float


class PairedMetrics(Record, frozen=True, kw_only=True):
    """An engine against its reference; errors are relative to max|logit| of the reference over all images.

    `flips` is the images with another class; `margin` the most by which the reference preferred its class to the engine's at
    one of them. `error` is the largest difference of a logit, at image number `worst`; `rms` that of all of them; `cosine` the
    least of an image.
    """

    images: int
    same_top1: int
    same_top5: int
    flips: int
    margin: float
    error: float
    rms: float
    cosine: float
    worst: int
    labelled: LabelledOutcome | None = None


class ParityVerdict(Record, frozen=True, kw_only=True):
    """How an engine did; `reasons` say what it failed in, none that it may stand in. `worst` names the image."""

    model: str
    precision: str
    batch: int
    runtime: str
    metrics: PairedMetrics | None = None
    worst: str = ""
    weights: Weights | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.model} {self.precision} batch {self.batch} {self.runtime}"


class Tolerance(msgspec.Struct, frozen=True):
    """The largest allowed difference of a logit and their largest RMS, both relative to the reference's max|logit|."""

    precision: str
    error: float

    @property
    def rms(self) -> float:
        return self.error / 4


class Divergence(msgspec.Struct, frozen=True):
    """How far apart a block's tensors are, FP16 from FP32, over all images, in its worst channel.

    `error` is the RMS of the channel's differences / the larger of its own RMS and its tensor's: infinite where FP16 has
    `overflows`, values that are not finite. `largest` is max|value| in FP32. `limit` bounds the error of so deep a block.
    """

    block: str
    error: float
    limit: float
    largest: float
    overflows: int


TOLERANCES: dict[str, Tolerance] = {
    name: Tolerance(name, error=row.tolerance + PRECISIONS["fp32"].tolerance) for name, row in PRECISIONS.items()
}
"""An engine's tolerance against float64, and the reference's own."""


def block_limit(layers: int) -> float:
    """How far FP16 tensors may be from FP32 ones after so many layers, relative to their RMS, in their worst channel.

    Eight times the random walk's √(2·layers)·u/√3: networks amplify, and the worst of a thousand channels is not the mean.
    """
    return float(8 * math.sqrt(2 * layers / 3) * 2**-11)


def judge(policy: Tolerance, found: PairedMetrics, *, classes_count: bool) -> list[str]:
    """What an engine fails in, a sentence each; none: it may stand in. `classes_count`: its classes mean something."""
    reasons = []
    if not found.error <= policy.error:
        reasons.append(f"a logit differs by {found.error:.2g} of max|logit| ({policy.precision} may by {policy.error:.2g})")
    if not found.rms <= policy.rms:
        reasons.append(f"logits differ by {found.rms:.2g} of max|logit| RMS ({policy.precision} may by {policy.rms:.2g})")
    if classes_count:
        reasons += _classes(found)
    return reasons


def _classes(found: PairedMetrics) -> list[str]:
    """Without labels the reference's own classes stand for them."""
    if known := found.labelled:
        if known.engine < MIN_TOP1_KEPT * known.reference:
            return [
                f"{known.engine} of {found.images} images are classified right where the reference has {known.reference} "
                f"(at least {MIN_TOP1_KEPT:.0%} of them must be kept)"
            ]
    elif found.same_top1 < MIN_TOP1_KEPT * found.images:
        return [f"{found.flips} of {found.images} images have another class than the reference's (at most 1% may)"]
    return []
