"""ShuffleNet v2, 1×: Ma, Zhang, Zheng, Sun, Practical Guidelines for Efficient CNN Architecture Design (ECCV 2018).

Half the channels pass a unit untouched; no grouped 1×1 convolutions, and channels shuffled after the halves are joined.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_
from lissome.models.shufflenet_v1 import shuffle

_STAGES: Final = ((116, 4), (232, 8), (464, 4))  # table 5 of the paper: channels and units of each stage


class ShuffleUnit(nn.Module):
    """branch2 of one half of the channels beside the other half; where it halves the map, of all beside branch1."""

    def __init__(self, c: int, k: int) -> None:
        super().__init__()
        half = k // 2
        self.halve = c != k
        stride, read = (2, c) if self.halve else (1, half)
        if self.halve:
            self.branch1 = nn.Sequential(*conv_norm(c, c, 3, stride=2, groups=c), *conv_norm(c, half), nn.ReLU())
        self.branch2 = nn.Sequential(
            *conv_norm(read, half),
            nn.ReLU(),
            *conv_norm(half, half, 3, stride=stride, groups=half),
            *conv_norm(half, half),
            nn.ReLU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.halve:
            return shuffle(torch.cat([self.branch1(x), self.branch2(x)], 1), 2)
        kept, changed = x.chunk(2, 1)
        return shuffle(torch.cat([kept, self.branch2(changed)], 1), 2)


class ShuffleNetV2(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(*conv_norm(3, 24, 3, stride=2), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        channels, stages = 24, []
        for k, repeat in _STAGES:
            stages.append(nn.Sequential(ShuffleUnit(channels, k), *(ShuffleUnit(k, k) for _ in range(repeat - 1))))
            channels = k
        self.stage2, self.stage3, self.stage4 = stages
        self.conv5 = nn.Sequential(*conv_norm(channels, 1024), nn.ReLU())
        self.fc = nn.Linear(1024, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.conv1(x))  # (N, 24, 56, 56)
        return classify(self.conv5(self.stage4(self.stage3(self.stage2(x)))), self.fc)
