"""Parameters and FLOPs by two conventions: the exact one, and the one behind the published columns.

Both run the network on the shapes of one image; a convention defines the cost of each operation.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trtzoo.core.errors import unknown
from trtzoo.models.table import Count, Model, build_network

Cost = Callable[[Any, Tensor, str], tuple[int, int]]
"""(operation, its output for one image, the model's family) → (parameters, FLOPs)."""


def exact_product(product: Any, out: Tensor, family: str) -> tuple[int, int]:
    """A convolution or the classifier: 2 x multiply-accumulates at every output position. The bias adds no FLOPs."""
    return _parameters(product), 2 * product.weight.numel() * out[0, 0].numel()


def exact_norm(norm: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    """Scale and shift are parameters, the running statistics are not. Folded into a convolution, it costs nothing."""
    return _parameters(norm), 0


# Paddle 1.x, fluid.contrib.model_stat.summary under Python 2, which produced the published columns in 2019.


def paddle_conv(conv: Any, out: Tensor, family: str) -> tuple[int, int]:
    """The group width is divided by the groups twice, rounding down: most grouped convolutions count as nothing."""
    if conv.bias is not None:
        return paddle_linear(conv, out, family)
    width = conv.in_channels // conv.groups // conv.groups
    parameters = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1] * width
    return parameters, 2 * parameters * out[0, 0].numel()


def paddle_linear(linear: Any, out: Tensor, family: str) -> tuple[int, int]:
    """The classifier: a multiply-accumulate is one FLOP, and the bias is one parameter."""
    return linear.weight.numel() + 1, linear.weight.numel()


def paddle_norm(norm: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    return _parameters(norm), 2 * out.numel()


def paddle_relu(relu: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    """The batch dimension was -1, so every ReLU subtracts FLOPs."""
    return 0, -out.numel()


def paddle_pool(pool: Any, out: Tensor, family: str) -> tuple[int, int]:
    """Global pooling had a kernel of -1 in DenseNet and of 7 in DPN."""
    kernel = getattr(pool, "kernel_size", -1 if family == "densenet" else 7)
    return 0, out.numel() * kernel**2


CONVENTIONS: dict[str, dict[type[nn.Module], Cost]] = {
    "exact": {nn.Conv2d: exact_product, nn.Linear: exact_product, nn.BatchNorm2d: exact_norm},
    "paddle2019": {
        nn.Conv2d: paddle_conv,
        nn.Linear: paddle_linear,
        nn.BatchNorm2d: paddle_norm,
        nn.ReLU: paddle_relu,
        nn.MaxPool2d: paddle_pool,
        nn.AvgPool2d: paddle_pool,
        nn.AdaptiveAvgPool2d: paddle_pool,
    },
}


def count(model: Model, convention: str = "exact", *, size: int = 224) -> Count:
    """Parameters and FLOPs of one image of `size` x `size` at 1000 classes. Raises UsageError for an unknown convention."""
    if convention not in CONVENTIONS:
        raise unknown("counting convention", convention, CONVENTIONS)
    costs, network, total = CONVENTIONS[convention], build_network(model, device="meta"), Count(params=0, flops=0)

    def add(module: nn.Module, inputs: object, out: Tensor) -> None:
        nonlocal total
        params, flops = costs[type(module)](module, out, model.family)
        total = Count(params=total.params + params, flops=total.flops + flops)

    for module in network.modules():
        if type(module) in costs:
            module.register_forward_hook(add)
    network(torch.empty(1, 3, size, size, device="meta"))
    return total


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
