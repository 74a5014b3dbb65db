"""Taylor pruning: the weights go whose removal changes the loss least by its first-order expansion (Molchanov et al.,
"Importance estimation for neural network pruning", CVPR 2019, equation 8).

Setting a set of weights S to zero changes the loss by about Σ over S of g w; the square of that is the importance of S,
averaged over the batches of training. Of a coarse piece (granularity.py), S is the piece: its terms may cancel, which
sets this apart from a sum over single weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member
from lissome.compress.prune.granularity import Granularity
from lissome.compress.prune.lamp import lamp
from lissome.compress.prune.magnitude import settle_global
from lissome.compress.prune.ranked import Ranked
from lissome.compress.prune.watch import DECAY, WatchedMask


class TaylorMask(WatchedMask):
    """weight × mask, and the running mean of (mean over the piece of g w)². Buffer `importance`: one number a piece."""

    importance: Tensor

    def __init__(self, method: Taylor, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.pieces = Granularity(method.granularity)
        self.register_buffer("importance", torch.zeros_like(self.pieces.fold(weight)))

    def observe(self, weight: Tensor, gradient: Tensor) -> None:
        self.importance.mul_(DECAY).add_(self.pieces.fold(weight * gradient).square(), alpha=1 - DECAY)


@dataclass(frozen=True)
class Taylor(Ranked):
    """Prune all weights under the rule together to one global sparsity, ranked by E[(Σ g w)²].

    sparsity: share of pieces to remove, in [0, 1). granularity: what goes in one piece (granularity.py).
    It needs gradients, so use a schedule: before any was seen the ranking is LAMP's.
    Raises RecipeError for a sparsity out of range, an unknown granularity, and a weight that has no such pieces.
    """

    sparsity: float = 0.9
    granularity: str = "weight"

    def mask(self, weight: Tensor, where: str) -> TaylorMask:
        return TaylorMask(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_global(self, members, saliency, self.sparsity * fraction, pieces=self.pieces)


def saliency(member: Member) -> Tensor:
    """Importance of each entry's piece; the LAMP score while no gradient has been seen yet."""
    mask: TaylorMask = member.parametrization
    weight = member.weight()
    return mask.pieces.spread(mask.importance, weight.shape) if mask.importance.any() else lamp(weight)
