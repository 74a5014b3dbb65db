"""Random pruning: the baseline that criteria have to beat (Mittal et al., "Recovering from random pruning", 2018)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.method import Member
from lissome.compress.prune.magnitude import keep_largest, set_masks
from lissome.compress.prune.ranked import Ranked
from lissome.errors import RecipeError


@dataclass(frozen=True)
class Random(Ranked):
    """Prune each weight under the rule to one sparsity, by lot.

    sparsity: share of pieces to remove, in [0, 1). granularity: what goes in one piece (granularity.py). seed: of the
    lots; each weight draws its own, by its name, so that a schedule only ever adds to what is pruned.
    Raises RecipeError for options out of range, an unknown granularity, and a weight that has no such pieces.
    """

    sparsity: float = 0.9
    granularity: str = "weight"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.seed < 2**31:
            raise RecipeError(f"prune.Random: seed is in [0, 2^31), not {self.seed!r}")

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        kept = [keep_largest(self._lots(member), self.sparsity * fraction) for member in members]
        set_masks(self, members, kept, self.pieces)

    def _lots(self, member: Member) -> Tensor:
        like = self.pieces.fold(member.weight())
        # One number of both: torch's generator takes no more than the lower 32 bits of a seed.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{self.seed} {member.parametrization.where}".encode()))
        return torch.rand(like.shape, generator=generator).to(like.device)
