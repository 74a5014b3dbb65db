"""Inception-v3: Szegedy et al., Rethinking the Inception Architecture (CVPR 2016).

Large windows are factorised: 5×5 into two 3×3, n×n into 1×n and n×1. Each block is a table of its branches. The
auxiliary classifier, which only training uses, is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F
from torch import nn

from lissome.models.blocks import ConvUnit, Window, classify, initialise_

# Filters and window of a convolution; a third number is its stride, and such a convolution has no padding.
_Unit: TypeAlias = tuple[int, Window] | tuple[int, Window, int]
# A chain of convolutions; a list within it is a fork, whose convolutions read the same tensor.
_Branches: TypeAlias = Mapping[str, Sequence[_Unit | list[_Unit]]]


class Mixed(nn.Module):
    """Branches side by side, their results concatenated along the channels.

    "branch_pool" begins with average pooling, or is max pooling of stride 2 when it has no convolution. Convolutions
    are named as in torchvision: by their branch, then _1, _2, … when it has several, then a, b, … in a fork.
    """

    def __init__(self, c: int, branches: _Branches) -> None:
        super().__init__()
        self.chains: dict[str, list[list[str]]] = {}
        self.out_channels = 0
        for branch, steps in branches.items():
            channels, chain = c, self.chains.setdefault(branch, [])
            for number, step in enumerate(steps, 1):
                units = step if isinstance(step, list) else [step]
                base = branch if len(steps) == 1 else f"{branch}_{number}"
                names = [base] if len(units) == 1 else [base + letter for letter in "ab"]
                for name, (k, window, *stride) in zip(names, units, strict=True):
                    unit = ConvUnit(channels, k, window, stride=stride[0] if stride else 1, valid=bool(stride))
                    self.add_module(name, unit)
                chain.append(names)
                channels = sum(unit[0] for unit in units)
            self.out_channels += channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._branch(name, x) for name in self.chains], 1)

    def _branch(self, branch: str, x: torch.Tensor) -> torch.Tensor:
        chain = self.chains[branch]
        if branch == "branch_pool":
            x = F.avg_pool2d(x, 3, 1, padding=1) if chain else F.max_pool2d(x, 3, 2)
        for names in chain:
            forked = [self.get_submodule(name)(x) for name in names]
            x = forked[0] if len(forked) == 1 else torch.cat(forked, 1)
        return x


class InceptionV3(nn.Module):
    """Input (N, 3, 299, 299) float32; output (N, 1000) logits. Parameters are named as in torchvision.

    torchvision's published weights take pixels (x − 0.5) / 0.5, x in 0..1.
    """

    input_shape: Final = (3, 299, 299)
    training_only: Final = ("AuxLogits.",)

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvUnit(3, 32, 3, stride=2, valid=True)
        self.Conv2d_2a_3x3 = ConvUnit(32, 32, 3, valid=True)
        self.Conv2d_2b_3x3 = ConvUnit(32, 64, 3)
        self.Conv2d_3b_1x1 = ConvUnit(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvUnit(80, 192, 3, valid=True)
        channels = 192
        for name, branches in _BLOCKS.items():
            block = Mixed(channels, branches)
            self.add_module(f"Mixed_{name}", block)
            channels = block.out_channels
        self.pool = nn.MaxPool2d(3, 2)
        self.dropout = nn.Dropout()
        self.fc = nn.Linear(channels, 1000)
        initialise_(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))  # (N, 64, 147, 147)
        x = self.pool(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.pool(x))))  # (N, 192, 35, 35)
        for name in _BLOCKS:
            x = self.get_submodule(f"Mixed_{name}")(x)  # 6a makes 17 × 17 of 35 × 35, 7a makes 8 × 8
        return classify(x, nn.Sequential(self.dropout, self.fc))


def _at_35(pooled: int) -> _Branches:
    """5×5 beside two 3×3."""
    return {
        "branch1x1": [(64, 1)],
        "branch5x5": [(48, 1), (64, 5)],
        "branch3x3dbl": [(64, 1), (96, 3), (96, 3)],
        "branch_pool": [(pooled, 1)],
    }


def _at_17(k: int) -> _Branches:
    """7×7 factorised into 1×7 and 7×1, once and twice."""
    return {
        "branch1x1": [(192, 1)],
        "branch7x7": [(k, 1), (k, (1, 7)), (192, (7, 1))],
        "branch7x7dbl": [(k, 1), (k, (7, 1)), (k, (1, 7)), (k, (7, 1)), (192, (1, 7))],
        "branch_pool": [(192, 1)],
    }


def _at_8() -> _Branches:
    """3×3 spread out into 1×3 and 3×1 side by side."""
    fork: list[_Unit] = [(384, (1, 3)), (384, (3, 1))]
    return {
        "branch1x1": [(320, 1)],
        "branch3x3": [(384, 1), fork],
        "branch3x3dbl": [(448, 1), (384, 3), fork],
        "branch_pool": [(192, 1)],
    }


_BLOCKS: Final[Mapping[str, _Branches]] = {
    "5b": _at_35(32),
    "5c": _at_35(64),
    "5d": _at_35(64),
    "6a": {"branch3x3": [(384, 3, 2)], "branch3x3dbl": [(64, 1), (96, 3), (96, 3, 2)], "branch_pool": []},
    "6b": _at_17(128),
    "6c": _at_17(160),
    "6d": _at_17(160),
    "6e": _at_17(192),
    "7a": {
        "branch3x3": [(192, 1), (320, 3, 2)],
        "branch7x7x3": [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2)],
        "branch_pool": [],
    },
    "7b": _at_8(),
    "7c": _at_8(),
}
