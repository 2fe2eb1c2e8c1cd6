"""Real photographs from scikit-image and scikit-learn, and data sets of noise."""

from pathlib import Path

import numpy as np
import skimage
import sklearn
from PIL import Image

from trtzoo.core.records import Preprocessing
from trtzoo.images.preprocessing import normalise, read_crop

PHOTOGRAPHS = [
    Path(skimage.__file__).parent / "data" / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
] + [Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"]


def noise(path: Path, *, seed: int, size: tuple[int, int] = (12, 10), mode: str = "RGB", **options: object) -> Path:
    """Write a small image; every seed gives a different one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def class_folders(folder: Path, *, classes: int, each: int) -> Path:
    """Write `each` images per class, in folders named by the class's number."""
    for label in range(classes):
        for number in range(each):
            noise(folder / str(label) / f"{label}_{number}.png", seed=label * each + number)
    return folder


def read_image(path: Path, preprocessing: Preprocessing, size: int) -> np.ndarray:
    """A photograph as a network takes it: (3, size, size) float32. Raises ImageError."""
    (planes,) = normalise(read_crop(path, preprocessing, size)[None], preprocessing)
    return np.asarray(planes)
