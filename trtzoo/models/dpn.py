"""Dual Path Networks (Chen et al., arXiv:1707.01629). Sub-modules are named as timm's, so its checkpoints load as they are."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class DPN(nn.Module):
    """A residual path of fixed width beside a dense path that grows: images (N, 3, H, W) → logits (N, classes).

    `k_r` is the width of the first stage's grouped convolution, `growth` the dense path's step in each stage. DPN-68 is
    the one with the 3x3 stem of ten channels; its residual path is a quarter as wide.
    """

    def __init__(
        self,
        *,
        stem: int,
        k_r: int,
        groups: int,
        blocks: tuple[int, ...],
        growth: tuple[int, ...],
        classes: int = 1000,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        small = stem == 10
        kernel, base = (3, 64) if small else (7, 256)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1_1=ConvNormAct(3, stem, kernel, epsilon),
            conv1_pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = stem
        for stage, (depth, step) in enumerate(zip(blocks, growth, strict=True)):
            residual, inner = base << stage, k_r << stage
            for index in range(depth):
                projection = None if index else (1 if stage == 0 else 2)
                block = DualPathBlock(width, inner, residual, step, groups, projection, epsilon)
                layers[f"conv{stage + 2}_{index + 1}"] = block
                width = residual + 3 * step if projection else width + step
        layers["conv5_bn_ac"] = CatNormAct(width, epsilon)
        self.features = nn.Sequential(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.pool(self.features(images))), 1)


class ConvNormAct(nn.Module):
    """The stem: Conv-BN-ReLU at stride 2."""

    def __init__(self, width: int, out: int, kernel: int, epsilon: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, out, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out, epsilon)
        self.act = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(images)))  # type: ignore[no-any-return]


class NormActConv(nn.Module):
    """BN-ReLU-Conv, the order of all convolutions but the stem."""

    def __init__(self, width: int, out: int, kernel: int, epsilon: float, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, epsilon)
        self.act = nn.ReLU()
        self.conv = nn.Conv2d(width, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(self.act(self.bn(features)))  # type: ignore[no-any-return]


class CatNormAct(nn.Module):
    """The end of both paths: concatenate, BN, ReLU."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, epsilon)
        self.act = nn.ReLU()

    def forward(self, paths: tuple[Tensor, Tensor]) -> Tensor:
        return self.act(self.bn(torch.cat(paths, 1)))  # type: ignore[no-any-return]


class DualPathBlock(nn.Module):
    """One micro-block (figure 2d): the first `residual` channels are added to the one path, the rest joined to the other.

    `projection` is the stride of the 1x1 convolution that opens a stage, None elsewhere.
    """

    def __init__(
        self, width: int, inner: int, residual: int, step: int, groups: int, projection: int | None, epsilon: float
    ) -> None:
        super().__init__()
        stride = projection or 1
        self.residual, self.step, self.projection = residual, step, None
        if projection:
            self.projection = f"c1x1_w_s{projection}"
            self.add_module(self.projection, NormActConv(width, residual + 2 * step, 1, epsilon, stride))
        self.c1x1_a = NormActConv(width, inner, 1, epsilon)
        self.c3x3_b = NormActConv(inner, inner, 3, epsilon, stride, groups)
        self.c1x1_c = NormActConv(inner, residual + step, 1, epsilon)

    def forward(self, features: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        joined = torch.cat(features, 1) if isinstance(features, tuple) else features
        if self.projection:
            shortcut = self.get_submodule(self.projection)(joined)
            kept, dense = torch.split(shortcut, [self.residual, 2 * self.step], 1)
        else:
            kept, dense = features
        added, grown = torch.split(self.c1x1_c(self.c3x3_b(self.c1x1_a(joined))), [self.residual, self.step], 1)
        return kept + added, torch.cat((dense, grown), 1)
