"""When an engine may stand in for the PyTorch reference: limits for each precision, and for runtimes with Winograd kernels.

The limits come from the precision's arithmetic, not from measurements. A number with p bits of mantissa is off by at most
u = 2^-(p+1) of itself, by u/√3 on average. Each layer rounds its input and its weights, and such errors add like a random walk:
after 264 layers, the deepest network's, a logit is off by √(2·264)·u/√3 = 13 u of the logits' RMS. The largest of a million
such errors is five times that, and max|logit| is 3.5 times the RMS of 1000 logits: 19 u of max|logit|.

fp16   u = 2^-11: 9.3e-3. The limit is twice that, 2e-2: a trained network is less regular than a random walk.
bf16   Seven bits of mantissa, u = 2^-8: eight times FP16's limit, 0.16. Its range is FP32's.
tf32   The same ten bits of mantissa in every product, so FP16's limits; its sums and its range are FP32's.
fp32   u = 2^-24: rounding alone gives 1e-6. The order of a sum's terms is free, and a sum of K terms is off by about √K·u/2:
       18 u for K = 1300, a usual 3x3 convolution, again over 264 layers: 2e-5. The reference is FP32 itself and equally far
       off: both together 4e-5.

fp32 on a GPU   TensorRT and cuDNN choose Winograd's algorithm for 3x3 convolutions by speed. It multiplies transformed images
       and weights: F(4x4, 3x3) is off by 10.8 times as much as its products would be in a direct sum, F(2x2, 3x3) by 1.7 times
       (`growth` in benchmarks/winograd.py). Its sums have C = K/9 terms: 10.8·√144·u/2 = 65 u per layer, again over 264 layers:
       7e-5. F(2x2, 3x3) gives 10 u, less than a direct sum's 18 u. NVIDIA/TensorRT #2691 has an engine that is off by 4.5e-5.
       Our networks, computed so on a processor, are off by 5e-6 at most.
       On processors 2e-5 stays. OpenVINO and PyTorch choose direct convolutions on x86, by their own reports; on Arm, OpenVINO
       may choose Winograd's algorithm, which has not been tried. ONNX Runtime's are direct or matrix products (its maintainers
       in #12834); a branch of it has F(2x2, 3x3), which 2e-5 allows.

The RMS over all logits may be a quarter of that, as for noise; this detects an offset of every logit that stays within the
limit. At least 99 % of the reference's top-1 must be kept, as in MLPerf Inference, if classes are meaningful: with trained
weights and on photographs. Seeded weights and synthetic images have near ties everywhere. Top-5 sets, cosine, margin and
McNemar's p are reported but not judged: they explain a failure or a narrow pass.

int8   Eight bits are no matter of last digits: a step is 1/127 of a tensor's largest value, or about 5 % of its RMS.
fp8    Nor are three bits of mantissa: a value is off by up to 6 % of itself. Judged as int8 is:
       So the classes judge, where they are meaningful, and images must prove it: the lower 95 % limit of the share of the
       reference's right answers that are kept is at least 99 %. It is Tango's score interval of a paired difference (1998),
       the non-inferiority form of McNemar's test. Without a loss, it takes 268 images. Beside it, the cosine of every image's
       logits and the reference's is at least 0.9: the error is less than half of the logits.
"""

import math
from bisect import bisect_left

import msgspec
import numpy as np

from trtzoo.artifacts.golden import check_values
from trtzoo.core.arrays import Array
from trtzoo.core.precisions import PRECISIONS
from trtzoo.core.records import Record, Weights, are_not_negative, check
from trtzoo.core.statistics import Z
from trtzoo.core.system import limit_blas
from trtzoo.runtimes.registry import find_runtime

MIN_TOP1_KEPT = 0.99
ROWS = 2048  # images per step, so that the logits of a whole ImageNet are never in memory as float64


class LabelledOutcome(Record, frozen=True, kw_only=True):
    """How many images the `reference` and the `engine` classify right; one of them only: `lost`, `won`. `p` is McNemar's."""

    reference: int
    engine: int
    lost: int
    won: int
    p: float

    def __post_init__(self) -> None:
        counts = {"lost": 0 <= self.lost <= self.reference, "won": 0 <= self.won <= self.engine}
        check(self, engine=self.engine == self.reference - self.lost + self.won, p=0 <= self.p <= 1, **counts)


class PairedMetrics(Record, frozen=True, kw_only=True):
    """An engine against its reference. Errors are relative to max|logit| of the reference over all images.

    `flips` counts the images with another class; `margin` is the largest difference of the reference's logits for the two
    classes among them. `error` is the largest difference of a logit, at image number `worst`; `rms` is over all logits;
    `cosine` is the smallest of an image.
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

    def __post_init__(self) -> None:
        known, images = self.labelled, self.images
        counts = {name: 0 <= getattr(self, name) <= images for name in ("same_top1", "same_top5", "flips", "worst")}
        labelled = known is None or known.reference + known.won <= images
        amounts = are_not_negative(self, "margin", "error", "rms")
        check(self, images=0 < images < 1 << 40, cosine=-1 <= self.cosine <= 1, labelled=labelled, **counts, **amounts)

    @property
    def outcome(self) -> tuple[int, int, int]:
        """How many images the reference classifies right, and how many of them are lost, others won. Without labels, all."""
        known = self.labelled
        return (known.reference, known.lost, known.won) if known else (self.images, self.flips, 0)


class ParityVerdict(Record, frozen=True, kw_only=True):
    """The outcome for one engine: it passes if there are no `reasons`. `worst` is the title of the worst image.

    `reference` is what it was compared with, in words.
    """

    model: str
    precision: str
    batch: int
    runtime: str
    metrics: PairedMetrics | None = None
    reference: str = "PyTorch in FP32"
    worst: str = ""
    weights: Weights | None = None
    versions: dict[str, str] = msgspec.field(default_factory=dict)
    reasons: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.model} {self.precision} batch {self.batch} {self.runtime}"


class BlockError(msgspec.Struct, frozen=True):
    """What one block of a quantized graph adds, if it alone is quantized.

    `error` is the RMS of the logits' change / their RMS, `share` the block's part of the sum of all squares. `limit` bounds
    `error`: half of that at which the cosine of the logits is the least allowed.
    """

    block: str
    error: float
    share: float
    limit: float


class Divergence(msgspec.Struct, frozen=True):
    """The difference of a block's FP16 or BF16 tensors from its FP32 ones over all images, in its worst channel.

    `error` is the RMS of the channel's differences / the larger of its own RMS and its tensor's; infinite if there are
    `overflows`, values that are not finite. `largest` is max|value| in FP32. `limit` bounds `error` at the block's depth.
    """

    block: str
    error: float
    limit: float
    largest: float
    overflows: int


CONFIDENCE = 1.6449  # standard deviations: 95 %, one-sided
MOST_IMAGES = 10_000_000  # more are not asked for
RMS_SHARE = 0.25  # the limit of the RMS of all differences / the limit of one


def parity_limit(precision: str, runtime: str) -> float:
    """The limit of a logit's difference / the reference's max|logit|: the tolerances of both against float64."""
    return find_runtime(runtime).tolerance(precision) + PRECISIONS["fp32"].tolerance


def compare(logits: Array, reference: Array, labels: Array | None = None) -> PairedMetrics:
    """Compare logits (N, classes) of any floating type, image by image; `labels` (N,) are optional.

    A network's class is that of its largest logit; of equal logits the lower class comes first. Raises WrongOutputError for
    another shape, NaN or infinity, and logits that are all equal
    where the reference's are not.
    """
    check_values(logits, reference)
    steps = [slice(start, start + ROWS) for start in range(0, len(logits), ROWS)]
    parts = [_compare_rows(np.asarray(logits[rows], np.float64), np.asarray(reference[rows], np.float64)) for rows in steps]
    images = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    scale = float(max(reference.max(), -reference.min())) or 1.0
    same, labelled = images["top1"] == images["reference"], None
    if labels is not None:
        right, known = images["top1"] == labels, images["reference"] == labels
        lost, won = int((known & ~right).sum()), int((right & ~known).sum())
        p = mcnemar(lost, won)
        labelled = LabelledOutcome(reference=int(known.sum()), engine=int(right.sum()), lost=lost, won=won, p=p)
    return PairedMetrics(
        images=len(logits),
        same_top1=int(same.sum()),
        same_top5=int(images["same_top5"].sum()),
        flips=int((~same).sum()),
        margin=float(images["margin"].max()) / scale,
        error=float(images["error"].max()) / scale,
        rms=math.sqrt(float(images["square"].mean())) / scale,
        cosine=float(images["cosine"].min()),
        worst=int(images["error"].argmax()),
        labelled=labelled,
    )


def _compare_rows(logits: Array, reference: Array) -> dict[str, Array]:
    """Logits (N, classes) float64 → one value per image: both classes, whether the top five are the same set, and errors."""
    top5, expected = (np.argsort(-values, axis=1, kind="stable")[:, :5] for values in (logits, reference))
    differences = np.abs(logits - reference)
    norms = np.linalg.norm(logits, axis=1) * np.linalg.norm(reference, axis=1)
    cosine = np.divide((logits * reference).sum(axis=1), norms, out=np.ones(len(logits)), where=norms > 0)
    margin = np.take_along_axis(reference, expected[:, :1], axis=1) - np.take_along_axis(reference, top5[:, :1], axis=1)
    return {
        "top1": top5[:, 0],
        "reference": expected[:, 0],
        "same_top5": (np.sort(top5, axis=1) == np.sort(expected, axis=1)).all(axis=1),
        "error": differences.max(axis=1),
        "square": (differences**2).mean(axis=1),
        "cosine": np.clip(cosine, -1, 1),
        "margin": margin[:, 0],
    }


def mcnemar(lost: int, won: int) -> float:
    """The p-value of McNemar's exact two-sided test. Raises MachineError without scipy."""
    limit_blas()
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def kept_limit(*, known: float, lost: float, won: float, images: float) -> float:
    """The lower 95 % confidence limit of the share that is kept of `known` right answers, from paired outcomes."""
    return 1 + difference_limit(lost, won, images) * images / max(known, 1)


def kept_at_most(*, known: float, lost: float, won: float, images: float) -> float:
    """The upper 95 % confidence limit of that share."""
    return 1 - difference_limit(won, lost, images) * images / max(known, 1)


def difference_limit(lost: float, won: float, images: float, deviations: float = CONFIDENCE) -> float:
    """Tango's lower score limit of (won - lost) / images: the difference that these outcomes only just do not exclude."""
    low, high = -1.0, (won - lost) / images
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _score(middle, lost, won, images) >= deviations else (low, middle)
    return low


def difference_interval(metrics: PairedMetrics) -> tuple[float, float]:
    """The 95 % interval of the difference of top-1, the engine's - the reference's, on paired images (Tango 1998)."""
    _, lost, won = metrics.outcome
    return difference_limit(lost, won, metrics.images, Z), -difference_limit(won, lost, metrics.images, Z)


def images_needed(metrics: PairedMetrics) -> int | None:
    """About how many images with these shares of lost and won decide whether MIN_TOP1_KEPT is kept; None: over MOST_IMAGES."""
    known, lost, won = metrics.outcome

    def decides(images: int) -> bool:
        scale = images / metrics.images
        counts = {"known": known * scale, "lost": lost * scale, "won": won * scale, "images": images}
        return kept_limit(**counts) >= MIN_TOP1_KEPT or kept_at_most(**counts) < MIN_TOP1_KEPT

    enough = bisect_left(range(MOST_IMAGES), True, metrics.images, key=decides)
    return enough if enough < MOST_IMAGES else None


def _score(difference: float, lost: float, won: float, images: float) -> float:
    """The distance of the outcomes from a true difference, in the standard deviations that they would have then."""
    linear = -won - lost + (2 * images - won + lost) * difference
    constant = -lost * difference * (1 - difference)
    losing = (math.sqrt(max(linear**2 - 8 * images * constant, 0)) - linear) / (4 * images)
    variance = images * (2 * losing + difference * (1 - difference))
    return (won - lost - images * difference) / math.sqrt(variance) if variance > 0 else math.inf


ROUNDING = {"fp16": 2**-11, "bf16": 2**-8}
"""The largest relative error of rounding to a type, u above."""


def block_limit(layers: int, precision: str) -> float:
    """The limit of Divergence.error of a precision in ROUNDING after a number of layers.

    Eight times the random walk's √(2·layers)·u/√3: networks amplify, and the worst of a thousand channels exceeds the mean.
    """
    return float(8 * math.sqrt(2 * layers / 3) * ROUNDING[precision])


def judge(precision: str, runtime: str, metrics: PairedMetrics, *, classes_count: bool) -> list[str]:
    """The reasons why an engine fails; none if it passes. `classes_count` if classes are meaningful.

    Without labels the reference's classes count as right.
    """
    if PRECISIONS[precision].least_cosine is not None:
        return _judge_quantized(precision, metrics, classes_count=classes_count)
    reasons, limit = [], parity_limit(precision, runtime)
    if not metrics.error <= limit:
        reasons.append(f"a logit differs by {metrics.error:.2g} of max|logit| (limit for {precision}: {limit:.2g})")
    if not metrics.rms <= (limit := limit * RMS_SHARE):
        reasons.append(f"logits differ by {metrics.rms:.2g} of max|logit| RMS (limit for {precision}: {limit:.2g})")
    known, images = metrics.labelled, metrics.images
    if classes_count and known and known.engine < MIN_TOP1_KEPT * known.reference:
        reasons.append(
            f"{known.engine} of {images} images are classified right; the reference has {known.reference} "
            f"(at least {MIN_TOP1_KEPT:.0%} of them must be kept)"
        )
    if classes_count and not known and metrics.same_top1 < MIN_TOP1_KEPT * images:
        reasons.append(f"{metrics.flips} of {images} images have another class than the reference's (limit 1%)")
    return reasons


def _judge_quantized(precision: str, metrics: PairedMetrics, *, classes_count: bool) -> list[str]:
    reasons, least = [], PRECISIONS[precision].least_cosine or 0.0
    if not metrics.cosine >= least:
        reasons.append(f"the logits of an image have cosine {metrics.cosine:.3f} with the reference's (at least {least:g})")
    if classes_count and (kept := top1_kept(metrics)) < MIN_TOP1_KEPT:
        known, images = metrics.labelled, metrics.images
        what = f"{known.lost} lost, {known.won} won" if known else f"{metrics.flips} with another class"
        reasons.append(
            f"{images} images ({what}) do not prove that {MIN_TOP1_KEPT:.0%} of the reference's top-1 is kept: the lower 95 % "
            f"limit is {kept:.1%}"
        )
    return reasons


def top1_kept(metrics: PairedMetrics) -> float:
    """The lower 95 % limit of the share of the reference's right answers that are kept. Without labels, all are right."""
    known, lost, won = metrics.outcome
    return kept_limit(known=known, lost=lost, won=won, images=metrics.images)


def top1_kept_at_most(metrics: PairedMetrics) -> float:
    """The upper 95 % limit of that share."""
    known, lost, won = metrics.outcome
    return kept_at_most(known=known, lost=lost, won=won, images=metrics.images)
