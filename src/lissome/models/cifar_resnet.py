"""ResNet-20, 32 and 56 for CIFAR-10: He, Zhang, Ren, Sun (CVPR 2016, section 4.2).

Shortcuts have no parameters (the paper's option A): where a stage halves the map and doubles the channels, every second
row and column is taken and channels of zeros are put on both sides.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_


class Block(nn.Module):
    """relu(shortcut(x) + two 3×3 convolutions of x)."""

    def __init__(self, c: int, k: int) -> None:
        super().__init__()
        self.stride = 1 if c == k else 2
        self.missing = k - c
        self.conv1, self.bn1 = conv_norm(c, k, 3, stride=self.stride)
        self.conv2, self.bn2 = conv_norm(k, k, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.missing:
            side = self.missing // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side))
        return torch.relu(y + x)


class CifarResNet(nn.Module):
    """Input (N, 3, 32, 32) float32; output (N, 10) logits. repeats: blocks in each of the three stages."""

    input_shape: Final = (3, 32, 32)

    def __init__(self, repeats: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(3, 16, 3)
        self.layer1 = nn.Sequential(*(Block(16, 16) for _ in range(repeats)))
        self.layer2 = nn.Sequential(Block(16, 32), *(Block(32, 32) for _ in range(repeats - 1)))
        self.layer3 = nn.Sequential(Block(32, 64), *(Block(64, 64) for _ in range(repeats - 1)))
        self.linear = nn.Linear(64, 10)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        return classify(self.layer3(self.layer2(self.layer1(x))), self.linear)


def resnet_20() -> CifarResNet:
    return CifarResNet(3)


def resnet_32() -> CifarResNet:
    return CifarResNet(5)


def resnet_56() -> CifarResNet:
    return CifarResNet(9)
