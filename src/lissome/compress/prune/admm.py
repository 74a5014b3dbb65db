"""ADMM: pruning as a constraint that training is led to, step by step (Zhang et al., "A systematic DNN weight pruning
framework using alternating direction method of multipliers", ECCV 2018, sections 3 and 4).

Minimise the loss f(W) subject to W having so many non-zeros. The constraint is put on a copy Z, and the two are drawn
together by a dual variable U. In turn: W by training on f(W) + ρ/2 ‖W − Z + U‖² (whatever the user's loop does); Z as
the Euclidean projection of W + U onto the constraint, that is its largest entries; U ← U + W − Z. At the end W is
projected, and what is left is retrained under the mask.

Each settling below full strength is one update of Z and U, so that a schedule gives the iterations: `Iterative(rounds)`
does rounds − 1 of them, and at the last one prunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member
from lissome.compress.prune.driven import DrivenMask
from lissome.compress.prune.magnitude import keep_largest, set_masks
from lissome.compress.prune.ranked import Ranked
from lissome.errors import RecipeError


class SplitMask(DrivenMask):
    """Draws the weight to Z − U. Buffers `target`, Z, and `dual`, U: of the weight's shape and dtype."""

    target: Tensor
    dual: Tensor

    def __init__(self, method: ADMM, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.rho = method.rho
        self.register_buffer("target", torch.zeros_like(weight))
        self.register_buffer("dual", torch.zeros_like(weight))

    def step(self, weight: Tensor) -> Tensor:
        return self.rho * (weight - self.target + self.dual)


@dataclass(frozen=True)
class ADMM(Ranked):
    """Lead each weight under the rule to one sparsity by ADMM, then prune it and retrain under the mask.

    sparsity: share of pieces to remove, in [0, 1). rho: weight of the penalty, > 0 (the paper: 1.5e-3).
    granularity: what goes in one piece; the projection keeps the pieces of the largest norm.
    It needs a schedule; without one it prunes by magnitude at once, as its last step does.
    Raises RecipeError for options out of range, an unknown granularity, a weight that has no such pieces, and when a
    layer's weight would lose every entry.
    """

    sparsity: float = 0.9
    rho: float = 1.5e-3
    granularity: str = "weight"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.rho < float("inf"):
            raise RecipeError(f"prune.ADMM: rho is positive, not {self.rho!r}")

    def mask(self, weight: Tensor, where: str) -> SplitMask:
        return SplitMask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        if 0 < fraction < 1:
            for member in members:
                self._iterate(member.parametrization, member.weight())
            return
        for member in members:
            split: SplitMask = member.parametrization
            split.awake.fill_(value=False)
            split.target.zero_()
            split.dual.zero_()
        if fraction <= 0:
            for member in members:
                member.parametrization.mask.fill_(value=True)
            return
        set_masks(self, members, [self._kept(member) for member in members], self.pieces)

    def _iterate(self, split: SplitMask, weight: Tensor) -> None:
        """Z and U from the weight as training left it; the first time Z is its projection, and U is 0."""
        moved = weight + split.dual
        kept = keep_largest(self.pieces.fold(moved.square()), self.sparsity)
        split.target.copy_(torch.where(self.pieces.spread(kept, weight.shape), moved, 0.0))
        if split.awake:
            split.dual.add_(weight - split.target)
        split.awake.fill_(value=True)

    def _kept(self, member: Member) -> Tensor:
        """Of the projection of the weight itself; what is pruned already stays so."""
        score = torch.where(member.parametrization.mask, member.weight().square(), -1.0)
        return keep_largest(self.pieces.fold(score), self.sparsity)
