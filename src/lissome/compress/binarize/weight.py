"""Binary Weight Network: ±α for each filter (Rastegari et al., XNOR-Net, ECCV 2016, section 3.1).

The B of ±1 and the α that minimise ‖W − αB‖² are B = sign(W) and α = ‖W‖₁ / n, for each filter on its own (equations 4
to 6). They are found anew at every forward pass, from the real weights beneath. The gradient to those is the paper's
(section 3.2): that of the value times (1/n + α · 1[|w| ≤ 1]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each


class Scaled(Snapped):
    """sign(w) · mean |w| of the filter; over what is not 0."""

    def snap(self, weight: Tensor) -> Tensor:
        return torch.where(weight >= 0, 1.0, -1.0).to(weight.dtype) * mean_magnitude(weight)

    def passes(self, weight: Tensor) -> Tensor:
        alive = (weight != 0).flatten(1).sum(1).clamp(min=1) if weight.dim() > 1 else (weight != 0).sum().clamp(min=1)
        count = alive.view(-1, *[1] * (weight.dim() - 1)) if weight.dim() > 1 else alive
        return 1 / count + mean_magnitude(weight) * (weight.abs() <= 1)


def mean_magnitude(weight: Tensor) -> Tensor:
    """Mean magnitude of each filter's entries that are not 0, to broadcast over it; of a vector's as a whole."""
    flat = weight.flatten(1) if weight.dim() > 1 else weight.view(1, -1)
    mean = flat.abs().sum(1) / (flat != 0).sum(1).clamp(min=1)
    return mean.view(-1, *[1] * (weight.dim() - 1)) if weight.dim() > 1 else mean


@dataclass(frozen=True)
class BinaryWeight(Method):
    """Each filter's weights become ± their mean magnitude; the original weights train beneath."""

    family: ClassVar[str] = "binarize"

    def parametrize(self, weight: Tensor, where: str) -> Scaled:
        return Scaled(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
