"""Tensor train of a linear layer: Novikov et al., NIPS 2015, "Tensorizing neural networks".

Outputs N = n₁ ⋯ n_t and inputs M = m₁ ⋯ m_t become axes, and W(i₁ … i_t; j₁ … j_t) = G₁[i₁, j₁] ⋯ G_t[i_t, j_t] is a
product of matrices G_k[i, j] of r_{k−1} × r_k (equation 5). Cores are found by one truncated singular value
decomposition after another (TT-SVD, Oseledets 2011), which loses at most √(t − 1) times what the best train does.
A core is a linear layer (r_{k−1} m_k → n_k r_k) between movements of axes; only the last ends in the bias.
Weights: Σ_k n_k m_k r_{k−1} r_k for N M.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.factorize.ranks import by_energy
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, Structural, linear, matrix, offset
from lissome.errors import RecipeError


@dataclass(frozen=True)
class TensorTrain(Structural):
    """Replace a linear layer by a train of cores.

    Exactly one is given. rank: the largest between two cores, from 1. energy: share of the weight's energy to keep at
    least, in (0, 1]. compression: how many times fewer weights, above 1, by one largest rank for all.
    cores: 2 to 6. Inputs and outputs are each cut into that many factors, as equal as they can be (a prime stays
    whole).
    """

    rank: int | None = None
    energy: float | None = None
    compression: float | None = None
    cores: int = 3

    def __post_init__(self) -> None:
        given = [name for name in ("rank", "energy", "compression") if getattr(self, name) is not None]
        if len(given) != 1:
            raise RecipeError(f"factorize.TensorTrain takes one of rank, energy and compression, not {given or 'none'}")
        if self.rank is not None and (isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1):
            raise RecipeError(f"factorize.TensorTrain: rank is a whole number from 1, not {self.rank!r}")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise RecipeError(f"factorize.TensorTrain: energy is a share in (0, 1], not {self.energy!r}")
        if self.compression is not None and not 1 < self.compression < float("inf"):
            raise RecipeError(f"factorize.TensorTrain: compression is above 1, not {self.compression!r}")
        if isinstance(self.cores, bool) or self.cores not in range(2, 7):
            raise RecipeError(f"factorize.TensorTrain: cores are 2 to 6, not {self.cores!r}")

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        del observer
        for layer in layers:
            if not isinstance(layer.module, nn.Linear):
                raise refuse(self, layer.where, "it is a convolution", "Take factorize.Tucker for it")
            weight = matrix(layer.module)
            outputs, inputs = even_factors(weight.shape[0], self.cores), even_factors(weight.shape[1], self.cores)
            most = full_ranks(outputs, inputs)
            if self.rank is not None and self.rank > max(most):
                raise refuse(self, layer.where, f"the full rank is {max(most)}", "Lower the rank")
            rank = self._most(layer, outputs, inputs, most) if self.compression is not None else self.rank
            cores = train(weight, outputs, inputs, rank or max(most), self.energy or 1.0)
            yield Replacement(layer, TrainOfCores(cores, offset(layer.module)))

    def _most(self, layer: Layer, outputs: Sequence[int], inputs: Sequence[int], most: Sequence[int]) -> int:
        """The largest rank that reaches the compression."""
        whole = math.prod(outputs) * math.prod(inputs)
        fits = [r for r in range(1, max(most) + 1) if size(outputs, inputs, most, r) * (self.compression or 1) <= whole]
        if not fits:
            best = whole / size(outputs, inputs, most, 1)
            raise refuse(self, layer.where, f"rank 1 has {best:.3g} times fewer weights", "Lower the compression")
        return max(fits)


class TrainOfCores(nn.Module):
    """The cores as linear layers. x (B, …, M) → (B, …, N)."""

    def __init__(self, cores: Sequence[Tensor], bias: Tensor | None) -> None:
        super().__init__()
        self.inputs = tuple(core.shape[1] for core in cores)
        self.outputs = tuple(core.shape[2] for core in cores)
        self.ranks = tuple(core.shape[0] for core in cores)
        # (r, m, n, r') → a layer from (m, r) to (n, r')
        self.cores = nn.ModuleList(linear(core.permute(2, 3, 1, 0).flatten(2).flatten(0, 1)) for core in cores)
        self.bias = None if bias is None else nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        before = x.shape[:-1]
        rows, rest, done, t = math.prod(before[1:]), math.prod(self.inputs), 1, x
        for m, n, rank, core in zip(self.inputs, self.outputs, self.ranks, self.cores, strict=True):
            rest //= m
            t = t.reshape(before[0], rows, m, rest * done, rank).permute(0, 1, 3, 2, 4)
            t = core(t.reshape(before[0], rows * rest * done, m * rank))
            done *= n  # t goes over inputs to come, outputs found, rank
        t = t.reshape(*before, done)
        return t if self.bias is None else t + self.bias


def train(weight: Tensor, outputs: Sequence[int], inputs: Sequence[int], rank: int, energy: float) -> list[Tensor]:
    """Cores (r, m_k, n_k, r') of a weight (N, M), float64, by TT-SVD: ranks at most `rank`, and `energy` kept at
    least.
    """
    count = len(outputs)
    axes = [axis for k in range(count) for axis in (count + k, k)]  # m₁ n₁ m₂ n₂ …
    rest = weight.reshape(*outputs, *inputs).permute(axes).reshape(1, -1)
    cores, before = [], 1
    for m, n in zip(inputs[:-1], outputs[:-1], strict=True):
        rest = rest.reshape(before * m * n, -1)
        u, s, vh = torch.linalg.svd(rest, full_matrices=False)
        kept = min(rank, by_energy(s.square(), 1 - (1 - energy) / (count - 1)))
        cores.append(u[:, :kept].reshape(before, m, n, kept))
        rest, before = s[:kept].unsqueeze(1) * vh[:kept], kept
    return [*cores, rest.reshape(before, inputs[-1], outputs[-1], 1)]


def product(cores: Sequence[Tensor]) -> Tensor:
    """The weight (N, M) that cores stand for."""
    whole = torch.ones(1, 1, 1, dtype=cores[0].dtype)
    for core in cores:
        whole = torch.einsum("NMr,rmns->NnMms", whole, core).flatten(2, 3).flatten(0, 1)
    return whole[..., 0]


def even_factors(extent: int, count: int) -> tuple[int, ...]:
    """`count` factors of an extent, as equal as dealing out its primes, the largest first to the smallest, makes
    them.
    """
    primes, left, divisor = [], extent, 2
    while left > 1:
        while left % divisor == 0:
            primes.append(divisor)
            left //= divisor
        divisor = divisor + 1 if divisor * divisor <= left else left
    made = [1] * count
    for prime in reversed(primes):
        made[made.index(min(made))] *= prime
    return tuple(sorted(made))


def full_ranks(outputs: Sequence[int], inputs: Sequence[int]) -> list[int]:
    """The ranks between cores at which a train is exact."""
    sizes = [m * n for m, n in zip(inputs, outputs, strict=True)]
    return [min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(1, len(sizes))]


def size(outputs: Sequence[int], inputs: Sequence[int], most: Sequence[int], rank: int) -> int:
    """Weights of a train whose ranks are at most `rank`."""
    ranks = [1, *(min(rank, r) for r in most), 1]
    return sum(m * n * ranks[k] * ranks[k + 1] for k, (m, n) in enumerate(zip(inputs, outputs, strict=True)))
