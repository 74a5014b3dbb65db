"""VGG-16 and VGG-19: Simonyan, Zisserman (ICLR 2015), configurations D and E.

Only 3×3 convolutions: two see as far as one 5×5 with 18 weights instead of 25. Nine tenths of the parameters are in the
three linear layers, nine tenths of the multiply-adds in the convolutions.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import initialise_


class VGG(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    repeats: 3×3 convolutions in each of the five stages; each stage ends with 2×2 max pooling.
    """

    input_shape: Final = (3, 224, 224)

    def __init__(self, *repeats: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for repeat, k in zip(repeats, (64, 128, 256, 512, 512), strict=True):
            for _ in range(repeat):
                layers += [nn.Conv2d(channels, k, 3, padding=1), nn.ReLU()]
                channels = k
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        )
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(x).flatten(1))
        return logits


def vgg_16() -> VGG:
    return VGG(2, 2, 3, 3, 3)


def vgg_19() -> VGG:
    return VGG(2, 2, 4, 4, 4)
