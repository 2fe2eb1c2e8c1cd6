"""Weights and inputs without a framework: a tensor's name seeds its values. See README.md for the files made with them."""

import hashlib
import zlib
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float32 tensor of Paddle's name and shape; all arithmetic is in float64."""
    random = np.random.default_rng(zlib.crc32(key.encode()))
    if len(shape) == 4:  # a convolution, [out, in / groups, kh, kw]: every filter sums to zero
        values = random.normal(0.0, 1.21 * np.sqrt(2.0 / (shape[1] * shape[2] * shape[3])), shape)
        values = values - values.mean(axis=(1, 2, 3), keepdims=True)
        if key.endswith("c1x1_c_func._conv.weight"):  # the last convolution of a DPN block
            values = values * 0.3
    elif len(shape) == 2:  # the classifier, [in, out]: every class sums to zero
        values = random.normal(0.0, 4.0 / np.sqrt(shape[0]), shape)
        values = values - values.mean(axis=0, keepdims=True)
    elif key.endswith(("._variance", ".weight")):
        values = random.uniform(0.8, 1.2, shape)
    else:
        values = random.normal(0.0, 0.1, shape)
    return values.astype(np.float32)


def inputs() -> dict[str, np.ndarray]:
    """Three float32 NCHW inputs, not normalised: noise, images of coloured blocks, and an odd size that is not square."""
    noise = np.random.default_rng(0).standard_normal((2, 3, 224, 224), dtype=np.float32)
    random = np.random.default_rng(1)
    pictures = []
    for count in (4, 7, 14, 32):
        colours = random.standard_normal((3, count, count))
        picture = np.kron(colours, np.ones((1, 224 // count, 224 // count)))
        pictures.append(picture + random.standard_normal((3, 1, 1)))
    odd = np.random.default_rng(2).standard_normal((1, 3, 231, 199), dtype=np.float32)
    return {"x": noise, "struct": np.stack(pictures).astype(np.float32), "odd": odd}


def rows(model: str) -> list[tuple[str, tuple[int, ...], str]]:
    """Paddle's state dict: (key, shape, parameter name)."""
    lines = (line.split() for line in (HERE / f"{model}.keys").read_text().splitlines())
    return [(key, tuple(map(int, shape.split("x"))), parameter) for key, shape, parameter in lines]


def state(model: str) -> dict[str, np.ndarray]:
    """All of a model's tensors, by Paddle's keys in Paddle's order."""
    return {key: fill(key, shape) for key, shape, _ in rows(model)}


def sha256(tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(tensor.astype("<f4").tobytes())
    return digest.hexdigest()


def golden(model: str) -> dict[str, np.ndarray]:
    with np.load(HERE / f"{model}.npz") as arrays:
        return dict(arrays)
