"""Inception-ResNet-v2: Szegedy, Ioffe, Vanhoucke, Alemi (AAAI 2017).

Inception blocks whose concatenated branches are projected back to the block's own width, scaled down and added to its
input.
"""

from __future__ import annotations

from typing import Final, TypeAlias

import torch
from torch import nn

from lissome.models.blocks import ConvUnit, Window, classify, initialise_

# Filters and window of a convolution; a third number is its stride, and such a convolution has no padding.
_Unit: TypeAlias = tuple[int, Window] | tuple[int, Window, int]


class Mixed(nn.Module):
    """Branches side by side, their results concatenated along the channels; called branch0, branch1, …"""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.count = len(branches)
        for number, branch in enumerate(branches):
            self.add_module(f"branch{number}", branch)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.get_submodule(f"branch{number}")(x) for number in range(self.count)], 1)


class Residual(Mixed):
    """x + scale · projection(branches of x), then ReLU. mixed: channels of all branches together."""

    def __init__(self, c: int, mixed: int, scale: float, *branches: nn.Module, relu: bool = True) -> None:
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(mixed, c, 1)
        self.scale = scale
        self.relu = relu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.conv2d(super().forward(x)) * self.scale
        return torch.relu(x) if self.relu else x


class InceptionResNetV2(nn.Module):
    """Input (N, 3, 299, 299) float32, pixels (x − 0.5) / 0.5; output (N, 1000) logits. Named as in timm."""

    input_shape: Final = (3, 299, 299)

    def __init__(self) -> None:
        super().__init__()
        self.conv2d_1a = ConvUnit(3, 32, 3, stride=2, valid=True)
        self.conv2d_2a = ConvUnit(32, 32, 3, valid=True)
        self.conv2d_2b = ConvUnit(32, 64, 3)
        self.conv2d_3b = ConvUnit(64, 80, 1)
        self.conv2d_4a = ConvUnit(80, 192, 3, valid=True)
        self.mixed_5b = Mixed(
            _chain(192, (96, 1)),
            _chain(192, (48, 1), (64, 5)),
            _chain(192, (64, 1), (96, 3), (96, 3)),
            nn.Sequential(nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), _chain(192, (64, 1))),
        )
        self.repeat = nn.Sequential(*(_at_35() for _ in range(10)))
        self.mixed_6a = Mixed(
            _chain(320, (384, 3, 2)), _chain(320, (256, 1), (256, 3), (384, 3, 2)), nn.MaxPool2d(3, 2)
        )
        self.repeat_1 = nn.Sequential(*(_at_17() for _ in range(20)))
        self.mixed_7a = Mixed(
            _chain(1088, (256, 1), (384, 3, 2)),
            _chain(1088, (256, 1), (288, 3, 2)),
            _chain(1088, (256, 1), (288, 3), (320, 3, 2)),
            nn.MaxPool2d(3, 2),
        )
        self.repeat_2 = nn.Sequential(*(_at_8(0.2) for _ in range(9)))
        self.block8 = _at_8(1.0, relu=False)
        self.conv2d_7b = ConvUnit(2080, 1536, 1)
        self.pool = nn.MaxPool2d(3, 2)
        self.classif = nn.Linear(1536, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))  # (N, 64, 147, 147)
        x = self.pool(self.conv2d_4a(self.conv2d_3b(self.pool(x))))  # (N, 192, 35, 35)
        x = self.repeat(self.mixed_5b(x))  # (N, 320, 35, 35)
        x = self.repeat_1(self.mixed_6a(x))  # (N, 1088, 17, 17)
        x = self.repeat_2(self.mixed_7a(x))  # (N, 2080, 8, 8)
        return classify(self.conv2d_7b(self.block8(x)), self.classif)


def _chain(c: int, *units: _Unit) -> nn.Module:
    """One convolution, or several one after the other."""
    layers = []
    for k, window, *stride in units:
        layers.append(ConvUnit(c, k, window, stride=stride[0] if stride else 1, valid=bool(stride)))
        c = k
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def _at_35() -> Residual:
    branches = (_chain(320, (32, 1)), _chain(320, (32, 1), (32, 3)), _chain(320, (32, 1), (48, 3), (64, 3)))
    return Residual(320, 128, 0.17, *branches)


def _at_17() -> Residual:
    return Residual(1088, 384, 0.1, _chain(1088, (192, 1)), _chain(1088, (128, 1), (160, (1, 7)), (192, (7, 1))))


def _at_8(scale: float, *, relu: bool = True) -> Residual:
    branches = (_chain(2080, (192, 1)), _chain(2080, (192, 1), (224, (1, 3)), (256, (3, 1))))
    return Residual(2080, 448, scale, *branches, relu=relu)
