"""Fisher pruning: the weights whose removal costs the loss least go (Theis et al. 2018; after LeCun et al. 1989).

Optimal brain damage estimates what removing a weight costs by the diagonal of the Hessian, ½ h w². For a loss that is a
log likelihood, the Hessian's diagonal is close to the mean squared gradient (the empirical Fisher information), which
training computes anyway: the saliency is w² E[g²]. Gradients compare across layers, so one sparsity over all of them
finds each layer's share; no heuristic is needed for it. ("Faster gaze prediction with dense networks and Fisher
pruning", section 2.2; "Optimal brain damage", section 2.2.)

The parametrization keeps a running mean of the squared gradient, so at least one backward pass comes before a settling
that is worth anything: use a schedule. With `rate` the saliency is divided by the bits that the weight costs (rate.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.prune.lamp import lamp
from lissome.compress.prune.magnitude import settle_global
from lissome.compress.prune.ranked import Ranked
from lissome.compress.prune.watch import DECAY, WatchedMask


class ObservedMask(WatchedMask):
    """weight × mask, and the running mean of the squared gradient. Buffer `moment`: of the weight's shape and dtype."""

    moment: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("moment", torch.zeros_like(weight))

    def observe(self, weight: Tensor, gradient: Tensor) -> None:
        del weight
        self.moment.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)


@dataclass(frozen=True)
class Fisher(Ranked):
    """Prune all weights under the rule together to one global sparsity, ranked by w² E[g²].

    sparsity: share of weights to remove, in [0, 1). rate: rank by saliency per coded bit instead of by saliency.
    granularity: what goes in one piece, ranked by the mean of its saliencies (granularity.py).
    Before any gradient was seen the ranking is LAMP's. Raises RecipeError for a sparsity out of range.
    """

    sparsity: float = 0.9
    rate: bool = False
    granularity: str = "weight"

    def mask(self, weight: Tensor, where: str) -> ObservedMask:
        return ObservedMask(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_global(self, members, saliency, self.sparsity * fraction, rate=self.rate, pieces=self.pieces)


def saliency(member: Member) -> Tensor:
    """w² E[g²] of each entry; the LAMP score while no gradient has been seen yet."""
    moment: Tensor = member.parametrization.moment
    return member.weight().square() * moment if moment.any() else lamp(member.weight())
