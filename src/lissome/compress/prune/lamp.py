"""LAMP: layer-adaptive magnitude pruning (Lee et al., ICLR 2021), and the same per coded bit.

A weight's score is its square over the sum of squares of all weights of its layer that are at least as large: the
relative distortion that removing it adds to a layer from which the smaller ones have gone. Scores of different layers
compare, so one global sparsity finds each layer's share, and no layer is emptied.

With `rate`, the score is divided by the bits that the weight will cost in the file. A survivor far from all others
costs more than one in a busy row and column: with row counts r_i and column counts c_j of the current mask, its
position costs about −log2(r_i · c_j / Σr). Pruning by distortion per bit leaves fewer live neurons and inputs at the
same accuracy, and the packer's context models find the order in it. (The trade of distortion against rate is the
classical one, e.g. Wiedemann et al., "DeepCABAC", 2020, section IV; applying it to the choice of survivors while
training is lissome's own.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method, refuse
from lissome.compress.prune.magnitude import Mask, keep_largest, set_masks
from lissome.errors import RecipeError

#: bits that a survivor's code costs beside its position, about the entropy of a small codebook
CODE_BITS = 3.5


@dataclass(frozen=True)
class Lamp(Method):
    """Prune all weights under the rule together to one global sparsity, ranked by LAMP score.

    sparsity: share of weights to remove, in [0, 1). rate: rank by score per coded bit instead of by score.
    Raises RecipeError for a sparsity out of range, and when a layer's weight would lose every entry.
    """

    family: ClassVar[str] = "prune"

    sparsity: float = 0.9
    rate: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise RecipeError(f"prune.Lamp: sparsity is a share in [0, 1), not {self.sparsity!r}")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        if weight.numel() == 0:
            raise refuse(self, where, "the weight has no entries", "Leave the layer out of the recipe")
        return Mask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        if fraction <= 0:
            for member in members:
                member.parametrization.mask.fill_(value=True)
            return
        scores = []
        for member in members:
            mask = member.parametrization.mask
            score = lamp(member.weight() * mask)
            if self.rate:
                score = score / (position_bits(mask) + CODE_BITS)
            scores.append(torch.where(mask, score, -torch.ones_like(score)))
        joint = keep_largest(torch.cat([score.flatten() for score in scores]), self.sparsity * fraction)
        parts = torch.split(joint, [score.numel() for score in scores])
        set_masks(self, members, [part.view_as(score) for part, score in zip(parts, scores, strict=True)])


def lamp(weight: Tensor) -> Tensor:
    """LAMP score of each entry (equation 1): w_u² / Σ over v with w_v² ≥ w_u² of w_v²; the largest scores 1."""
    square = weight.flatten().double().square()
    ordered, order = square.sort(stable=True)
    tail = ordered.flip(0).cumsum(0).flip(0)
    score = torch.zeros_like(square)
    score[order] = ordered / tail.clamp(min=torch.finfo(torch.float64).tiny)
    return score.to(weight.dtype).view(weight.shape)


def position_bits(mask: Tensor) -> Tensor:
    """Bits that the position of each entry costs, were it kept, by the row and column counts of `mask` (K, ...)."""
    table = mask.reshape(mask.shape[0], -1).double() if mask.dim() > 1 else mask.reshape(1, -1).double()
    rows, columns = table.sum(1, keepdim=True) + 0.5, table.sum(0, keepdim=True) + 0.5
    chance = (rows * columns / (table.sum() + 1)).clamp(max=0.9)
    return -torch.log2(chance).to(torch.float32).view(mask.shape)
