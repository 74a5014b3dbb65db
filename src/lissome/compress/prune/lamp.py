"""LAMP: layer-adaptive magnitude pruning (Lee et al., ICLR 2021), and the same per coded bit.

A weight's score is its square over the sum of squares of all weights of its layer that are at least as large: the
relative distortion that removing it adds to a layer from which the smaller ones have gone. Scores of different layers
compare, so one global sparsity finds each layer's share, and no layer is emptied.

With `rate`, the score is divided by the bits that the weight will cost in the file (rate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member
from lissome.compress.prune.magnitude import settle_global
from lissome.compress.prune.ranked import Ranked


@dataclass(frozen=True)
class Lamp(Ranked):
    """Prune all weights under the rule together to one global sparsity, ranked by LAMP score.

    sparsity: share of weights to remove, in [0, 1). rate: rank by score per coded bit instead of by score.
    granularity: what goes in one piece, ranked by the mean of its scores (granularity.py).
    Raises RecipeError for a sparsity out of range, and when a layer's weight would lose every entry.
    """

    sparsity: float = 0.9
    rate: bool = False
    granularity: str = "weight"

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        scores = lambda member: lamp(member.weight())  # noqa: E731
        settle_global(self, members, scores, self.sparsity * fraction, rate=self.rate, pieces=self.pieces)


def lamp(weight: Tensor) -> Tensor:
    """LAMP score of each entry (equation 1): w_u² / Σ over v with w_v² ≥ w_u² of w_v²; the largest scores 1."""
    square = weight.flatten().double().square()
    ordered, order = square.sort(stable=True)
    tail = ordered.flip(0).cumsum(0).flip(0)
    score = torch.zeros_like(square)
    score[order] = ordered / tail.clamp(min=torch.finfo(torch.float64).tiny)
    return score.to(weight.dtype).view(weight.shape)
