"""Magnitude pruning: the weights closest to zero go (Han et al., NIPS 2015, section 3; Zhu and Gupta 2017 for
schedules).

The mask is a buffer: it survives state_dict, stays fixed between two settlings, and masks the gradient too, so that
what was pruned stays pruned while the rest is retrained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lissome.compress.inform import Informed
from lissome.compress.method import Member, Method, Parametrization, refuse
from lissome.compress.prune.granularity import FINE, Granularity
from lissome.compress.prune.rate import per_bit
from lissome.compress.sensitivity import rates, sensitivity
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Dense, Sparse


class Mask(Parametrization):
    """The weight where `mask` is True, +0 elsewhere. Buffer `mask`: bool, of the weight's shape."""

    mask: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: Tensor) -> Tensor:
        # Not weight × mask: that is −0 where a negative weight was pruned. Adding +0 turns a surviving −0 into +0.
        return torch.where(self.mask, weight, 0.0) + 0.0

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        del before  # a mask comes first in a chain that is worth packing; what it lets through is stored as it is
        flat = self(weight).detach().flatten().cpu().float().numpy()
        positions = np.flatnonzero(flat)
        return Sparse(tuple(weight.shape), positions, Dense(flat[positions]))


class RatedMask(Mask):
    """As `Mask`. Buffer `rate`: float64, the share of this weight that goes at full strength."""

    rate: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("rate", torch.zeros((), dtype=torch.float64, device=weight.device))


@dataclass(frozen=True)
class Magnitude(Informed):
    """Prune weights by absolute value. Exactly one of the three measures is given.

    sparsity: share of weights to remove, in [0, 1).
    threshold: remove abs(w) below this value, > 0.
    quality: remove abs(w) below quality × standard deviation of the layer's weights (Han's quality factor), > 0.
    What is pruned already counts as zero, so that settling again does not ratchet the threshold up.
    scope: "layer" (each weight loses `sparsity` of its entries), "global" (all weights under the rule are ranked
    together) or "sensitivity" (each loses a share of its own, as much as the network bears by measurement on inputs
    which compress_ then needs (sensitivity.py), `sparsity` over all); only `sparsity` has a scope.
    granularity: what goes in one piece, ranked by the mean of abs(w) over it: "weight", "row", "column", "kernel",
    "filter", "channel", or a block such as "1x4" (granularity.py). sparsity is then the share of pieces.

    Raises RecipeError for options outside these ranges, and when a layer's weight would lose every entry.
    """

    family: ClassVar[str] = "prune"

    sparsity: float | None = None
    threshold: float | None = None
    quality: float | None = None
    scope: str = "layer"
    granularity: str = "weight"

    def __post_init__(self) -> None:
        Granularity(self.granularity)
        given = [name for name in ("sparsity", "threshold", "quality") if getattr(self, name) is not None]
        if len(given) != 1:
            raise RecipeError(f"prune.Magnitude takes one of sparsity, threshold and quality, not {given or 'none'}")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise RecipeError(f"prune.Magnitude: sparsity is a share in [0, 1), not {self.sparsity!r}")
        for name in ("threshold", "quality"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise RecipeError(f"prune.Magnitude: {name} is positive, not {value!r}")
        if self.scope not in ("layer", "global", "sensitivity") or (self.scope != "layer" and self.sparsity is None):
            raise RecipeError("prune.Magnitude: scope is 'layer', or 'global' or 'sensitivity' together with sparsity")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        check_pieces(self, self.granularity, weight, where)
        return RatedMask(self, where, weight) if self.looks else Mask(self, where, weight)

    @property
    def looks(self) -> bool:
        return self.scope == "sensitivity"

    def inform(self, plain: nn.Module, members: Mapping[str, Member], inputs: tuple[Tensor, ...]) -> None:
        counts = {name: member.parametrization.mask.numel() for name, member in members.items()}
        curves = sensitivity(plain, list(members), inputs)
        for name, rate in rates(curves, counts, float(self.sparsity or 0)).items():
            pieces = Granularity(self.granularity).fold(members[name].weight()).numel()
            members[name].parametrization.rate.fill_(min(rate, 1 - 1 / pieces))  # one at least stays

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        pieces = Granularity(self.granularity)
        if fraction <= 0:
            for member in members:
                member.parametrization.mask.fill_(value=True)
            return
        if self.sparsity is not None and self.scope == "global":
            settle_global(self, members, lambda m: m.weight().abs(), self.sparsity * fraction, pieces=pieces)
            return
        scores = [pieces.fold(self._score(member)) for member in members]
        if self.sparsity is None:
            masks = [score >= self._cut(member, fraction) for score, member in zip(scores, members, strict=True)]
        else:
            shares = [float(m.parametrization.rate) if self.looks else self.sparsity for m in members]
            masks = [keep_largest(score, share * fraction) for score, share in zip(scores, shares, strict=True)]
        set_masks(self, members, masks, pieces)

    @staticmethod
    def _score(member: Member) -> Tensor:
        """abs(weight), and −1 where already pruned, so that what is gone stays gone."""
        magnitude = member.weight().abs()
        return torch.where(member.parametrization.mask, magnitude, -torch.ones_like(magnitude))

    def _cut(self, member: Member, fraction: float) -> float:
        if self.threshold is not None:
            return self.threshold * fraction
        deviation = float(member.parametrization(member.weight()).double().std(correction=0))
        return float(self.quality or 0.0) * fraction * deviation


def check_pieces(method: Method, granularity: str, weight: Tensor, where: str) -> None:
    """Raise RecipeError for a weight that has no pieces of this granularity."""
    reason = Granularity(granularity).refuses(tuple(weight.shape))
    if reason:
        raise refuse(method, where, reason, "Choose granularity='weight', or leave this layer out")


@torch.no_grad()
def settle_global(
    method: Method,
    members: Sequence[Member],
    saliency: Callable[[Member], Tensor],
    sparsity: float,
    *,
    rate: bool = False,
    pieces: Granularity = FINE,
) -> None:
    """Rank the pieces of all members together by `saliency` (per coded bit, with `rate`), and mask the lowest ones.

    What is pruned already stays pruned; sparsity 0 takes all masks off. Raises RecipeError as `set_masks` does.
    """
    if sparsity <= 0:
        for member in members:
            member.parametrization.mask.fill_(value=True)
        return
    scores = []
    for member in members:
        mask = member.parametrization.mask
        score = per_bit(saliency(member), mask) if rate else saliency(member)
        scores.append(pieces.fold(torch.where(mask, score, -torch.ones_like(score))))
    joint = keep_largest(torch.cat([score.flatten() for score in scores]), sparsity)
    parts = torch.split(joint, [score.numel() for score in scores])
    set_masks(method, members, [part.view_as(score) for part, score in zip(parts, scores, strict=True)], pieces)


def keep_largest(score: Tensor, sparsity: float) -> Tensor:
    """Boolean mask of the round((1 − sparsity) × n) largest; equal scores are kept in order of position."""
    flat = score.flatten()
    keep = round((1 - sparsity) * flat.numel())
    mask = torch.zeros_like(flat, dtype=torch.bool)
    if keep:
        cut = flat.kthvalue(flat.numel() - keep + 1).values
        mask = flat > cut
        ties = (flat == cut).nonzero().flatten()
        mask[ties[: keep - int(mask.sum())]] = True
    mask &= flat >= 0
    return mask.view_as(score)


def set_masks(method: Method, members: Sequence[Member], kept: Sequence[Tensor], pieces: Granularity = FINE) -> None:
    """Put new masks in place, from what is kept piece by piece; all or none.

    Raises RecipeError when a weight would lose every entry.
    """
    masks = [pieces.spread(mask, m.parametrization.mask.shape) for m, mask in zip(members, kept, strict=True)]
    for member, mask in zip(members, masks, strict=True):
        if mask.dim() > 1 and not mask.any():
            raise refuse(
                method,
                member.parametrization.where,
                f"it would remove all {mask.numel():,} weights and cut the network in two",
                "Prune less, or leave this layer out",
            )
    for member, mask in zip(members, masks, strict=True):
        member.parametrization.mask.copy_(mask)
