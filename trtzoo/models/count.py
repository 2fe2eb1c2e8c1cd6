"""Parameters and FLOPs by two conventions: the exact one, and the one behind the published columns.

Both run the network on the shapes of one image; a convention defines the cost of each operation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trtzoo.core.errors import find_row
from trtzoo.models.table import Count, Model, build_network


def exact(module: Any, out: Tensor, family: str) -> tuple[int, int]:
    """Convolutions and the classifier: 2 x multiply-accumulates at every output position; the bias adds no FLOPs.

    A batch normalisation's scale and shift are parameters, its statistics are not; folded into a convolution, it costs nothing.
    """
    is_product = isinstance(module, nn.Conv2d | nn.Linear)
    return _parameters(module), 2 * module.weight.numel() * out[0, 0].numel() if is_product else 0


def paddle_2019(module: Any, out: Tensor, family: str) -> tuple[int, int]:
    """Paddle 1.x, fluid.contrib.model_stat.summary under Python 2, which produced the published columns in 2019."""
    match module:
        case nn.Conv2d(bias=None):  # the width is divided by the groups twice, rounding down: most groups count as nothing
            width = module.in_channels // module.groups // module.groups
            parameters = module.out_channels * module.kernel_size[0] * module.kernel_size[1] * width
            return parameters, 2 * parameters * out[0, 0].numel()
        case nn.Conv2d() | nn.Linear():  # the classifier: a multiply-accumulate is one FLOP, and the bias is one parameter
            return module.weight.numel() + 1, module.weight.numel()
        case nn.BatchNorm2d():
            return _parameters(module), 2 * out.numel()
        case nn.ReLU():  # the batch dimension was -1
            return 0, -out.numel()
        case _:  # a pool; global pooling had a kernel of -1 in DenseNet and of 7 in DPN
            kernel = getattr(module, "kernel_size", -1 if family == "densenet" else 7)
            return 0, out.numel() * kernel**2


# (a module without children, its output for one image, the model's family) → (parameters, FLOPs)
CONVENTIONS: dict[str, Callable[[Any, Tensor, str], tuple[int, int]]] = {"exact": exact, "paddle2019": paddle_2019}


def count(model: Model, convention: str = "exact", *, size: int = 224) -> Count:
    """Parameters and FLOPs of one image of `size` x `size` at 1000 classes. Raises UsageError for an unknown convention."""
    cost, network = find_row("counting convention", convention, CONVENTIONS), build_network(model, device="meta")
    costs: list[tuple[int, int]] = []

    def add(module: nn.Module, inputs: object, out: Tensor) -> None:
        costs.append(cost(module, out, model.family))

    for module in network.modules():
        if not any(module.children()):
            module.register_forward_hook(add)
    network(torch.empty(1, 3, size, size, device="meta"))
    return Count(*map(sum, zip(*costs, strict=True)))


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
