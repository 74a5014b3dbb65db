"""Movement pruning: the weights that training moves towards zero go (Sanh, Wolf and Rush, NeurIPS 2020, section 3).

A score follows each weight: S = −Σ over the steps of g w, which grows where a step of gradient descent takes the weight
away from zero and falls where it takes it closer (equations 2 and 3). The largest scores stay. The gradient is that of
the masked weight, passed straight through, so that a weight that was masked goes on collecting and may come back.
Magnitude asks how far a weight is from zero; movement where it is going: for fine-tuning at high sparsity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.prune.magnitude import keep_largest, set_masks
from lissome.compress.prune.ranked import Ranked
from lissome.compress.prune.watch import WatchedMask


class MovingMask(WatchedMask):
    """weight × mask, and the movement of each weight so far. Buffer `movement`: of the weight's shape and dtype."""

    movement: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("movement", torch.zeros_like(weight))

    def observe(self, weight: Tensor, gradient: Tensor) -> None:
        self.movement.addcmul_(gradient, weight, value=-1)


@dataclass(frozen=True)
class Movement(Ranked):
    """Prune each weight under the rule to one sparsity, ranked by movement; what was pruned may come back.

    sparsity: share of pieces to remove, in [0, 1). granularity: what goes in one piece, by the mean of its scores.
    It needs gradients, so use a schedule: where none was seen yet, the ranking is by magnitude.
    Raises RecipeError for a sparsity out of range, an unknown granularity, and a weight that has no such pieces.
    """

    sparsity: float = 0.9
    granularity: str = "weight"

    def mask(self, weight: Tensor, where: str) -> MovingMask:
        return MovingMask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        kept = []
        for member in members:
            score = self.pieces.fold(_score(member)).double()
            # Ranks, because keep_largest takes a negative score for one that is gone for good.
            kept.append(keep_largest(score - score.min(), self.sparsity * fraction))
        set_masks(self, members, kept, self.pieces)


def _score(member: Member) -> Tensor:
    movement: Tensor = member.parametrization.movement
    return movement if movement.any() else member.weight().abs()
