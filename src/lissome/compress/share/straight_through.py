"""Weight sharing whose assignments are trained too, by the straight-through estimator.

`share.KMeans` fixes each weight's code and trains the centroids, as the paper does. Here the original weights go on
training beside the centroids: at every step a weight takes the code of the nearest centroid, the forward pass sees the
centroid, and the gradient of the shared weight passes to the original as if it had been used itself (Bengio, Léonard
and Courville 2013, "Estimating or propagating gradients through stochastic neurons"; for weight codebooks as in Choi et
al. 2017, "Towards the limit of network quantization", and Polino et al. 2018, "Differentiable quantization", section
3). Weights near a boundary can change sides, so that smaller codebooks keep the accuracy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lissome.compress.method import Member
from lissome.compress.share.kmeans import KMeans, Shared
from lissome.weights import CodedWeight


class _Nearest(torch.autograd.Function):
    """table[codes]; the gradient goes to the table summed by code, and to the surviving originals unchanged."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, table: Tensor, codes: Tensor) -> Tensor:
        ctx.save_for_backward(codes)
        ctx.entries = table.numel()
        del weight
        return table[codes]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (codes,) = ctx.saved_tensors
        grouped = torch.bincount(codes.flatten(), weights=gradients[0].flatten().double(), minlength=ctx.entries)
        return gradients[0] * (codes > 0), grouped.to(gradients[0].dtype), None


class Reassigned(Shared):
    """As `Shared`, with `codes` brought up to date at every forward pass. Buffer `count`: centroids in use, the first
    ones.
    """

    count: Tensor

    def __init__(self, method: StraightThrough, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.register_buffer("count", torch.zeros((), dtype=torch.int64, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        rounded = self.rounded()
        codes = self._assign(weight, rounded)
        table = torch.cat([torch.zeros_like(rounded[:1]), rounded])
        shared: Tensor = _Nearest.apply(weight, table, codes)  # type: ignore[no-untyped-call]
        return shared

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if self.settled:
            self._assign(weight, self.rounded())
        return super().encode(weight, before)

    @torch.no_grad()
    def _assign(self, weight: Tensor, rounded: Tensor) -> Tensor:
        """Codes (int64) of the nearest centroids, 0 where pruned; kept in the buffer as well."""
        if not self.count:
            return self.codes.long()
        centroids, order = rounded[: int(self.count)].sort()
        ranks = torch.bucketize(weight.detach().contiguous(), (centroids[1:] + centroids[:-1]) / 2)
        # A mask that moves while it is trained may prune on: what it takes has no code from then on.
        codes = torch.where((self.codes > 0) & (weight != 0), 1 + order[ranks], 0)
        self.codes.copy_(codes)
        return codes


@dataclass(frozen=True)
class StraightThrough(KMeans):
    """Share weights within each layer through a codebook found by k-means, then train codebook and assignments.

    Options and errors as for `KMeans`.
    """

    def parametrize(self, weight: Tensor, where: str) -> Reassigned:
        super().parametrize(weight, where)
        return Reassigned(self, where, weight)

    @torch.no_grad()
    def settle(self, members: Sequence[Member], fraction: float) -> None:
        super().settle(members, fraction)
        for member in members:
            shared = member.parametrization
            if fraction >= 1:
                shared.count.copy_(shared.codes.max())
