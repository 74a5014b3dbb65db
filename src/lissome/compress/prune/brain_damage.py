"""Optimal brain damage: the weights go whose removal raises the loss least, by its curvature (LeCun, Denker and Solla,
NIPS 1989, sections 2.1 and 2.2).

At a minimum the gradient is zero, so that removing w_k costs about ½ h_kk w_k², with h_kk the diagonal of the Hessian.
It is measured on inputs (curvature.py), before the first settling; the paper prunes a few weights, trains on, measures
again (`inform_`) and prunes further. `Fisher` takes the squared gradient of training for h_kk instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.curvature import curvature
from lissome.compress.inform import Informed
from lissome.compress.method import Member, Method
from lissome.compress.prune.magnitude import Mask, settle_global
from lissome.compress.prune.ranked import Ranked


class CurvedMask(Mask):
    """As `Mask`. Buffer `curvature`: h_kk of each weight, of its shape, float32."""

    curvature: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("curvature", torch.zeros_like(weight, dtype=torch.float32))


@dataclass(frozen=True)
class BrainDamage(Ranked, Informed):
    """Prune all weights under the rule together to one global sparsity, ranked by ½ h_kk w_k². compress_ needs inputs.

    sparsity: share of pieces to remove, in [0, 1). granularity: what goes in one piece, ranked by the mean of its
    saliencies (granularity.py).
    Raises RecipeError for a sparsity out of range, an unknown granularity, and a weight that has no such pieces.
    """

    sparsity: float = 0.9
    granularity: str = "weight"

    def mask(self, weight: Tensor, where: str) -> CurvedMask:
        return CurvedMask(self, where, weight)

    @torch.no_grad()
    def inform(self, plain: nn.Module, members: Mapping[str, Member], inputs: tuple[Tensor, ...]) -> None:
        found = curvature(plain, inputs)
        for name, member in members.items():
            member.parametrization.curvature.copy_(found[name])

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_global(self, members, saliency, self.sparsity * fraction, pieces=self.pieces)


def saliency(member: Member) -> Tensor:
    """½ h w² of each entry: what the loss rises by when it goes."""
    curved: Tensor = member.parametrization.curvature
    return 0.5 * curved * member.weight().square()
