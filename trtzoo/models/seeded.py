"""Seeded weights: for measuring latency without a checkpoint. Their classifications are meaningless.

Uniform initialisation, then one float64 pass over random images that sets every BN to the statistics of its input. This
keeps activations small and finite in FP16; without it dpn92, dpn107 and dpn131 overflow. The statistics are rounded to six
bits, which is coarser than the rounding errors of any machine, so every machine makes the same bytes.
"""

import math
import zlib

import numpy as np
import torch
from torch import nn

IMAGES, SIZE = 4, 96  # the calibration batch: the last stage, at 3x3, still has 36 values a channel


def seed(network: nn.Module) -> nn.Module:
    """Fill a network on any device with seeded float32 weights on the CPU. Returns it, in eval mode."""
    network.to_empty(device="cpu")
    for name, parameter in network.named_parameters():  # He's uniform bound, from integers: the same on every machine
        bound = math.sqrt(6 / math.prod(parameter.shape[1:])) if parameter.dim() > 1 else 0.1
        if name.endswith("c1x1_c.conv.weight"):  # the last of a residual branch; it makes FP16 five times more exact
            bound *= 0.3
        values = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(parameter.shape), np.float32)
        parameter.data.copy_(torch.from_numpy(values).mul_(2 * bound).sub_(bound))
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_parameters()
        norm.momentum = 1.0
    images = np.random.default_rng(0).random((IMAGES, 3, SIZE, SIZE)) * 4 - 2
    network.double().train()
    with torch.no_grad():
        network(torch.from_numpy(images))
    network.float().eval()
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        mantissa, exponent = torch.frexp(norm.running_var.sqrt())
        deviation = torch.ldexp((mantissa * 64).round() / 64, exponent)
        norm.running_mean.copy_((norm.running_mean / deviation * 64).round() / 64 * deviation)
        norm.running_var.copy_(deviation**2)
        norm.num_batches_tracked.zero_()
    return network
