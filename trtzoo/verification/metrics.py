"""Statistics of two networks' logits on the same images, image by image. tolerances.py judges them.

A network's class is that of its largest logit; of equal logits the lower class comes first.
"""

import math

import numpy as np

from trtzoo.artifacts.golden import check_values
from trtzoo.core.arrays import Array
from trtzoo.core.modules import require_module
from trtzoo.verification.tolerances import LabelledOutcome, PairedMetrics

ROWS = 2048  # images per step, so that the logits of a whole ImageNet are never in memory as float64


def compare(logits: Array, reference: Array, labels: Array | None = None) -> PairedMetrics:
    """Compare logits (N, classes) of any floating type; `labels` (N,) are optional.

    Raises WrongOutputError for another shape, NaN or infinity, and logits that are all equal.
    """
    check_values(logits, reference.shape)
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
    require_module("trtzoo parity with labels", module="scipy", extra="eval")
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
