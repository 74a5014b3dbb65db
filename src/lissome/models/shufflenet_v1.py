"""ShuffleNet v1, 1× with three groups: Zhang, Zhou, Lin, Sun (CVPR 2018).

The 1×1 convolutions are grouped; shuffling the channels lets the groups see each other.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_

GROUPS: Final = 3
_STAGES: Final = ((240, 4), (480, 8), (960, 4))  # table 1 of the paper: channels and units of each stage


def shuffle(x: torch.Tensor, groups: int) -> torch.Tensor:
    """Channels (g, c) in the order (c, g): one of every group, then the next of every group."""
    _, c, h, w = x.shape
    return x.reshape(-1, groups, c // groups, h, w).transpose(1, 2).reshape(-1, c, h, w)


class ShuffleUnit(nn.Module):
    """Grouped 1×1 to a quarter of the channels, shuffle, 3×3 depthwise, grouped 1×1; added to x.

    Where it halves the map, the shortcut is average pooling, and both are concatenated: k counts them together.
    groups: of the first convolution; the very first unit has too few channels for several.
    """

    def __init__(self, c: int, k: int, groups: int = GROUPS) -> None:
        super().__init__()
        self.halve = c != k
        narrow, out = k // 4, k - c if self.halve else k
        self.conv1, self.bn1 = conv_norm(c, narrow, groups=groups)
        self.conv2, self.bn2 = conv_norm(narrow, narrow, 3, stride=2 if self.halve else 1, groups=narrow)
        self.conv3, self.bn3 = conv_norm(narrow, out, groups=GROUPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = shuffle(torch.relu(self.bn1(self.conv1(x))), GROUPS)
        y = self.bn3(self.conv3(self.bn2(self.conv2(y))))
        if self.halve:
            return torch.relu(torch.cat([F.avg_pool2d(x, 3, 2, padding=1), y], 1))
        return torch.relu(x + y)


class ShuffleNetV1(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 24, 3, stride=2)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels = 24
        stages: list[nn.Module] = []
        for k, repeat in _STAGES:
            first = ShuffleUnit(channels, k, GROUPS if stages else 1)
            stages.append(nn.Sequential(first, *(ShuffleUnit(k, k) for _ in range(repeat - 1))))
            channels = k
        self.stage2, self.stage3, self.stage4 = stages
        self.fc = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))  # (N, 24, 56, 56)
        return classify(self.stage4(self.stage3(self.stage2(x))), self.fc)
