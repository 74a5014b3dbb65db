"""Network in Network: Lin, Chen, Yan (ICLR 2014), the ImageNet form of Caffe's model zoo.

After each convolution stand two 1×1 convolutions, a small perceptron slid over the map ("mlpconv"). The last mlpconv
has one channel a class and is averaged over the map: no linear layer, hence few parameters.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import nn

from lissome.models.blocks import initialise_, spatial_mean


class NetworkInNetwork(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits."""

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *mlpconv(3, 96, 96, 96, window=11, stride=4),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *mlpconv(96, 256, 256, 256, window=5, padding=2),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            *mlpconv(256, 384, 384, 384, window=3, padding=1),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.Dropout(),
            *mlpconv(384, 1024, 1024, 1000, window=3, padding=1),
        )
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return spatial_mean(self.features(x))


def mlpconv(
    c: int, k: int, hidden: int, out: int, *, window: int, stride: int = 1, padding: int = 0
) -> list[nn.Module]:
    """A convolution of k filters and two 1×1 convolutions, each with ReLU."""
    convolutions = (nn.Conv2d(c, k, window, stride, padding), nn.Conv2d(k, hidden, 1), nn.Conv2d(hidden, out, 1))
    return [layer for convolution in convolutions for layer in (convolution, nn.ReLU())]
