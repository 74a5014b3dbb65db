"""BinaryConnect: weights of ±1 in forward and backward, real ones beneath (Courbariaux, Bengio and David, NIPS 2015).

Deterministic: the sign (equation 1). Stochastic, while training: +1 with probability σ(w) = clip((w + 1) / 2, 0, 1)
(equations 2 and 3), drawn anew at every forward pass. The real weights stay in [−1, 1], since a larger one could not
change its sign any more (section 2.4): the gradient passes where |w| ≤ 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each


class Signs(Snapped):
    """+1 or −1."""

    method: BinaryConnect

    def snap(self, weight: Tensor) -> Tensor:
        if self.method.stochastic and self.training:
            chance = ((weight + 1) / 2).clamp(0, 1)
            return torch.where(torch.rand_like(weight) < chance, 1.0, -1.0).to(weight.dtype)
        return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype)

    def passes(self, weight: Tensor) -> Tensor:
        return (weight.abs() <= 1).to(weight.dtype)


@dataclass(frozen=True)
class BinaryConnect(Method):
    """Weights of ±1, for layers with a normalisation behind them; the original weights train beneath.

    stochastic: draw the signs by the weights' distance from ±1 while training; evaluation takes the sign.
    """

    family: ClassVar[str] = "binarize"

    stochastic: bool = False

    def parametrize(self, weight: Tensor, where: str) -> Signs:
        return Signs(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
