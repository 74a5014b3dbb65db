"""CP decomposition of a kernel: 1 × 1 × c → R, k × 1 and 1 × k of each channel alone, 1 × 1 × R → d.

W[d, c, i, j] ≈ Σ_r A[d, r] B[c, r] P[i, r] Q[j, r], a sum of R products of vectors (Lebedev et al., ICLR 2015,
"Speeding-up convolutional neural networks using fine-tuned CP-decomposition", section 3). The factors are found by
alternating least squares, each in closed form given the others; a little ridge keeps terms from growing against each
other.
Cost of a position: R (c + 2k + d) multiply-adds for k²c d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, Structural, convolution, convolution_of, offset
from lissome.errors import RecipeError

TURNS: Final = 300
#: added to the normal equations, relative to their mean diagonal
RIDGE: Final = 1e-6
#: relative improvement of the error below which a turn is the last
ENOUGH: Final = 1e-6

_MODES: Final = ("kcij,cr,ir,jr->kr", "kcij,kr,ir,jr->cr", "kcij,kr,cr,jr->ir", "kcij,kr,cr,ir->jr")


@dataclass(frozen=True)
class CP(Structural):
    """Replace a convolution by four: pointwise, two depthwise of one axis each, pointwise.

    Exactly one is given. rank: number of terms, at most k²c·d over the longest extent (which always is enough).
    speedup: how many times fewer multiply-adds, above 1. seed: of the starting values.
    """

    rank: int | None = None
    speedup: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.speedup is None):
            raise RecipeError("factorize.CP takes one of rank and speedup")
        if self.rank is not None and (isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1):
            raise RecipeError(f"factorize.CP: rank is a whole number from 1, not {self.rank!r}")
        if self.speedup is not None and not 1 < self.speedup < float("inf"):
            raise RecipeError(f"factorize.CP: speedup is above 1, not {self.speedup!r}")

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        del observer
        for layer in layers:
            module = convolution_of(self, layer)
            weight = module.weight.detach().double().cpu()
            out, into, down, across = cp(weight, self._rank(layer, module), self.seed)
            yield Replacement(
                layer,
                nn.Sequential(
                    convolution(into.T[:, :, None, None]),
                    convolution(down.T[:, None, :, None], like=module, axes=(True, False), groups=down.shape[1]),
                    convolution(across.T[:, None, None, :], like=module, axes=(False, True), groups=down.shape[1]),
                    convolution(out[:, :, None, None], offset(module)),
                ),
            )

    def _rank(self, layer: Layer, module: nn.Conv2d) -> int:
        d, c, high, wide = module.weight.shape
        whole = module.weight.numel()
        if self.speedup is None:
            rank, most = int(self.rank or 1), whole // max(d, c, high, wide)
            if rank > most:
                raise refuse(self, layer.where, f"rank {most} is always enough", "Lower the rank")
            return rank
        unit = c * module.stride[0] * module.stride[1] + high * module.stride[1] + wide + d
        rank = int(whole / self.speedup / unit)
        if rank < 1:
            raise refuse(self, layer.where, f"rank 1 is {whole / unit:.3g} times cheaper", "Lower the speed-up")
        return rank


def cp(weight: Tensor, rank: int, seed: int = 0) -> list[Tensor]:
    """Factors (extent, rank) of the four modes of a kernel (K, C, R, S), float64, of one norm in each term."""
    draw = torch.Generator().manual_seed(seed)
    factors = [_start(weight, mode, rank, draw) for mode in range(4)]
    size, error = float(weight.square().sum()), float("inf")
    if size == 0:
        return [torch.zeros_like(factor) for factor in factors]
    for _ in range(TURNS):
        for mode, formula in enumerate(_MODES):
            others = [factor for other, factor in enumerate(factors) if other != mode]
            normal = others[0].T @ others[0] * (others[1].T @ others[1]) * (others[2].T @ others[2])
            normal = normal + RIDGE * normal.diagonal().mean() * torch.eye(rank, dtype=weight.dtype)
            found = torch.einsum(formula, weight, *others)
            factors[mode] = torch.linalg.solve(normal, found.T).T
            if mode < 3:  # the last one keeps the terms' sizes
                factors[mode] = factors[mode] / factors[mode].norm(dim=0).clamp(min=1e-30)
        before, error = error, float((product(factors) - weight).square().sum())
        if before - error < ENOUGH * size:
            break
    sizes = factors[3].norm(dim=0).clamp(min=1e-30)
    factors[3] = factors[3] / sizes
    return [factor * sizes**0.25 for factor in factors]


def product(factors: Sequence[Tensor]) -> Tensor:
    """The kernel (K, C, R, S) that factors stand for."""
    return torch.einsum("kr,cr,ir,jr->kcij", *factors)


def _start(weight: Tensor, mode: int, rank: int, draw: torch.Generator) -> Tensor:
    """The leading singular vectors along a mode, random columns behind them."""
    extent = weight.shape[mode]
    leading = torch.linalg.svd(weight.movedim(mode, 0).flatten(1), full_matrices=False)[0][:, :rank]
    more = torch.randn(extent, rank - leading.shape[1], generator=draw, dtype=weight.dtype)
    return torch.cat([leading, more / extent**0.5], 1)
