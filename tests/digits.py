"""Train two networks on scikit-learn's 1797 handwritten digits, ten classes at 32x32, in a minute or two.

Usage: python tests/digits.py DIR [--models densenet121 dpn68] [--epochs 5]
Writes DIR/MODEL.pth, state dicts for `trtzoo export MODEL --weights DIR/MODEL.pth --classes 10 --input-size 32`, and
DIR/digits/<digit>/*.png, every fifth digit, which is not used for training, and DIR/calibration, some of the others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

from trtzoo.images.preprocessing import normalise
from trtzoo.models.sources import locate
from trtzoo.models.table import build_network, find_model

SIZE, CLASSES = 32, 10
MODELS = ("densenet121", "dpn68")
BATCH, RATE = 64, 1e-2
SHIFT = 2
"""A training batch is shifted by at most this many pixels, in each direction."""


def images() -> tuple[np.ndarray, np.ndarray]:
    """All digits as images (N, 32, 32, 3) uint8, 28 pixels in a black frame, and their classes (N,)."""
    digits = load_digits()
    small = torch.from_numpy(digits.images / 16)[:, None]
    large = nn.functional.interpolate(small, size=SIZE - 4, mode="bicubic", align_corners=False)
    framed = nn.functional.pad(large.clamp(0, 1) * 255, (2, 2, 2, 2)).round().to(torch.uint8)
    return framed.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy(), digits.target


def held_out(count: int) -> np.ndarray:
    """Whether a digit is excluded from training, (N,) bool."""
    return np.arange(count) % 5 == 0


def for_calibration(count: int) -> np.ndarray:
    """Whether a digit is written for calibration, (N,) bool: every eleventh of those for training."""
    return ~held_out(count) & (np.arange(count) % 11 == 1)


def write(folder: Path, chosen: np.ndarray) -> int:
    """Write the chosen digits (N,) bool as PNGs in class folders and return how many they are."""
    pictures, classes = images()
    chosen = np.flatnonzero(chosen)
    for number in chosen:
        path = folder / str(classes[number]) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[number]).save(path)
    return len(chosen)


def train(name: str, path: Path, *, epochs: int, seed: int) -> None:
    """Train a network on the other digits and save its state dict."""
    torch.manual_seed(seed)
    path.touch()
    checkpoint = locate(find_model(name), str(path))
    pictures, classes = images()
    seen = ~held_out(len(pictures))
    inputs = torch.from_numpy(normalise(pictures[seen], checkpoint.preprocessing(SIZE)))
    network = build_network(find_model(name), classes=CLASSES, epsilon=checkpoint.publisher.epsilon)
    _fit(network, inputs, torch.from_numpy(classes[seen]), epochs)
    _settle(network, inputs)
    torch.save(network.state_dict(), path)


def _fit(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor, epochs: int) -> None:
    """AdamW on a one-cycle schedule."""
    steps = len(labels) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps * epochs)
    network.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(labels))[: steps * BATCH].split(BATCH):
            shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
            loss = nn.functional.cross_entropy(network(inputs[rows].roll(shift, (2, 3))), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _settle(network: nn.Module, inputs: torch.Tensor) -> None:
    """Recompute every BN's statistics with the final weights: the running ones lag behind."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.reset_running_stats()
            norm.momentum = None
    with torch.no_grad():
        for batch in inputs.split(256):
            network(batch)
    network.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    count = len(images()[1])
    for name, chosen in (("digits", held_out(count)), ("calibration", for_calibration(count))):
        print(f"{write(options.folder / name, chosen)} digits in {options.folder / name}")
    for name in options.models:
        start = time.perf_counter()
        train(name, options.folder / f"{name}.pth", epochs=options.epochs, seed=options.seed)
        print(f"{options.folder / name}.pth trained in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
