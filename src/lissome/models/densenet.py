"""DenseNet-121: Huang, Liu, van der Maaten, Weinberger (CVPR 2017), the form with bottlenecks and compression.

Each layer reads the results of all layers before it in its block and adds 32 channels to them.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import classify, initialise_

GROWTH: Final = 32


class DenseLayer(nn.Module):
    """Norm, ReLU, 1×1 convolution to 4 · 32 channels, norm, ReLU, 3×3 convolution to 32."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(c)
        self.conv1 = nn.Conv2d(c, 4 * GROWTH, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * GROWTH)
        self.conv2 = nn.Conv2d(4 * GROWTH, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))
        return torch.cat([x, y], 1)


class Transition(nn.Module):
    """Norm, ReLU, 1×1 convolution to half the channels, 2×2 average pooling."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(c)
        self.conv = nn.Conv2d(c, c // 2, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(self.conv(torch.relu(self.norm(x))), 2)


class DenseNet(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    repeats: layers in each block.
    """

    input_shape: Final = (3, 224, 224)
    # torchvision's published files have the names of an older form of its own module.
    former_names: Final = (r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.")

    def __init__(self, *repeats: int) -> None:
        super().__init__()
        self.features = nn.Sequential()
        self.features.add_module("conv0", nn.Conv2d(3, 64, 7, 2, 3, bias=False))
        self.features.add_module("norm0", nn.BatchNorm2d(64))
        self.features.add_module("relu0", nn.ReLU())
        self.features.add_module("pool0", nn.MaxPool2d(3, 2, padding=1))
        channels = 64
        for number, repeat in enumerate(repeats, 1):
            block = nn.Sequential()
            for layer in range(1, repeat + 1):
                block.add_module(f"denselayer{layer}", DenseLayer(channels))
                channels += GROWTH
            self.features.add_module(f"denseblock{number}", block)
            if number < len(repeats):
                self.features.add_module(f"transition{number}", Transition(channels))
                channels //= 2
        self.features.add_module(f"norm{len(repeats) + 1}", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return classify(torch.relu(self.features(x)), self.classifier)


def densenet_121() -> DenseNet:
    return DenseNet(6, 12, 24, 16)
