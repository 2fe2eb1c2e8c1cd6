"""Two networks on the same images, image by image: the statistics of a pair of logits arrays. Nothing is judged here.

A network's class is that of its largest logit, its top five the five largest; of equal logits the lower class comes first.
"""

import math
from collections.abc import Iterator

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import WrongOutputError
from trtzoo.verification.tolerances import LabelledOutcome, PairedMetrics

ROWS = 2048
"""Images at a time: a whole ImageNet of logits is never in memory as float64."""


def compare(logits: Array, reference: Array, labels: Array | None = None) -> PairedMetrics:
    """Logits (N, classes), each of any floating type, and labels (N,) where there are any.

    Raises WrongOutputError for another shape, for NaN or infinity, and for logits that are all the same.
    """
    _check(logits, reference)
    scale = max(float(np.abs(theirs).max()) for (theirs,) in _chunks(reference))
    columns = zip(*(_images(ours, theirs) for ours, theirs in _chunks(logits, reference)), strict=True)
    own, wanted, same_top5, error, square, cosine, margin = (np.concatenate(column) for column in columns)
    flipped = own != wanted
    scale = scale or 1.0
    return PairedMetrics(
        images=len(logits),
        same_top1=int((~flipped).sum()),
        same_top5=int(same_top5.sum()),
        flips=int(flipped.sum()),
        margin=float(margin.max()) / scale,
        error=float(error.max()) / scale,
        rms=math.sqrt(float(square.mean())) / scale,
        cosine=float(cosine.min()),
        worst=int(error.argmax()),
        labelled=None if labels is None else _labelled(own == labels, wanted == labels),
    )


def mcnemar(lost: int, won: int) -> float:
    """The exact two-sided p of so uneven a split of the images on which only one of the two is right."""
    n, few = lost + won, min(lost, won)
    ways, term = 0, 1
    for k in range(few + 1):
        ways += term
        term = term * (n - k) // (k + 1)
    return min(1.0, 2 * ways / (1 << n))


def _labelled(own: Array, wanted: Array) -> LabelledOutcome:
    lost, won = int((wanted & ~own).sum()), int((own & ~wanted).sum())
    return LabelledOutcome(reference=int(wanted.sum()), engine=int(own.sum()), lost=lost, won=won, p=mcnemar(lost, won))


def _check(logits: Array, reference: Array) -> None:
    if logits.shape != reference.shape:
        raise WrongOutputError(f"the output has shape {list(logits.shape)} where {list(reference.shape)} was expected")
    if bad := sum(int(np.count_nonzero(~np.isfinite(ours))) for (ours,) in _chunks(logits)):
        raise WrongOutputError(f"{bad} of {logits.size} logits are NaN or infinite")
    if (logits == logits.flat[0]).all():
        raise WrongOutputError(f"all logits are {logits.flat[0]:g}")


def _chunks(*arrays: Array) -> Iterator[tuple[Array, ...]]:
    """The same rows of each, as float64."""
    for start in range(0, len(arrays[0]), ROWS):
        yield tuple(np.asarray(array[start : start + ROWS], np.float64) for array in arrays)


def _images(ours: Array, theirs: Array) -> tuple[Array, ...]:
    """For each image: both classes, whether the five are the same, the largest and the mean square error, cosine, margin."""
    rows = np.arange(len(ours))
    mine, wanted = _first(ours, 5), _first(theirs, 5)
    own, right = mine[:, 0], wanted[:, 0]
    differences = ours - theirs
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = np.divide((ours * theirs).sum(axis=1), lengths, out=np.ones(len(ours)), where=lengths > 0)
    return (
        own,
        right,
        (np.sort(mine, axis=1) == np.sort(wanted, axis=1)).all(axis=1),
        np.abs(differences).max(axis=1),
        (differences**2).mean(axis=1),
        np.clip(cosine, -1, 1),
        theirs[rows, right] - theirs[rows, own],
    )


def _first(logits: Array, count: int) -> Array:
    """The classes of the `count` largest logits, the largest first."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :count]
