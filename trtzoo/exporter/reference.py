"""The reference for every check: PyTorch in float64."""

import numpy as np
import torch
from torch import nn

from trtzoo.core.arrays import Array


def logits(network: nn.Module, images: Array) -> Array:
    """Images (N, 3, H, W) → float64 logits (N, classes). Afterwards the network is float32 again, bit for bit."""
    network.double()
    try:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images).double()).numpy())
    finally:
        network.float()
