"""N of M: of every M neighbouring inputs of a filter, the N largest stay; 2 of 4 is what sparse tensor cores run
(Mishra et al., "Accelerating sparse deep neural networks", 2021; Zhou et al., ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from lissome.compress.method import Member, Method, refuse
from lissome.compress.prune.magnitude import Mask, set_masks
from lissome.errors import RecipeError


@dataclass(frozen=True)
class NofM(Method):
    """Keep the `keep` largest of every `of` neighbouring input channels, at each place of the window.

    keep: 1 to `of` − 1. of: 2 to 64. The last group of a weight whose inputs are no multiple of `of` is smaller and
    keeps up to `keep`. Under a schedule the numbers that go grow from none to `of` − `keep`.
    Raises RecipeError for options out of range, and for a weight of one dimension.
    """

    family: ClassVar[str] = "prune"

    keep: int = 2
    of: int = 4

    def __post_init__(self) -> None:
        if not 2 <= self.of <= 64 or not 1 <= self.keep < self.of:
            raise RecipeError(f"prune.NofM keeps 1 to of − 1, of 2 to 64, not {self.keep!r} of {self.of!r}")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        if weight.dim() < 2:
            raise refuse(self, where, f"a weight of shape {tuple(weight.shape)} has no inputs", "Leave biases out")
        return Mask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        stay = self.of - round((self.of - self.keep) * fraction)
        set_masks(self, members, [self._kept(member, stay) for member in members])

    def _kept(self, member: Member, stay: int) -> Tensor:
        weight = member.weight()
        k, c = weight.shape[:2]
        # Padding ranks below everything, also below what is pruned already.
        score = torch.where(member.parametrization.mask, weight.abs(), -1.0).reshape(k, c, -1)
        groups = functional.pad(score, (0, 0, 0, -c % self.of), value=-2.0).view(k, -(-c // self.of), self.of, -1)
        order = groups.argsort(dim=2, descending=True, stable=True)
        kept = torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order[:, :, :stay], value=True)
        return kept.view(k, -1, score.shape[2])[:, :c].reshape(weight.shape)
