"""MODELS, one table of models.toml for each network. No framework is imported until a network is built."""

from typing import TYPE_CHECKING, Any

import msgspec

from trtzoo.core.errors import find_row
from trtzoo.core.modules import read_rows, resolve

if TYPE_CHECKING:
    from torch import nn


FAMILIES = {"densenet": "trtzoo.models.densenet:DenseNet", "dpn": "trtzoo.models.dpn:DPN"}


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A network: a table of models.toml, whose first lines explain the fields."""

    name: str
    family: str
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


MODELS = read_rows("trtzoo.models", "models.toml", Model)


def find_model(name: str) -> Model:
    """The row called `name`, in any case. Raises UsageError, with the nearest name, if there is none."""
    return find_row("model", name, MODELS)


def build_network(model: Model, *, classes: int = 1000, epsilon: float = 1e-5, device: str = "cpu") -> "nn.Module":
    """The row's network in eval mode, for float32 images (N, 3, H, W); it returns logits (N, classes).

    Parameters are uninitialised if `device` is "meta". `epsilon` is batch normalisation's: it belongs to the weights.
    """
    import torch

    with torch.device(device):
        network: nn.Module = resolve(FAMILIES[model.family])(**model.arguments, classes=classes, epsilon=epsilon)
    return network.eval()
