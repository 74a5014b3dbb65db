"""Xception: Chollet (CVPR 2017). Inception taken to its end: all windows are depthwise separable convolutions."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import classify, conv_norm, initialise_


class Separable(nn.Module):
    """A 3×3 convolution of each channel alone, then a 1×1 convolution across channels."""

    def __init__(self, c: int, k: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, c, 3, padding=1, groups=c, bias=False)
        self.pointwise = nn.Conv2d(c, k, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.pointwise(self.conv1(x))
        return y


class Block(nn.Module):
    """Separable convolutions of these widths beside a shortcut; `halve` ends with max pooling of stride 2."""

    def __init__(self, c: int, *widths: int, halve: bool, relu_first: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = c
        for k in widths:
            layers += [nn.ReLU(), Separable(channels, k), nn.BatchNorm2d(k)]
            channels = k
        layers = layers if relu_first else layers[1:]
        self.rep = nn.Sequential(*layers, *([nn.MaxPool2d(3, 2, padding=1)] if halve else []))
        if halve:
            self.skip, self.skipbn = conv_norm(c, channels, stride=2)
        self.halve = halve

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.rep(x)
        return y + (self.skipbn(self.skip(x)) if self.halve else x)


class Xception(nn.Module):
    """Input (N, 3, 299, 299) float32, pixels (x − 0.5) / 0.5; output (N, 1000) logits. As timm's legacy_xception."""

    input_shape: Final = (3, 299, 299)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32)
        self.conv2, self.bn2 = nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64)
        self.block1 = Block(64, 128, 128, halve=True, relu_first=False)
        self.block2 = Block(128, 256, 256, halve=True)
        self.block3 = Block(256, 728, 728, halve=True)
        for number in range(4, 12):
            self.add_module(f"block{number}", Block(728, 728, 728, 728, halve=False))
        self.block12 = Block(728, 728, 1024, halve=True)
        self.conv3, self.bn3 = Separable(1024, 1536), nn.BatchNorm2d(1536)
        self.conv4, self.bn4 = Separable(1536, 2048), nn.BatchNorm2d(2048)
        self.fc = nn.Linear(2048, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))  # (N, 32, 149, 149)
        x = torch.relu(self.bn2(self.conv2(x)))
        for number in range(1, 13):
            x = self.get_submodule(f"block{number}")(x)  # 74, 37, 19 pixels wide, and 10 behind the last
        x = torch.relu(self.bn3(self.conv3(x)))
        return classify(torch.relu(self.bn4(self.conv4(x))), self.fc)
