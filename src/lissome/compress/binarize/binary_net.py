"""BinaryNet: weights and activations of ±1 (Hubara, Courbariaux et al., "Binarized neural networks", NIPS 2016).

Weights as in BinaryConnect, the real ones kept in [−1, 1] by where their gradient passes (section 1.3); inputs of
layers by signs.py. A layer's sums are counts of equal signs then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.binarize.signs import SignsOfInputs
from lissome.compress.method import Member, Method, refuse
from lissome.compress.snapped import Snapped, settle_each


class BinaryLayer(Snapped):
    """+1 or −1, of inputs of ±1."""

    def __init__(self, method: BinaryNet, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.around = SignsOfInputs(weight.shape[1], norm=method.norm, scaled=False).to(weight.device)

    def snap(self, weight: Tensor) -> Tensor:
        return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)

    def passes(self, weight: Tensor) -> Tensor:
        return (weight.abs() <= 1).to(weight.dtype)


@dataclass(frozen=True)
class BinaryNet(Method):
    """Weights and inputs of ±1, for layers with a batch norm behind them; the original weights train beneath.

    norm: put a batch norm before the signs, for layers that read what a ReLU made; the paper's blocks, convolution,
    batch norm, hard tanh, need none. The first and the last layer stay real (recipe). Raises RecipeError on weights of
    one dimension and layers that are no plain convolution or linear layer.
    """

    family: ClassVar[str] = "binarize"

    norm: bool = False

    def parametrize(self, weight: Tensor, where: str) -> BinaryLayer:
        if weight.dim() < 2:
            raise refuse(self, where, "it has one dimension", "Leave biases and norms out of the recipe")
        return BinaryLayer(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
        for member in members:
            member.parametrization.around.active.fill_(value=fraction >= 1)
