"""SparseGPT: second-order pruning in one pass over the columns (Frantar and Alistarh, ICML 2023, algorithm 1).

A layer's output error is quadratic in the error of its weights. Column after column, weights whose absence costs least,
w² / U_jj² with U the Cholesky factor of H⁻¹, become 0, and the columns still to come make good the error, as optimal
brain surgeon says. Which weights go is decided for BLOCK columns at once, from the weights as they are by then: so a
row may lose more in one block than another does. N:M keeps `keep` of every `of` neighbours in a row instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from lissome.compress.calibrated import Seen
from lissome.compress.method import Member
from lissome.compress.prune.looking import Looking
from lissome.compress.prune.magnitude import set_masks
from lissome.compress.prune.reconstruct import rewrite
from lissome.compress.quantize.moments import moments
from lissome.compress.quantize.second_order import inverse_factor
from lissome.errors import RecipeError

#: columns whose masks are chosen together (the paper's Bs)
BLOCK: Final = 128


@dataclass(frozen=True)
class SparseGPT(Looking):
    """Prune each weight under the rule to one sparsity without training; the weights that stay answer for the others.

    sparsity: share of each weight to remove, in [0, 1). keep, of: of every `of` neighbours in a filter's flattened row
    the `keep` best stay, instead of a sparsity (2 of 4, say); both 0 or both given.
    Sleeps until `calibrate_` shows it inputs; a schedule puts it to sleep. Raises RecipeError for options outside these
    and a weight of one dimension.
    """

    sparsity: float = 0.5
    keep: int = 0
    of: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.keep, self.of) != (0, 0) and not 1 <= self.keep < self.of:
            raise RecipeError(f"prune.SparseGPT: keep {self.keep} of {self.of}: at least 1, and fewer than there are")

    @torch.no_grad()
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        weight = member.weight()
        gram, cross = moments(seen, centred=centred)
        rows = torch.linalg.solve(gram, (weight.double().reshape(seen.rows.shape) @ cross).mT).mT
        left, kept = self.solve(rows, inverse_factor(gram))
        set_masks(self, [member], [kept.reshape(weight.shape)])
        rewrite(member, left, kept)

    def solve(self, rows: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
        """Weights that stay and where they are, (G, R, d); rows: (G, R, d), factor: (G, d, d), U of H⁻¹ = UᵀU."""
        left, kept = rows.clone(), torch.ones_like(rows, dtype=torch.bool)
        width, columns = self.of or BLOCK, rows.shape[2]
        for j in range(columns):
            if j % width == 0:
                part = slice(j, min(j + width, columns))
                cost = left[:, :, part].square() / factor.diagonal(dim1=1, dim2=2)[:, part].square().unsqueeze(1)
                kept[:, :, part] = self._stay(cost)
            gone = torch.where(kept[:, :, j : j + 1], 0.0, left[:, :, j : j + 1])
            left[:, :, j:] -= gone / factor[:, j, j].view(-1, 1, 1) * factor[:, j : j + 1, j:]
        return left * kept, kept

    def _stay(self, cost: Tensor) -> Tensor:
        if self.of:
            rank = cost.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
            return rank < self.keep
        stay = max(1, round((1 - self.sparsity) * cost.numel()))
        best = cost.flatten().argsort(descending=True, stable=True)[:stay]
        return torch.zeros(cost.numel(), dtype=torch.bool).index_fill(0, best, value=True).view(cost.shape)
