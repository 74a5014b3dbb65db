"""GoogLeNet, that is Inception-v1: Szegedy et al. (CVPR 2015), in the two forms that are in use.

`googlenet` is torchvision's: batch norm after every convolution, and 3×3 where the paper's third branch has 5×5.
`googlenet_original` is the paper's, as Caffe trained it and Han et al. compress it: biases, 5×5, local response
normalisation. The auxiliary classifiers, which only training uses, are left out of both.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import torch
from torch import nn

from lissome.models.blocks import ConvUnit, classify, concat, initialise_, same

_Unit: TypeAlias = Callable[..., nn.Module]

# Filters of 1×1; of 3×3 behind their 1×1; of the larger window behind its 1×1; of 1×1 behind max pooling.
_INCEPTIONS: Final = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side; 1×1 convolutions make the inputs of the larger windows narrow."""

    def __init__(self, c: int, filters: tuple[int, ...], unit: _Unit, window: int) -> None:
        super().__init__()
        ones, reduce3, threes, reduce5, fives, pooled = filters
        self.branch1 = unit(c, ones, 1)
        self.branch2 = nn.Sequential(unit(c, reduce3, 1), unit(reduce3, threes, 3))
        self.branch3 = nn.Sequential(unit(c, reduce5, 1), unit(reduce5, fives, window))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, 1, padding=1), unit(c, pooled, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return concat((self.branch1, self.branch2, self.branch3, self.branch4), x)


class GoogLeNet(nn.Module):
    """Input (N, 3, 224, 224) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    unit: makes a convolution and its activation from (channels, filters, window, stride=). window: the third branch's.
    norm: behind the first pooling and before the second. last_pool: window of the last max pooling.
    torchvision's published weights take pixels (x − 0.5) / 0.5, x in 0..1.
    """

    input_shape: Final = (3, 224, 224)
    training_only: Final = ("aux1.", "aux2.")

    def __init__(self, unit: _Unit, window: int, norm: Callable[[], nn.Module], last_pool: int) -> None:
        super().__init__()
        self.conv1 = unit(3, 64, 7, stride=2)
        self.norm1 = norm()
        self.conv2 = unit(64, 64, 1)
        self.conv3 = unit(64, 192, 3)
        self.norm2 = norm()
        channels = 192
        for name, filters in _INCEPTIONS.items():
            self.add_module(f"inception{name}", Inception(channels, filters, unit, window))
            channels = sum(filters[i] for i in (0, 2, 4, 5))
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.last_pool = nn.MaxPool2d(last_pool, 2, ceil_mode=True)
        self.dropout = nn.Dropout(0.4)
        self.fc = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm1(self.pool(self.conv1(x)))  # (N, 64, 56, 56)
        x = self.pool(self.norm2(self.conv3(self.conv2(x))))  # (N, 192, 28, 28)
        pools = {"4a": self.pool, "5a": self.last_pool}  # 14 × 14, then 7 × 7
        for name in _INCEPTIONS:
            x = pools[name](x) if name in pools else x
            x = self.get_submodule(f"inception{name}")(x)
        return classify(x, nn.Sequential(self.dropout, self.fc))


def _biased(c: int, k: int, window: int, *, stride: int = 1) -> nn.Module:
    """A convolution with bias and ReLU, from before batch norm."""
    return nn.Sequential(nn.Conv2d(c, k, window, stride, same(window)), nn.ReLU())


def googlenet() -> GoogLeNet:
    return GoogLeNet(ConvUnit, 3, nn.Identity, 2)


def googlenet_original() -> GoogLeNet:
    return GoogLeNet(_biased, 5, partial(nn.LocalResponseNorm, 5, alpha=1e-4, beta=0.75, k=1.0), 3)
