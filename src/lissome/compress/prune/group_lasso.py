"""Structured sparsity learning: whole filters, channels, shapes or layers are driven to zero by a group lasso (Wen et
al., "Learning structured sparsity in deep neural networks", NIPS 2016, section 3).

The loss is joined by λ Σ_g ‖w_g‖₂ over groups of weights (equations 2 to 4): its gradient λ w_g / ‖w_g‖ draws each
group to zero with the same force however small it is, so that groups which the loss does not need arrive there. A group
whose entries have become small is then set to zero for good, as the authors' code does. `bake_` and
`shrink(zeros=True)` cut out what is gone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lissome.compress.method import Member, Method, refuse
from lissome.compress.prune.driven import DrivenMask
from lissome.errors import RecipeError

#: axes of (K, C, R, S) that are kept apart; a group runs over the others
_APART: Final[Mapping[str, tuple[int, ...]]] = {
    "filters": (0,),
    "channels": (1,),
    "shapes": (1, 2, 3),
    "depth": (),
}


class GroupMask(DrivenMask):
    """Draws groups to zero, and masks those that arrive. Buffers: `strength`, 0 to 1; `floor`, the root mean square of
    a group's entries below which it goes.
    """

    strength: Tensor
    floor: Tensor

    def __init__(self, method: GroupLasso, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.penalties = method.penalties
        for name in ("strength", "floor"):
            self.register_buffer(name, torch.zeros((), dtype=weight.dtype, device=weight.device))

    def step(self, weight: Tensor) -> Tensor:
        self.trim(weight)
        return self.pull(weight)

    def pull(self, weight: Tensor) -> Tensor:
        """The gradient of the penalty: Σ over the kinds of groups of λ w_g / ‖w_g‖."""
        live = torch.where(self.mask, weight, 0.0)
        total = torch.zeros_like(live)
        for kind, penalty in self.penalties.items():
            norm = _over(live.square(), kind).sqrt()
            total += penalty * live / norm.clamp(min=torch.finfo(live.dtype).tiny)
        return self.strength * total

    def trim(self, weight: Tensor) -> None:
        """Mask the groups that are below the floor; of filters, channels and shapes one at least stays."""
        for kind in self.penalties:
            power = _over(torch.where(self.mask, weight, 0.0).square(), kind)
            count = _over(self.mask.to(weight.dtype), kind)
            mean = power / count.clamp(min=1)
            stays = mean >= self.floor.square()
            if kind != "depth" and not (stays & (count > 0)).any():
                stays = stays | (mean == mean.max())
            self.mask &= stays


@dataclass(frozen=True)
class GroupLasso(Method):
    """Train groups of each weight under the rule to zero; one penalty at least is above 0.

    filters, channels, shapes, depth: λ of the groups w[k], w[:, c], w[:, c, r, s] (of a linear layer as channels), and
    of the whole weight, ≥ 0; about the learning rate's scale of the loss: 1e-4 to 1e-2.
    threshold: groups go whose root mean square is below this share of the layer's own when the method settled, > 0 and
    < 1. A mask only grows in training; a schedule takes strength from 0 to 1. `depth` may empty a layer: only for
    layers that a shortcut passes by. Raises RecipeError for options out of range and for a weight of one dimension.
    """

    family: ClassVar[str] = "prune"

    filters: float = 0.0
    channels: float = 0.0
    shapes: float = 0.0
    depth: float = 0.0
    threshold: float = 0.05

    def __post_init__(self) -> None:
        if any(not 0 <= getattr(self, kind) < float("inf") for kind in _APART):
            raise RecipeError(f"{self}: penalties are 0 or more")
        if not self.penalties:
            raise RecipeError("prune.GroupLasso takes a penalty on filters, channels, shapes or depth")
        if not 0 < self.threshold < 1:
            raise RecipeError(f"prune.GroupLasso: threshold is a share in (0, 1), not {self.threshold!r}")

    @property
    def penalties(self) -> dict[str, float]:
        """Those that are above 0."""
        return {kind: getattr(self, kind) for kind in _APART if getattr(self, kind) > 0}

    def parametrize(self, weight: Tensor, where: str) -> GroupMask:
        if weight.dim() < 2:
            raise refuse(self, where, f"a weight of shape {tuple(weight.shape)} has no groups", "Leave biases out")
        return GroupMask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        for member in members:
            mask: GroupMask = member.parametrization
            mask.awake.fill_(fraction > 0)
            mask.strength.fill_(fraction)
            if fraction <= 0:
                mask.mask.fill_(value=True)
                mask.floor.zero_()
                continue
            weight = member.weight()
            if not mask.floor:
                mask.floor.copy_(self.threshold * weight.square().mean().sqrt())
            mask.trim(weight)


def _over(values: Tensor, kind: str) -> Tensor:
    """The sum over each group, with the extents of the groups' axes 1."""
    axes = [axis for axis in range(values.dim()) if axis not in _APART[kind]]
    return values.sum(axes, keepdim=True) if axes else values
