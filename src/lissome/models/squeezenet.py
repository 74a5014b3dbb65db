"""SqueezeNet 1.0 and 1.1: Iandola et al., AlexNet-level accuracy with 50x fewer parameters (2016).

Fire modules: a 1×1 convolution squeezes the channels, then 1×1 and 3×3 convolutions side by side expand them. Version
1.1 pools earlier: as accurate, 2.4× fewer multiply-adds.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import initialise_, spatial_mean


class Fire(nn.Module):
    """From c to `squeezed` channels by 1×1, then to `expanded` by 1×1 and as many more by 3×3."""

    def __init__(self, c: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(c, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.expand1x1(x)), torch.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    stem: filters and window of the first convolution. pooled: numbers of the fire modules (2 to 9) before which the map
    is pooled, besides the pooling of the stem.
    """

    input_shape: Final = (3, 224, 224)

    def __init__(self, stem: tuple[int, int], *pooled: int) -> None:
        super().__init__()
        channels, window = stem
        layers: list[nn.Module] = [nn.Conv2d(3, channels, window, 2), nn.ReLU(), _pool()]
        for number, squeezed in enumerate((16, 16, 32, 32, 48, 48, 64, 64), 2):
            if number in pooled:
                layers.append(_pool())
            layers.append(Fire(channels, squeezed, 4 * squeezed))
            channels = 8 * squeezed
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(channels, 1000, 1), nn.ReLU())
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return spatial_mean(self.classifier(self.features(x)))


def _pool() -> nn.Module:
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def squeezenet_1_0() -> SqueezeNet:
    return SqueezeNet((96, 7), 5, 9)


def squeezenet_1_1() -> SqueezeNet:
    return SqueezeNet((64, 3), 4, 6)
