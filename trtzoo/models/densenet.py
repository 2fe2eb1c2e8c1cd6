"""DenseNet (Huang et al., arXiv:1608.06993). Sub-modules have torchvision's names, so its checkpoints load unchanged."""

from collections import OrderedDict

import torch
from torch import Tensor, nn


class DenseNet(nn.Module):
    """Four dense blocks with transitions that halve the width: images (N, 3, H, W) → logits (N, classes).

    `growth_rate` is the channels that a layer adds, `blocks` the layers of each block, `stem` the first convolution's width.
    """

    def __init__(self, *, growth_rate: int, blocks: list[int], stem: int, classes: int = 1000, epsilon: float = 1e-5) -> None:
        super().__init__()
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv0=nn.Conv2d(3, stem, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(stem, epsilon),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = stem
        for stage, depth in enumerate(blocks, start=1):
            if stage > 1:
                layers[f"transition{stage - 1}"] = transition(width, epsilon)
                width //= 2
            layers[f"denseblock{stage}"] = DenseBlock(width, growth_rate, depth, epsilon)
            width += depth * growth_rate
        layers["norm5"] = nn.BatchNorm2d(width, epsilon)
        layers["relu5"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.pool(self.features(images)), 1))  # type: ignore[no-any-return]


class DenseBlock(nn.Module):
    """Every layer's input is the concatenation of the block's input and all earlier layers' outputs (section 3)."""

    def __init__(self, width: int, growth_rate: int, depth: int, epsilon: float) -> None:
        super().__init__()
        for index in range(depth):
            self.add_module(f"denselayer{index + 1}", dense_layer(width + index * growth_rate, growth_rate, epsilon))

    def forward(self, features: Tensor) -> Tensor:
        for layer in self.children():
            features = torch.cat((features, layer(features)), 1)
        return features


def dense_layer(width: int, growth_rate: int, epsilon: float) -> nn.Sequential:
    """BN-ReLU-Conv 1x1 to 4 x growth, BN-ReLU-Conv 3x3 to growth: the bottleneck of DenseNet-B."""
    inner = 4 * growth_rate
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        norm1=nn.BatchNorm2d(width, epsilon),
        relu1=nn.ReLU(),
        conv1=nn.Conv2d(width, inner, 1, bias=False),
        norm2=nn.BatchNorm2d(inner, epsilon),
        relu2=nn.ReLU(),
        conv2=nn.Conv2d(inner, growth_rate, 3, padding=1, bias=False),
    )
    return nn.Sequential(layers)


def transition(width: int, epsilon: float) -> nn.Sequential:
    """BN-ReLU-Conv 1x1 to half the width, then 2x2 average pooling: the compression of DenseNet-C."""
    norm, conv = nn.BatchNorm2d(width, epsilon), nn.Conv2d(width, width // 2, 1, bias=False)
    return nn.Sequential(OrderedDict(norm=norm, relu=nn.ReLU(), conv=conv, pool=nn.AvgPool2d(2, stride=2)))
