"""Counting parameters and FLOPs, by convention: the exact one, and the one behind the published columns.

Both walk the same traced network with the shapes of one image; a convention says what one operation costs.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from trtzoo.core.errors import unknown
from trtzoo.models.table import Count, Model, build_network

Cost = Callable[[Any, Tensor, str], tuple[int, int]]
"""(operation, its output for one image, the model's family) → (parameters, FLOPs)."""


def exact_conv(conv: Any, out: Tensor, family: str) -> tuple[int, int]:
    """2 x multiply-accumulates: every output value is a sum over kernel and group width. The bias adds none."""
    return _parameters(conv), 2 * conv.weight.numel() * out.shape[2] * out.shape[3]


def exact_linear(linear: Any, out: Tensor, family: str) -> tuple[int, int]:
    return _parameters(linear), 2 * linear.weight.numel()


def exact_norm(norm: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    """Scale and shift are parameters, the running statistics are not; folded into a convolution it costs nothing."""
    return _parameters(norm), 0


# Paddle 1.x, fluid.contrib.model_stat.summary under Python 2: how the published columns were made in 2019.


def paddle_conv(conv: Any, out: Tensor, family: str) -> tuple[int, int]:
    """The group width is divided by the groups a second time, rounding down: most grouped convolutions count as nothing."""
    if conv.bias is not None:
        return paddle_linear(conv, out, family)
    width = conv.in_channels // conv.groups // conv.groups
    parameters = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1] * width
    return parameters, 2 * parameters * out.shape[2] * out.shape[3]


def paddle_linear(linear: Any, out: Tensor, family: str) -> tuple[int, int]:
    """The classifier: one multiply-accumulate is one FLOP here, and the bias is a single parameter."""
    return linear.weight.numel() + 1, linear.weight.numel()


def paddle_norm(norm: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    return _parameters(norm), 2 * out.numel()


def paddle_relu(relu: nn.Module, out: Tensor, family: str) -> tuple[int, int]:
    """The batch dimension was -1, so every ReLU takes FLOPs away."""
    return 0, -out.numel()


def paddle_pool(pool: Any, out: Tensor, family: str) -> tuple[int, int]:
    return 0, out.numel() * pool.kernel_size**2


def paddle_global_pool(pool: Any, out: Tensor, family: str) -> tuple[int, int]:
    """DenseNet declared a kernel of -1, DPN one of 7."""
    return 0, out.numel() * (-1 if family == "densenet" else 7) ** 2


CONVENTIONS: dict[str, dict[type[nn.Module], Cost]] = {
    "exact": {nn.Conv2d: exact_conv, nn.Linear: exact_linear, nn.BatchNorm2d: exact_norm},
    "paddle2019": {
        nn.Conv2d: paddle_conv,
        nn.Linear: paddle_linear,
        nn.BatchNorm2d: paddle_norm,
        nn.ReLU: paddle_relu,
        nn.MaxPool2d: paddle_pool,
        nn.AvgPool2d: paddle_pool,
        nn.AdaptiveAvgPool2d: paddle_global_pool,
    },
}


def count(model: Model, convention: str = "exact", *, size: int = 224) -> Count:
    """Parameters and FLOPs of one image of `size` x `size` at 1000 classes. Raises UsageError for an unknown convention."""
    if convention not in CONVENTIONS:
        raise unknown("counting convention", convention, CONVENTIONS)
    network = build_network(model, device="meta")
    tally = _Tally(network, CONVENTIONS[convention], model.family)
    tally.run(torch.empty(1, 3, size, size, device="meta"))
    return Count(params=tally.params, flops=tally.flops)


class _Tally(fx.Interpreter):
    """Runs the traced network on shapes alone and adds up what each operation costs."""

    def __init__(self, network: nn.Module, costs: dict[type[nn.Module], Cost], family: str) -> None:
        super().__init__(fx.symbolic_trace(network))
        self.costs, self.family, self.params, self.flops = costs, family, 0, 0

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        out = super().call_module(target, args, kwargs)
        module = self.fetch_attr(target)
        if cost := self.costs.get(type(module)):
            params, flops = cost(module, out, self.family)
            self.params += params
            self.flops += flops
        return out


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
