"""The reference: PyTorch in float64."""

from typing import Any

import numpy as np
import torch
from torch import nn


def logits(network: nn.Module, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Images (N, 3, H, W) → float64 logits (N, classes). The network is float32 again afterwards, to the bit."""
    network.double()
    try:
        with torch.inference_mode():
            return np.asarray(network(torch.from_numpy(images).double()).numpy())
    finally:
        network.float()
