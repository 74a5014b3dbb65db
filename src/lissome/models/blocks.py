"""Building blocks that networks of several families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

Window: TypeAlias = int | tuple[int, int]


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm, ReLU, with the names `conv` and `bn` of published Inception weights.

    The window is padded so that stride 1 keeps the extents, unless `valid`.
    """

    def __init__(self, c: int, k: int, window: Window, *, stride: int = 1, valid: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, k, window, stride, padding=0 if valid else same(window), bias=False)
        self.bn = nn.BatchNorm2d(k, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


def same(window: Window) -> Window:
    """The padding on both sides with which a window of odd extents and stride 1 keeps the extents of its input."""
    return window // 2 if isinstance(window, int) else (window[0] // 2, window[1] // 2)


def conv_norm(c: int, k: int, window: int = 1, *, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """A padded convolution without bias and its batch norm, to be put into an `nn.Sequential`."""
    return [nn.Conv2d(c, k, window, stride, window // 2, groups=groups, bias=False), nn.BatchNorm2d(k)]


def concat(branches: Sequence[nn.Module], x: torch.Tensor) -> torch.Tensor:
    """What all branches make of x, side by side along the channels."""
    return torch.cat([branch(x) for branch in branches], 1)


def classify(features: torch.Tensor, classifier: nn.Module) -> torch.Tensor:
    """Logits (N, classes) from a feature map (N, C, H, W): global average, then the classifier."""
    logits: torch.Tensor = classifier(spatial_mean(features))
    return logits


def spatial_mean(x: torch.Tensor) -> torch.Tensor:
    """The mean (N, C) of each channel of x (N, C, H, W)."""
    return F.adaptive_avg_pool2d(x, 1).flatten(1)


def initialise_(model: nn.Module) -> None:
    """Draw the weights of all convolutions as He et al. (ICCV 2015, section 2.2): variance 2 / (inputs of a filter).

    Activations then keep their size along a chain of layers, so that a network of random weights computes with numbers
    that tell right from wrong (each residual sum may double their variance). Linear layers stay as torch makes them.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
