"""Load-balance-aware pruning: as many non-zeros in every processing element's part (Han et al., ESE, FPGA 2017,
section 3.2).

An accelerator for sparse products gives each of its P processing elements every P-th row of the matrix, and is as slow
as the one that got most non-zeros. So the largest weights stay within each element's rows, as many in each, instead of
over the whole matrix: the same sparsity, the same number of cycles everywhere. The EIE model (hardware/eie.py) shares
rows out in the same way.
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


@dataclass(frozen=True)
class LoadBalanced(Method):
    """Prune each weight under the rule to one sparsity, by magnitude within the rows of each processing element.

    sparsity: share of weights to remove, in [0, 1). pes: processing elements, from 1; row k (of a convolution filter k,
    over all of its inputs) belongs to element k mod pes. Counts of two elements differ by one at most, unless one of
    them has fewer rows than that takes. Raises RecipeError for options out of range, a weight of one dimension, and
    when a weight would lose every entry.
    """

    family: ClassVar[str] = "prune"

    sparsity: float = 0.9
    pes: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise RecipeError(f"prune.LoadBalanced: sparsity is a share in [0, 1), not {self.sparsity!r}")
        if self.pes < 1:
            raise RecipeError(f"prune.LoadBalanced: pes is 1 or more, not {self.pes!r}")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        if weight.dim() < 2:
            raise refuse(self, where, f"a weight of shape {tuple(weight.shape)} has no rows", "Leave biases out")
        return Mask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        set_masks(self, members, [self._kept(member, self.sparsity * fraction) for member in members])

    def _kept(self, member: Member, sparsity: float) -> Tensor:
        weight = member.weight()
        pruned = ~member.parametrization.mask if sparsity else torch.zeros_like(weight, dtype=torch.bool)
        score = torch.where(pruned, -1.0, weight.abs()).flatten(1)
        rows, columns = score.shape
        own = [torch.arange(pe, rows, self.pes) for pe in range(min(rows, self.pes))]
        kept = torch.zeros_like(score, dtype=torch.bool)
        budgets = shares(round((1 - sparsity) * score.numel()), [len(each) * columns for each in own])
        for each, budget in zip(own, budgets, strict=True):
            part = score[each]
            kept[each] = keep_largest(part, 1 - budget / part.numel())
        return kept.view(weight.shape)


def shares(total: int, room: Sequence[int]) -> list[int]:
    """`total` shared out evenly, nobody getting more than there is room for."""
    given = [0] * len(room)
    order = sorted(range(len(room)), key=lambda index: room[index])
    for place, index in enumerate(order):  # those with the least room first: what they cannot take goes to the others
        given[index] = min(room[index], total // (len(order) - place))
        total -= given[index]
    return given
