"""Ternary Weight Network: −α, 0 and +α for each layer (Li, Zhang and Liu 2016, "Ternary weight networks", section 2.2).

The threshold is Δ = 0.7 · mean |w|, near the optimum for weights that are normal or uniform (equation 6), and α the
mean magnitude of those above it (equation 5). Both are found anew at every forward pass, from the real weights beneath.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each
from lissome.errors import RecipeError


class Ternary(Snapped):
    """sign(w) · α where |w| > Δ, else 0."""

    method: TernaryWeight

    def snap(self, weight: Tensor) -> Tensor:
        magnitude = weight.abs()
        alive = weight != 0
        threshold = self.method.threshold * magnitude.sum(dtype=torch.float64) / alive.sum().clamp(min=1)
        large = magnitude.double() > threshold
        scale = (magnitude * large).sum(dtype=torch.float64) / large.sum().clamp(min=1)
        return torch.where(large, weight.sign() * scale.to(weight.dtype), 0.0)


@dataclass(frozen=True)
class TernaryWeight(Method):
    """A layer's weights become −α, 0 or +α; the original weights train beneath.

    threshold: of zero, as a multiple of the layer's mean magnitude, in (0, 10). Raises RecipeError outside that.
    """

    family: ClassVar[str] = "binarize"

    threshold: float = 0.7

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 10:
            raise RecipeError(f"binarize.TernaryWeight: threshold is in (0, 10), not {self.threshold!r}")

    def parametrize(self, weight: Tensor, where: str) -> Ternary:
        return Ternary(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
