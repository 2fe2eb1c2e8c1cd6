"""Error of Winograd convolutions in FP32: each 3x3 convolution of stride 1 by F(2x2, 3x3) or F(4x4, 3x3), all others direct.

TensorRT and cuDNN choose such kernels by speed; no processor's runtime of trtzoo does. The logits are compared with float64.
Usage: python benchmarks/winograd.py   (writes benchmarks/figures/winograd.md)
"""

import sys
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trtzoo.artifacts import golden
from trtzoo.models.seeded import seed
from trtzoo.models.table import MODELS, build_network

TRANSFORMS = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}
"""By the tile's size m: B^T of images, G of weights and A^T of outputs (Lavin and Gray, arXiv:1509.09308, section 4)."""


def growth(tile: int) -> float:
    """How much larger than a direct convolution's the rounding error of the products is: RMS over a tile, white images.

    A product of transformed images and weights has the variance |B_i|^2 |G_i|^2, and A adds six of them where a direct
    convolution adds three of variance 1; in two dimensions the factors multiply.
    """
    images, weights, outputs = (np.array(matrix) ** 2 for matrix in TRANSFORMS[tile])
    variances = outputs @ (images.sum(axis=1) * weights.sum(axis=1))
    return float(variances.mean() / 3)  # the square root of its square


def convolve(images: Tensor, weight: Tensor, *, tile: int, groups: int = 1) -> Tensor:
    """A 3x3 convolution of stride 1 and padding 1 by F(tile x tile, 3x3): (N, C, H, W) → (N, K, H, W), all of it in FP32."""
    b, g, a = (torch.tensor(matrix, dtype=images.dtype) for matrix in TRANSFORMS[tile])
    number, _, height, width = images.shape
    rows, columns = -(-height // tile), -(-width // tile)
    padded = functional.pad(images, (1, 1 + columns * tile - width, 1, 1 + rows * tile - height))
    patches = padded.unfold(2, tile + 2, tile).unfold(3, tile + 2, tile)  # (N, C, rows, columns, t+2, t+2)
    spectra = (b @ patches @ b.T).unflatten(1, (groups, -1)).permute(5, 6, 1, 0, 3, 4, 2).flatten(3, 5)
    filters = (g @ weight @ g.T).unflatten(0, (groups, -1)).permute(3, 4, 0, 2, 1)
    products = (spectra @ filters).unflatten(3, (number, rows, columns)).permute(3, 2, 6, 4, 5, 0, 1).flatten(1, 2)
    tiles = a @ products @ a.T  # (N, K, rows, columns, t, t)
    return tiles.transpose(3, 4).reshape(number, -1, rows * tile, columns * tile)[:, :, :height, :width]


def fits(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3) and module.stride == (1, 1)


def logits(network: nn.Module, images: Tensor, *, tile: int = 0) -> np.ndarray:
    """A network's logits, with its 3x3 convolutions by Winograd if a tile is given."""
    for module in network.modules():
        if fits(module):
            vars(module).pop("forward", None)
            if tile:
                module.forward = partial(convolve, weight=module.weight, tile=tile, groups=module.groups)
    with torch.no_grad():
        return np.concatenate([network(image[None]).double().numpy() for image in images])


def errors(name: str, size: int = 224) -> list[float]:
    """max|logit - float64| / max|logit| of a network with seeded weights: direct, and by each tile."""
    network = seed(build_network(MODELS[name], device="meta"))
    images = torch.from_numpy(golden.images(size))
    found = [logits(network, images, tile=tile) for tile in (0, *TRANSFORMS)]
    for module in network.modules():
        vars(module).pop("forward", None)
    reference = logits(network.double(), images.double())
    return [float(np.abs(each - reference).max() / np.abs(reference).max()) for each in found]


def main() -> None:
    from figures import write

    rows = []
    for name in sys.argv[1:] or MODELS:
        network = build_network(MODELS[name], device="meta")
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        rows.append([name, f"{sum(map(fits, convolutions))} of {len(convolutions)}", *(f"{e:.1e}" for e in errors(name))])
        print(rows[-1], flush=True)
    heads = ["", "convolutions that fit", "direct", *(f"F({tile}x{tile}, 3x3)" for tile in TRANSFORMS)]
    note = (
        "max|logit - reference| / max|reference| over the golden sample in FP32, reference in float64, seeded weights. "
        "Computed with PyTorch on a processor; no GPU's kernel has run."
    )
    write("winograd", heads, rows, [note])


if __name__ == "__main__":
    main()
