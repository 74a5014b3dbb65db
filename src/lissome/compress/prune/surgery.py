"""Dynamic network surgery: weights are pruned and spliced back while they are trained (Guo, Yao and Chen, NIPS 2016).

A mask T goes over each weight W, and the gradient with respect to W ⊙ T updates all of W, what is masked too (equation
3). So a weight that was pruned by mistake can grow, and returns. Two thresholds keep weights from flickering: T becomes
0 where abs(W) < a, 1 where abs(W) ≥ b, and stays between them (equation 4). T is brought up to date at random steps,
ever fewer: with probability 1 / (1 + gamma · step), so that training can settle.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.prune.driven import DrivenMask
from lissome.compress.prune.magnitude import set_masks
from lissome.errors import RecipeError


class _Through(torch.autograd.Function):
    """The weight where the mask is True, +0 elsewhere; its gradient goes to all of the weight."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, mask: Tensor) -> Tensor:
        del ctx
        return torch.where(mask, weight, 0.0) + 0.0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        del ctx
        return gradients[0], None


class SplicedMask(DrivenMask):
    """A mask between two thresholds. Buffers: `low`, `high`: a and b; `steps`: backward passes so far, int64."""

    low: Tensor
    high: Tensor
    steps: Tensor

    def __init__(self, method: Surgery, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.gamma, self.seed = method.gamma, method.seed
        self.register_buffer("low", torch.zeros((), dtype=weight.dtype, device=weight.device))
        self.register_buffer("high", torch.zeros_like(self.low))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64, device=weight.device))

    def masked(self, weight: Tensor) -> Tensor:
        kept: Tensor = _Through.apply(weight, self.mask)  # type: ignore[no-untyped-call]
        return kept

    def step(self, weight: Tensor) -> None:
        steps = int(self.steps)
        self.steps.add_(1)
        # Of the step's own number: a run that goes on from a checkpoint draws what the other would have drawn.
        draw = zlib.crc32(f"{self.seed} {self.where} {steps}".encode()) / 2**32
        if draw * (1 + self.gamma * steps) < 1:
            moved = self.moved(weight)
            if moved.any():
                self.mask.copy_(moved)

    def moved(self, weight: Tensor) -> Tensor:
        """The mask that the thresholds now give; equation 4."""
        size = weight.abs()
        return (size >= self.high) | (self.mask & (size >= self.low))


@dataclass(frozen=True)
class Surgery(Method):
    """Prune each weight under the rule, and splice back what grows again. Exactly one of sparsity and quality is given.

    sparsity: the share of weights below the lower threshold when it is set, in [0, 1); training moves the share that is
    masked from there. quality: the lower threshold is the mean of abs(W) plus so many standard deviations of it.
    margin: the upper threshold is 1 + margin times the lower one, > 0.
    gamma: how soon surgery becomes rare, ≥ 0. seed: of the draws.
    Thresholds are set when the method settles. A layer of equal weights has no threshold between them and stays whole,
    and a step that would empty a layer is left out. Raises RecipeError for options out of range, and when a layer's
    weight would lose every entry at once.
    """

    family: ClassVar[str] = "prune"

    sparsity: float | None = None
    quality: float | None = None
    margin: float = 0.1
    gamma: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.sparsity is None) == (self.quality is None):
            raise RecipeError("prune.Surgery takes either sparsity or quality")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise RecipeError(f"prune.Surgery: sparsity is a share in [0, 1), not {self.sparsity!r}")
        if self.quality is not None and not abs(self.quality) < float("inf"):
            raise RecipeError(f"prune.Surgery: quality is a number of standard deviations, not {self.quality!r}")
        if not 0 < self.margin < float("inf"):
            raise RecipeError(f"prune.Surgery: margin is positive, not {self.margin!r}")
        if not 0 <= self.gamma < float("inf"):
            raise RecipeError(f"prune.Surgery: gamma is 0 or more, not {self.gamma!r}")

    def parametrize(self, weight: Tensor, where: str) -> SplicedMask:
        return SplicedMask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        for member in members:
            spliced: SplicedMask = member.parametrization
            spliced.awake.fill_(fraction > 0)
            if fraction <= 0:
                spliced.mask.fill_(value=True)
                continue
            spliced.low.copy_(self._threshold(member.weight().abs().flatten(), fraction))
            spliced.high.copy_(spliced.low * (1 + self.margin))
        if fraction > 0:
            set_masks(self, members, [member.parametrization.moved(member.weight()) for member in members])

    def _threshold(self, sizes: Tensor, fraction: float) -> Tensor:
        if self.sparsity is None:
            spread = sizes.double().std(correction=0)
            return ((sizes.double().mean() + float(self.quality or 0) * spread).clamp(min=0) * fraction).to(sizes)
        gone = round(self.sparsity * fraction * sizes.numel())
        # What is below the weight that comes next goes; equal weights stay together.
        return sizes.sort().values[gone] if gone < sizes.numel() else torch.full_like(sizes[0], torch.inf)
