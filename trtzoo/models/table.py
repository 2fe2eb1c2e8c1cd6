"""MODELS, one row a network. No framework is imported until a network is built."""

from typing import TYPE_CHECKING, Any

import msgspec

from trtzoo.core.errors import unknown
from trtzoo.core.modules import resolve

if TYPE_CHECKING:
    from torch import nn

# Exact counts at 224x224 and 1000 classes: parameters without BN statistics; MACs of convolutions and the classifier.
# tests/models/test_count.py recomputes every one from the network itself.
_DENSENET = "trtzoo.models.densenet:DenseNet"
_DPN = "trtzoo.models.dpn:DPN"


class Model(msgspec.Struct, frozen=True):
    """A network: `resolve(network)(**arguments)` makes it. Exact counts at 224x224 and 1000 classes."""

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
    """Parameters and FLOPs by some convention."""

    params: int
    flops: int


def _densenet(name: str, growth_rate: int, blocks: tuple[int, ...], stem: int, params: int, macs: int) -> Model:
    return Model(name, "densenet", _DENSENET, {"growth_rate": growth_rate, "blocks": blocks, "stem": stem}, params, macs)


def _dpn(
    name: str, stem: int, k_r: int, groups: int, blocks: tuple[int, ...], growth: tuple[int, ...], params: int, macs: int
) -> Model:
    arguments = {"stem": stem, "k_r": k_r, "groups": groups, "blocks": blocks, "growth": growth}
    return Model(name, "dpn", _DPN, arguments, params, macs)


MODELS: dict[str, Model] = {
    row.name: row
    for row in (
        # DenseNet, arXiv:1608.06993 table 1; 264 as in the authors' and PaddleClas' code.
        _densenet("densenet121", 32, (6, 12, 24, 16), 64, 7_978_856, 2_834_161_664),
        _densenet("densenet161", 48, (6, 12, 36, 24), 96, 28_681_000, 7_727_907_072),
        _densenet("densenet169", 32, (6, 12, 32, 32), 64, 14_149_480, 3_359_843_328),
        _densenet("densenet201", 32, (6, 12, 48, 32), 64, 20_013_928, 4_291_365_888),
        _densenet("densenet264", 32, (6, 12, 64, 48), 64, 33_337_704, 5_751_653_376),
        # DPN, arXiv:1707.01629 table 1 and the authors' later 68, 107 and 131.
        _dpn("dpn68", 10, 128, 32, (3, 4, 12, 3), (16, 32, 32, 64), 12_611_602, 2_326_163_456),
        _dpn("dpn92", 64, 96, 32, (3, 4, 20, 3), (16, 32, 24, 128), 37_668_392, 6_501_684_224),
        _dpn("dpn98", 96, 160, 40, (3, 6, 20, 3), (16, 32, 32, 128), 61_570_728, 11_671_217_152),
        _dpn("dpn107", 128, 200, 50, (4, 8, 20, 3), (20, 64, 64, 128), 86_917_800, 18_298_764_288),
        _dpn("dpn131", 128, 160, 40, (4, 8, 28, 3), (16, 32, 32, 128), 79_254_504, 16_013_648_896),
    )
}


def find_model(name: str) -> Model:
    """The row called `name`, in any case. Raises UsageError with the nearest name."""
    if row := MODELS.get(name.lower()):
        return row
    raise unknown("model", name, MODELS)


def build_network(model: Model, *, classes: int = 1000, epsilon: float = 1e-5, device: str = "cpu") -> "nn.Module":
    """The row's network in eval mode; float32 images (N, 3, H, W) in, logits (N, classes) out.

    Parameters are uninitialised when `device` is "meta". `epsilon` is BN's: it belongs to the weights.
    """
    import torch

    with torch.device(device):
        network: nn.Module = resolve(model.network)(**model.arguments, classes=classes, epsilon=epsilon)
    return network.eval()
