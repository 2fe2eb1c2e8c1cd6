"""Two real networks trained on real images in a minute or two: scikit-learn's 1797 handwritten digits, ten classes, 32x32.

Usage: python tests/digits.py DIR [--models densenet121 dpn68]
Writes DIR/MODEL.pth, state dicts for `trtzoo export MODEL --weights DIR/MODEL.pth --classes 10 --input-size 32`, and
DIR/digits/<digit>/*.png, every fifth digit, which the networks have not seen.
"""

from __future__ import annotations

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
EPOCHS, BATCH, RATE = 5, 64, 1e-2
SHIFT = 2
"""Pixels by which a training batch is moved at most, each way."""


def images() -> tuple[np.ndarray, np.ndarray]:
    """All digits as pictures (N, 32, 32, 3) uint8, 28 pixels of digit in a black frame, and their classes (N,)."""
    digits = load_digits()
    small = torch.from_numpy(digits.images / 16)[:, None]
    large = nn.functional.interpolate(small, size=SIZE - 4, mode="bicubic", align_corners=False)
    framed = nn.functional.pad(large.clamp(0, 1) * 255, (2, 2, 2, 2)).round().to(torch.uint8)
    return framed.permute(0, 2, 3, 1).expand(-1, -1, -1, 3).numpy(), digits.target


def held_out(count: int) -> np.ndarray:
    """Which digits are kept from training, (N,) of bool."""
    return np.arange(count) % 5 == 0


def write(folder: Path) -> int:
    """The held-out digits as PNGs in class folders; how many."""
    pictures, classes = images()
    chosen = np.flatnonzero(held_out(len(pictures)))
    for number in chosen:
        path = folder / str(classes[number]) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pictures[number]).save(path)
    return len(chosen)


def train(name: str, path: Path, *, seed: int = 0) -> None:
    """Train a network on the other digits and save its state dict, as any PyTorch script would."""
    torch.manual_seed(seed)
    path.touch()
    checkpoint = locate(find_model(name), str(path))
    pictures, classes = images()
    seen = ~held_out(len(pictures))
    inputs = torch.from_numpy(normalise(pictures[seen], checkpoint.preprocessing(SIZE)))
    network = build_network(find_model(name), classes=CLASSES, epsilon=checkpoint.publisher.epsilon)
    _fit(network, inputs, torch.from_numpy(classes[seen]))
    _settle(network, inputs)
    torch.save(network.state_dict(), path)


def _fit(network: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> None:
    """AdamW on a one-cycle schedule."""
    steps = len(labels) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=steps * EPOCHS)
    network.train()
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels))[: steps * BATCH].split(BATCH):
            shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
            loss = nn.functional.cross_entropy(network(inputs[rows].roll(shift, (2, 3))), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()


def _settle(network: nn.Module, inputs: torch.Tensor) -> None:
    """Every BN's statistics once more, of the finished weights: those gathered on the way lag behind."""
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
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{write(options.folder / 'digits')} digits in {options.folder / 'digits'}")
    for name in options.models:
        start = time.perf_counter()
        train(name, options.folder / f"{name}.pth", seed=options.seed)
        print(f"{options.folder / name}.pth trained in {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
