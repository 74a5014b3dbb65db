"""Ternary connect: weights −1, 0 and +1 drawn by chance (Lin, Courbariaux, Memisevic and Bengio, "Neural networks with
few multiplications", ICLR 2016, section 3.2).

While it trains, a real weight in [−1, 1] becomes its sign with the chance |w|, else 0, drawn anew at every forward
pass; evaluation takes the likelier one. The paper's quantized back propagation is about training hardware and left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each


class TernarySigns(Snapped):
    """−1, 0 or +1."""

    method: TernaryConnect

    def snap(self, weight: Tensor) -> Tensor:
        drawn = self.method.stochastic and self.training
        bar = torch.rand_like(weight) if drawn else torch.full_like(weight, 0.5)
        return torch.where(weight.abs() > bar, weight.sign(), 0.0)

    def passes(self, weight: Tensor) -> Tensor:
        return (weight.abs() <= 1).to(weight.dtype)


@dataclass(frozen=True)
class TernaryConnect(Method):
    """Weights of −1, 0 and +1, for layers with a normalisation behind them; the original weights train beneath.

    stochastic: draw while training; False takes the likelier value there, too.
    """

    family: ClassVar[str] = "binarize"

    stochastic: bool = True

    def parametrize(self, weight: Tensor, where: str) -> TernarySigns:
        return TernarySigns(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
