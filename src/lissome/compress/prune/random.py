"""Random pruning: the baseline that criteria have to beat (Mittal et al., "Recovering from random pruning", 2018)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.prune.granularity import Granularity
from lissome.compress.prune.magnitude import Mask, check_pieces, keep_largest, set_masks
from lissome.errors import RecipeError


@dataclass(frozen=True)
class Random(Method):
    """Prune each weight under the rule to one sparsity, by lot.

    sparsity: share of pieces to remove, in [0, 1). granularity: what goes in one piece (granularity.py). seed: of the
    lots; each weight draws its own, by its name, so that a schedule only ever adds to what is pruned.
    Raises RecipeError for options out of range, an unknown granularity, and a weight that has no such pieces.
    """

    family: ClassVar[str] = "prune"

    sparsity: float = 0.9
    granularity: str = "weight"
    seed: int = 0

    def __post_init__(self) -> None:
        Granularity(self.granularity)
        if not 0 <= self.sparsity < 1:
            raise RecipeError(f"prune.Random: sparsity is a share in [0, 1), not {self.sparsity!r}")
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"prune.Random: seed is in [0, 2^31), not {self.seed!r}")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        check_pieces(self, self.granularity, weight, where)
        return Mask(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        pieces = Granularity(self.granularity)
        kept = [keep_largest(self._lots(member, pieces), self.sparsity * fraction) for member in members]
        set_masks(self, members, kept, pieces)

    def _lots(self, member: Member, pieces: Granularity) -> Tensor:
        like = pieces.fold(member.weight())
        # One number of both: torch's generator takes no more than the lower 32 bits of a seed.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {member.parametrization.where}".encode()))
        return torch.rand(like.shape, generator=generator).to(like.device)
