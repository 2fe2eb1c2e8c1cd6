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
    """`images` (IMAGES, 3, S, S) float32, each value exact in FP16; `logits` (IMAGES, classes) float64."""

    images: Array
    logits: Array

    def batch(self, size: int) -> tuple[Array, Array]:
        """Images (size, 3, S, S) and logits (size, classes): the sample, repeated from its start."""
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


def images(size: int, number: int = IMAGES) -> Array:
    """Synthetic images (number, 3, size, size) float32: coloured blocks with noise, in the range of normalised photographs."""
    random = np.random.default_rng(0)
    pixels = np.arange(size)
    pictures = []
    for blocks in 4 + 3 * (np.arange(number) % IMAGES):
        colours = random.random((3, blocks, blocks)) * 4 - 2
        block = pixels * blocks // size
        pictures.append(colours[:, block][:, :, block] + random.random((3, size, size)) - 0.5)
    return np.stack(pictures).astype(np.float16).astype(np.float32)


def check_values(logits: Array, shape: tuple[int, ...]) -> None:
    """Raises WrongOutputError if the logits have another shape, contain NaN or infinity, or are all equal."""
    if logits.shape != shape:
        raise WrongOutputError(f"the output has shape {list(logits.shape)} where {list(shape)} was expected")
    if bad := np.count_nonzero(~np.isfinite(logits)):
        raise WrongOutputError(f"{bad} of {logits.size} logits are NaN or infinite")
    if np.all(logits == logits.flat[0]):
        raise WrongOutputError(f"all logits are {logits.flat[0]:g}")


def check_logits(logits: Array, reference: Array, *, tolerance: float) -> GoldenCheck:
    """Compare logits (N, classes) with the float64 reference: error = max|difference| / max|reference|.

    Raises WrongOutputError if `check_values` does, and if an image's error exceeds `tolerance`.
    """
    check_values(logits, reference.shape)
    errors = np.abs(logits.astype(np.float64) - reference).max(axis=1) / np.abs(reference).max()
    worst = int(errors.argmax())
    if errors[worst] > tolerance:
        raise WrongOutputError(f"logits differ by {errors[worst]:.2g} of max|logit| at image {worst} (allowed {tolerance:g})")
    return GoldenCheck(error=float(errors[worst]), tolerance=tolerance, images=len(logits))
