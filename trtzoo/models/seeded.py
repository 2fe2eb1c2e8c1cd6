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
FACTORS, BRANCH = {"weight": 1.0}, 0.3
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def seed(network: nn.Module, *, size: int = SIZE, blocks: bool = False) -> nn.Module:
    """Fill a network with seeded float32 weights on the CPU. Returns it, in eval mode.

    `blocks` is for networks for images of `size`: they are calibrated on images up to this size, and on blocks of colour with
    noise. Many means in a row, as depthwise convolutions are, remove noise; statistics of what is left would fit nothing else.
    """
    if any(parameter.is_meta for parameter in network.parameters()):
        network.to_empty(device="cpu")
    for name, parameter in network.named_parameters():  # He's uniform bound, from integers: the same on every machine
        bound = math.sqrt(6 / math.prod(parameter.shape[1:])) if parameter.dim() > 1 else 0.1
        if name.endswith("c1x1_c.conv.weight"):  # the last of a residual branch; it makes FP16 five times more exact
            bound *= 0.3
        values = np.random.default_rng(zlib.crc32(name.encode())).random(tuple(parameter.shape), np.float32)
        parameter.data.copy_(torch.from_numpy(values).mul_(2 * bound).sub_(bound))
        if parameter.dim() < 2 and not name.endswith("bias"):  # factors: norms' near 1, those of residual branches below
            parameter.data.add_(FACTORS.get(name.rpartition(".")[2], BRANCH))
    norms = [module for module in network.modules() if isinstance(module, BATCH_NORMS)]
    for norm in norms:
        norm.reset_parameters()
        if blocks and norm.affine:
            norm.weight.data.fill_(0.3)  # attention would turn chaotic on residual sums that grow
        norm.momentum = 1.0
    if norms:
        _calibrate(network, norms, sizes=[min(size, 160) if blocks else SIZE, size], blocks=blocks)
    for norm in norms:
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        if blocks:  # a channel that hardly varies would make rounding errors large
            least = torch.maximum(norm.running_var.mean() / 2, norm.running_mean**2 / 10)
            norm.running_var.copy_(torch.maximum(norm.running_var, least))
        mantissa, exponent = torch.frexp(norm.running_var.sqrt())
        deviation = torch.ldexp((mantissa * 64).round() / 64, exponent)
        norm.running_mean.copy_((norm.running_mean / deviation * 64).round() / 64 * deviation)
        norm.running_var.copy_(deviation**2)
        norm.num_batches_tracked.zero_()
    return network.eval()


def _calibrate(network: nn.Module, norms: list[nn.BatchNorm1d | nn.BatchNorm2d], *, sizes: list[int], blocks: bool) -> None:
    """Run the network once, with the statistics of the batch, on images of the first of the sizes that it takes."""
    network.double().eval()
    for norm in norms:
        norm.train()
    random = np.random.default_rng(0)
    images = random.random((IMAGES, 3, sizes[0], sizes[0])) * 4 - 2
    if blocks:
        place = np.arange(sizes[0]) * 6 // sizes[0]
        images = images / 4 + (random.random((IMAGES, 3, 6, 6)) * 4 - 2)[:, :, place][:, :, :, place]
    try:
        with torch.no_grad():
            network(torch.from_numpy(images))
    except (AssertionError, IndexError, RuntimeError, ValueError):
        if sizes[0] == sizes[-1]:
            raise
        _calibrate(network, norms, sizes=sizes[1:], blocks=blocks)
    network.float().eval()
