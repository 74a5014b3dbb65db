"""MobileNet v1: Howard et al., Efficient Convolutional Neural Networks for Mobile Vision Applications (2017).

Every 3×3 convolution but the first is depthwise separable: one filter a channel, then a 1×1 convolution, for about
1/9 of the multiply-adds.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_

# Channels of each stage, and how many separable convolutions make it; every stage but the first halves the map.
_STAGES: Final = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))


class Separable(nn.Module):
    """3×3 depthwise convolution, then 1×1, each with batch norm and ReLU6."""

    def __init__(self, c: int, k: int, stride: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = conv_norm(c, c, 3, stride=stride, groups=c)
        self.conv_pw, self.bn2 = conv_norm(c, k)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu6(self.bn2(self.conv_pw(F.relu6(self.bn1(self.conv_dw(x))))))


class MobileNetV1(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Named as timm's mobilenetv1_100."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = conv_norm(3, 32, 3, stride=2)
        channels = 32
        stages: list[nn.Module] = []
        for k, repeat in _STAGES:
            first = Separable(channels, k, 2 if stages else 1)
            stages.append(nn.Sequential(first, *(Separable(k, k, 1) for _ in range(repeat - 1))))
            channels = k
        self.blocks = nn.Sequential(*stages)
        self.classifier = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return classify(self.blocks(F.relu6(self.bn1(self.conv_stem(x)))), self.classifier)
