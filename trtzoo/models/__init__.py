"""MODELS, one row a network. No framework is imported here: `build` resolves a row's family when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trtzoo.errors import unknown
from trtzoo.spec import Model, resolve

if TYPE_CHECKING:
    from torch import nn

# Exact counts at 224x224 and 1000 classes: parameters without BN statistics; MACs of convolutions and the classifier.
# tests/models/test_count.py recomputes every one of them from the network itself.
_DENSENET = "trtzoo.models.densenet:DenseNet"
_DPN = "trtzoo.models.dpn:DPN"


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
        _densenet("densenet121", 32, (6, 12, 24, 16), 64, 0, 0),
        _densenet("densenet161", 48, (6, 12, 36, 24), 96, 0, 0),
        _densenet("densenet169", 32, (6, 12, 32, 32), 64, 0, 0),
        _densenet("densenet201", 32, (6, 12, 48, 32), 64, 0, 0),
        _densenet("densenet264", 32, (6, 12, 64, 48), 64, 0, 0),
        # DPN, arXiv:1707.01629 table 1 and the authors' later 68, 107 and 131.
        _dpn("dpn68", 10, 128, 32, (3, 4, 12, 3), (16, 32, 32, 64), 0, 0),
        _dpn("dpn92", 64, 96, 32, (3, 4, 20, 3), (16, 32, 24, 128), 0, 0),
        _dpn("dpn98", 96, 160, 40, (3, 6, 20, 3), (16, 32, 32, 128), 0, 0),
        _dpn("dpn107", 128, 200, 50, (4, 8, 20, 3), (20, 64, 64, 128), 0, 0),
        _dpn("dpn131", 128, 160, 40, (4, 8, 28, 3), (16, 32, 32, 128), 0, 0),
    )
}


def find(name: str) -> Model:
    """The row called `name`, in any case. Raises UsageError with the nearest name."""
    if row := MODELS.get(name.lower()):
        return row
    raise unknown("model", name, MODELS)


def build(model: Model, *, classes: int = 1000, epsilon: float = 1e-5, device: str = "cpu") -> nn.Module:
    """The row's network in eval mode; float32 images (N, 3, H, W) in, logits (N, classes) out.

    Parameters are uninitialised when `device` is "meta". `epsilon` is BN's: it belongs to the weights.
    """
    import torch

    with torch.device(device):
        network: nn.Module = resolve(model.network)(**model.arguments, classes=classes, epsilon=epsilon)
    return network.eval()
