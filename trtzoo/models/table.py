"""MODELS, one row for each network. No framework is imported until a network is built."""

from typing import TYPE_CHECKING, Any

import msgspec

from trtzoo.core.errors import find_row
from trtzoo.core.modules import resolve

if TYPE_CHECKING:
    from torch import nn


class Model(msgspec.Struct, frozen=True):
    """A network: `resolve(network)(**arguments)` builds it.

    `params` (without BN statistics) and `macs` (convolutions and classifier, one image) are exact at 224x224 and 1000
    classes; tests/models/test_count.py computes them from the network.
    """

    name: str
    family: str
    network: str
    arguments: dict[str, Any]
    params: int
    macs: int

    @property
    def flops(self) -> int:
        """2 x multiply-accumulates of convolutions and the classifier, one image."""
        return 2 * self.macs


class Count(msgspec.Struct, frozen=True):
    """Parameters and FLOPs of one image, by some convention."""

    params: int
    flops: int


def _densenet(name: str, params: int, macs: int, **arguments: Any) -> Model:
    return Model(name, "densenet", "trtzoo.models.densenet:DenseNet", arguments, params, macs)


def _dpn(name: str, params: int, macs: int, **arguments: Any) -> Model:
    return Model(name, "dpn", "trtzoo.models.dpn:DPN", arguments, params, macs)


MODELS: dict[str, Model] = {
    row.name: row
    for row in (
        # DenseNet, arXiv:1608.06993 table 1; 264 as in the authors' and PaddleClas' code.
        _densenet("densenet121", 7_978_856, 2_834_161_664, growth_rate=32, blocks=(6, 12, 24, 16), stem=64),
        _densenet("densenet161", 28_681_000, 7_727_907_072, growth_rate=48, blocks=(6, 12, 36, 24), stem=96),
        _densenet("densenet169", 14_149_480, 3_359_843_328, growth_rate=32, blocks=(6, 12, 32, 32), stem=64),
        _densenet("densenet201", 20_013_928, 4_291_365_888, growth_rate=32, blocks=(6, 12, 48, 32), stem=64),
        _densenet("densenet264", 33_337_704, 5_751_653_376, growth_rate=32, blocks=(6, 12, 64, 48), stem=64),
        # DPN, arXiv:1707.01629 table 1 and the authors' later 68, 107 and 131.
        _dpn("dpn68", 12_611_602, 2_326_163_456, stem=10, k_r=128, groups=32, blocks=(3, 4, 12, 3), steps=(16, 32, 32, 64)),
        _dpn("dpn92", 37_668_392, 6_501_684_224, stem=64, k_r=96, groups=32, blocks=(3, 4, 20, 3), steps=(16, 32, 24, 128)),
        _dpn("dpn98", 61_570_728, 11_671_217_152, stem=96, k_r=160, groups=40, blocks=(3, 6, 20, 3), steps=(16, 32, 32, 128)),
        _dpn("dpn107", 86_917_800, 18_298_764_288, stem=128, k_r=200, groups=50, blocks=(4, 8, 20, 3), steps=(20, 64, 64, 128)),
        _dpn("dpn131", 79_254_504, 16_013_648_896, stem=128, k_r=160, groups=40, blocks=(4, 8, 28, 3), steps=(16, 32, 32, 128)),
    )
}


def find_model(name: str) -> Model:
    """The row called `name`, in any case. Raises UsageError, with the nearest name, if there is none."""
    return find_row("model", name, MODELS)


def build_network(model: Model, *, classes: int = 1000, epsilon: float = 1e-5, device: str = "cpu") -> "nn.Module":
    """The row's network in eval mode, for float32 images (N, 3, H, W); it returns logits (N, classes).

    Parameters are uninitialised if `device` is "meta". `epsilon` is batch normalisation's: it belongs to the weights.
    """
    import torch

    with torch.device(device):
        network: nn.Module = resolve(model.network)(**model.arguments, classes=classes, epsilon=epsilon)
    return network.eval()
