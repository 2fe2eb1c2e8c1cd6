"""The golden sample: images and the float64 logits that a network must give for them, at whatever precision and batch.

Every later stage checks itself against it before it believes a number.
"""

from pathlib import Path

import numpy as np

from trtzoo.core.arrays import Array
from trtzoo.core.errors import StoreError, WrongOutputError
from trtzoo.core.records import GoldenCheck

IMAGES = 4


class Golden:
    """`images` (IMAGES, 3, S, S) float32, each value exact in FP16; `logits` (IMAGES, classes) float64."""

    def __init__(self, images: Array, logits: Array) -> None:
        self.images, self.logits = images, logits

    def batch(self, size: int) -> tuple[Array, Array]:
        """`size` images and their logits: the sample, repeated from its start."""
        rows = np.arange(size) % len(self.images)
        return self.images[rows], self.logits[rows]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, images=self.images.astype(np.float16), logits=self.logits)


def load(path: Path) -> Golden:
    """Raises StoreError for a file that is not a golden sample."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Golden(arrays["images"].astype(np.float32), arrays["logits"].astype(np.float64))
    except Exception as error:  # numpy, zipfile and zlib have an error each for every kind of damage
        raise StoreError(f"{path} is not a golden sample ({type(error).__name__}: {error}).") from error


def images(size: int, number: int = IMAGES) -> Array:
    """Blocky pictures with noise, (number, 3, size, size): unlike each other, near to normalised photographs in range."""
    random = np.random.default_rng(0)
    blocks = 4 + 3 * (np.arange(number) % IMAGES)
    pixels = np.arange(size)
    pictures = []
    for count in blocks:
        colours = random.random((3, count, count)) * 4 - 2
        cell = pixels * count // size
        pictures.append(colours[:, cell][:, :, cell] + random.random((3, size, size)) - 0.5)
    return np.stack(pictures).astype(np.float16).astype(np.float32)


def check_logits(logits: Array, reference: Array, *, tolerance: float) -> GoldenCheck:
    """Logits (N, classes) against the float64 reference: error = max|difference| / max|reference|.

    Raises WrongOutputError for another shape, NaN or infinity, zeros, one constant, and an error over `tolerance`.
    """
    if logits.shape != reference.shape:
        raise WrongOutputError(f"the output has shape {list(logits.shape)} where {list(reference.shape)} was expected")
    logits = logits.astype(np.float64)
    if not np.isfinite(logits).all():
        raise WrongOutputError(f"{np.count_nonzero(~np.isfinite(logits))} of {logits.size} logits are NaN or infinite")
    if np.ptp(logits) == 0:
        raise WrongOutputError(f"all logits are {logits.flat[0]:g}")
    scale = np.abs(reference).max()
    errors = np.abs(logits - reference).max(axis=1) / scale
    worst = int(errors.argmax())
    if errors[worst] > tolerance:
        raise WrongOutputError(f"logits differ by {errors[worst]:.2g} of max|logit| at image {worst} (allowed {tolerance:g})")
    return GoldenCheck(error=float(errors[worst]), tolerance=tolerance, images=len(logits))
