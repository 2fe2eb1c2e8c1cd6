"""Dual Path Networks (Chen et al., arXiv:1707.01629). Sub-modules have timm's names, so timm's checkpoints load unchanged."""

from collections import OrderedDict
from functools import partial

import torch
from torch import Tensor, nn


class DPN(nn.Module):
    """A residual path of constant width beside a dense path that grows: images (N, 3, H, W) → logits (N, classes).

    `k_r` is the width of the first stage's grouped convolutions, which doubles in every stage. `steps` has the channels that
    a block adds to the dense path, by stage. DPN-68 has a smaller stem (3x3, ten channels) and narrower residual paths.
    """

    def __init__(
        self,
        *,
        stem: int,
        k_r: int,
        groups: int,
        blocks: list[int],
        steps: list[int],
        classes: int = 1000,
        epsilon: float = 1e-5,
    ) -> None:
        super().__init__()
        kernel, base = (3, 64) if stem == 10 else (7, 256)
        conv = nn.Conv2d(3, stem, kernel, stride=2, padding=kernel // 2, bias=False)
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv1_1=nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(stem, epsilon), act=nn.ReLU())),
            conv1_pool=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = stem
        for stage, (depth, step) in enumerate(zip(blocks, steps, strict=True)):
            residual, inner = base << stage, k_r << stage
            block = partial(DualPathBlock, inner=inner, residual=residual, step=step, groups=groups, epsilon=epsilon)
            for index in range(depth):
                projection = None if index else (1 if stage == 0 else 2)
                layers[f"conv{stage + 2}_{index + 1}"] = block(width, projection=projection)
                width = width + step if index else residual + 3 * step
        layers["conv5_bn_ac"] = CatNormAct(width, epsilon)
        self.features = nn.Sequential(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.pool(self.features(images))), 1)


def norm_act_conv(width: int, out: int, kernel: int, epsilon: float, *, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """BN-ReLU-Conv, the order of all convolutions except the stem."""
    conv = nn.Conv2d(width, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return nn.Sequential(OrderedDict(bn=nn.BatchNorm2d(width, epsilon), act=nn.ReLU(), conv=conv))


class CatNormAct(nn.Module):
    """The end of both paths: concatenate, BN, ReLU."""

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, epsilon)
        self.act = nn.ReLU()

    def forward(self, paths: tuple[Tensor, Tensor]) -> Tensor:
        return self.act(self.bn(torch.cat(paths, 1)))  # type: ignore[no-any-return]


class DualPathBlock(nn.Module):
    """One micro-block (figure 2d): its first `residual` outputs are added to one path, the last `step` joined to the other.

    `projection` is the stride of the 1x1 convolution in a stage's first block, None in the others.
    """

    def __init__(
        self, width: int, *, inner: int, residual: int, step: int, groups: int, projection: int | None, epsilon: float
    ) -> None:
        super().__init__()
        stride = projection or 1
        self.residual, self.step, self.projection = residual, step, None
        if projection:
            self.projection = f"c1x1_w_s{projection}"
            self.add_module(self.projection, norm_act_conv(width, residual + 2 * step, 1, epsilon, stride=stride))
        self.c1x1_a = norm_act_conv(width, inner, 1, epsilon)
        self.c3x3_b = norm_act_conv(inner, inner, 3, epsilon, stride=stride, groups=groups)
        self.c1x1_c = norm_act_conv(inner, residual + step, 1, epsilon)

    def forward(self, features: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        joined = torch.cat(features, 1) if isinstance(features, tuple) else features
        if self.projection:
            shortcut = self.get_submodule(self.projection)(joined)
            residual, dense = torch.split(shortcut, [self.residual, 2 * self.step], 1)
        else:
            residual, dense = features
        added, joint = torch.split(self.c1x1_c(self.c3x3_b(self.c1x1_a(joined))), [self.residual, self.step], 1)
        return residual + added, torch.cat((dense, joint), 1)
