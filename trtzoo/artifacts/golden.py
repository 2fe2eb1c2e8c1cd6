"""The golden sample: images and a network's float64 logits for them. Every later stage checks its own output against it."""

from pathlib import Path

import msgspec
import numpy as np

from trtzoo.core.archives import open_archive
from trtzoo.core.arrays import Array
from trtzoo.core.errors import StoreError, WrongOutputError
from trtzoo.core.records import GoldenCheck

IMAGES = 4


class Golden(msgspec.Struct, frozen=True, eq=False):
    """`images` (IMAGES, 3, H, W) float32, each value exact in FP16; `logits` (IMAGES, classes) float64."""

    images: Array
    logits: Array

    def batch(self, size: int) -> tuple[Array, Array]:
        """Images (size, 3, H, W) and logits (size, classes): the sample, repeated from its start."""
        rows = np.arange(size) % len(self.images)
        return self.images[rows], self.logits[rows]

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, images=self.images.astype(np.float16), logits=self.logits)


def load(path: Path) -> Golden:
    """Read a golden sample. Raises StoreError if the file is not one.

    Its arrays are not compressed, so none claims more memory than the file has bytes.
    """
    try:
        with path.open("rb") as file, open_archive(file), np.load(path, allow_pickle=False) as arrays:
            images, logits = arrays["images"].astype(np.float32), arrays["logits"].astype(np.float64)
    except Exception as error:  # numpy, zipfile and zlib raise a different exception for every kind of damage
        raise StoreError(f"{path} is not a golden sample ({type(error).__name__}: {error}).") from error
    shapes_fit = images.ndim == 4 and logits.ndim == 2 and len(images) == len(logits) > 0 < images.size * logits.size
    if not shapes_fit or not np.isfinite(images).all() or not np.isfinite(logits).all():
        raise StoreError(f"{path} is not a golden sample: {list(images.shape)} images and {list(logits.shape)} logits.")
    return Golden(images, logits)


def images(size: int, number: int = IMAGES, *, width: int | None = None) -> Array:
    """Synthetic images (number, 3, size, width or size) float32: coloured blocks with noise, as normalised photographs are."""
    random, sides = np.random.default_rng(0), (size, width or size)
    pictures = []
    for blocks in 4 + 3 * (np.arange(number) % IMAGES):
        colours = random.random((3, blocks, blocks)) * 4 - 2
        rows, columns = (np.arange(side) * blocks // side for side in sides)
        pictures.append(colours[:, rows][:, :, columns] + random.random((3, *sides)) - 0.5)
    return np.stack(pictures).astype(np.float16).astype(np.float32)


def is_constant(logits: Array) -> bool:
    """Whether logits of float64 are all equal, except for rounding to float32."""
    return bool(np.ptp(logits) <= 1e-6 * np.abs(logits).max())


def check_values(logits: Array, reference: Array) -> None:
    """Raises WrongOutputError if the logits have another shape than the reference, contain NaN or infinity, or are all equal.

    Equal ones are right where the reference's are equal, too, as those of a network with constant weights.
    """
    if logits.shape != reference.shape:
        raise WrongOutputError(f"the output has shape {list(logits.shape)} where {list(reference.shape)} was expected")
    if bad := np.count_nonzero(~np.isfinite(logits)):
        raise WrongOutputError(f"{bad} of {logits.size} logits are NaN or infinite")
    if np.all(logits == logits.flat[0]) and not is_constant(reference):
        raise WrongOutputError(f"all logits are {logits.flat[0]:g}")


def check_logits(logits: Array, reference: Array, *, tolerance: float) -> GoldenCheck:
    """Compare logits (N, classes) with the float64 reference: error = max|difference| / max|reference|.

    Raises WrongOutputError if `check_values` does, if the reference is 0, and if an image's error exceeds `tolerance`.
    """
    check_values(logits, reference)
    largest = np.abs(reference).max()
    if largest == 0:
        raise WrongOutputError("all logits of the reference are 0, so an error has no scale")
    errors = np.abs(logits.astype(np.float64) - reference).max(axis=1) / largest
    worst = int(errors.argmax())
    if errors[worst] > tolerance:
        raise WrongOutputError(f"logits differ by {errors[worst]:.2g} of max|logit| at image {worst} (allowed {tolerance:g})")
    return GoldenCheck(error=float(errors[worst]), tolerance=tolerance, images=len(logits))
