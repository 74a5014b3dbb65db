"""MobileNet v2: Sandler et al., Inverted Residuals and Linear Bottlenecks (CVPR 2018)."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_

# Table 2 of the paper: expansion, channels, repeats, stride of the first.
_STAGES: Final = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class InvertedResidual(nn.Module):
    """1×1 to c · expansion channels, 3×3 depthwise, 1×1 down to k without activation; x added where shapes agree."""

    def __init__(self, c: int, k: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c * expansion
        expand = [_unit(c, wide)] if expansion != 1 else []
        self.conv = nn.Sequential(*expand, _unit(wide, wide, 3, stride=stride, groups=wide), *conv_norm(wide, k))
        self.residual = stride == 1 and c == k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_unit(3, 32, 3, stride=2)]
        channels = 32
        for expansion, k, repeat, stride in _STAGES:
            for number in range(repeat):
                layers.append(InvertedResidual(channels, k, stride if number == 0 else 1, expansion))
                channels = k
        self.features = nn.Sequential(*layers, _unit(channels, 1280))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, 1000))
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return classify(self.features(x), self.classifier)


def _unit(c: int, k: int, window: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Module:
    return nn.Sequential(*conv_norm(c, k, window, stride=stride, groups=groups), nn.ReLU6())
