"""Trained Ternary Quantization: −Wn, 0 and +Wp for each layer, both trained (Zhu, Han, Mao and Dally, ICLR 2017).

Threshold Δ = t · max |w| (section 3.2, equation 9, t = 0.05). The gradient of a scale is the sum over its members
(equation 7); that of a real weight beneath is the value's, times Wp where it is positive, 1 where it is zero, and Wn
where it is negative (equation 8), so that weights cross the threshold both ways.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each
from lissome.errors import RecipeError


class _Lookup(torch.autograd.Function):
    """Wp where above Δ, −Wn where below −Δ, else 0; gradients as equations 7 and 8 say."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor, threshold: Tensor) -> Tensor:
        positive, negative = weight > threshold, weight < -threshold
        ctx.save_for_backward(positive, negative, scales)
        return torch.where(positive, scales[0], 0.0) + torch.where(negative, -scales[1], 0.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        positive, negative, scales = ctx.saved_tensors
        gradient = gradients[0]
        to_weight = gradient * torch.where(positive, scales[0], torch.where(negative, scales[1], 1.0))
        sums = torch.stack([(gradient * positive).sum(), -(gradient * negative).sum()])
        return to_weight, sums, None


class TrainedScales(Snapped):
    """Parameter `scales`: (2,), Wp and Wn, of whatever sign training gives them."""

    method: TrainedTernary

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.scales = nn.Parameter(torch.ones(2, dtype=weight.dtype, device=weight.device))

    def _threshold(self, weight: Tensor) -> Tensor:
        return self.method.threshold * weight.abs().max()

    @torch.no_grad()
    def settle(self, weight: Tensor) -> None:
        """Start from the mean magnitude of the members, the least squares."""
        threshold = self._threshold(weight)
        for i, chosen in enumerate((weight > threshold, weight < -threshold)):
            self.scales[i] = weight[chosen].abs().mean() if chosen.any() else 0.0

    def snap(self, weight: Tensor) -> Tensor:
        found: Tensor = _Lookup.apply(weight, self.scales, self._threshold(weight))  # type: ignore[no-untyped-call]
        return found

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        found: Tensor = _Lookup.apply(weight, self.scales, self._threshold(weight.detach()))  # type: ignore[no-untyped-call]
        return found + 0.0  # −0 becomes +0


@dataclass(frozen=True)
class TrainedTernary(Method):
    """A layer's weights become −Wn, 0 or +Wp, two trained numbers; the original weights train beneath.

    threshold: of zero, as a share of the layer's largest magnitude, in [0, 1). Raises RecipeError outside that.
    """

    family: ClassVar[str] = "binarize"

    threshold: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise RecipeError(f"binarize.TrainedTernary: threshold is in [0, 1), not {self.threshold!r}")

    def parametrize(self, weight: Tensor, where: str) -> TrainedScales:
        return TrainedScales(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
