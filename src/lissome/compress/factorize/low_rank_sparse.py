"""Low rank plus sparse: W ≈ U V + S (Yu, Liu, Wang, Tao, "On compressing deep models by low rank and sparse
decomposition", CVPR 2017).

The smooth part of a weight has low rank, and the few entries that stand out of it would cost many ranks: they are kept
as they are. min ‖Y − (L + S) X̂‖² over L of rank r and S of s entries, Y the original responses and X̂ the inputs that
the compressed network has (asymmetric, section 3.2), is solved by turns: L by a regression of reduced rank, S by steps
down the gradient that keep the largest entries, in units in which all inputs have one variance. Without inputs X̂ is
white, and it is ‖W − L − S‖². Cost of a position: r (k²c + d) + s multiply-adds for k²c d.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from lissome.compress.factorize.responses import covariance, leaning, responses
from lissome.compress.factorize.svd import truncated
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, Structural, Sum, layer_like, matrix, mixing, offset
from lissome.errors import RecipeError

TURNS: Final = 10
#: gradient steps of the sparse part in a turn
STEPS: Final = 5


@dataclass(frozen=True)
class LowRankSparse(Structural):
    """Replace a linear layer or a convolution by the sum of two of low rank and a sparse one.

    sparsity: share of zeros in the sparse part, in (0, 1). Exactly one of rank and speedup (how many times fewer
    multiply-adds, zeros not counted, above 1) is given. With inputs, responses are reconstructed, else weights.
    """

    rank: int | None = None
    speedup: float | None = None
    sparsity: float = 0.95

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.speedup is None):
            raise RecipeError("factorize.LowRankSparse takes one of rank and speedup")
        if self.rank is not None and (isinstance(self.rank, bool) or not isinstance(self.rank, int) or self.rank < 1):
            raise RecipeError(f"factorize.LowRankSparse: rank is a whole number from 1, not {self.rank!r}")
        if self.speedup is not None and not 1 < self.speedup < float("inf"):
            raise RecipeError(f"factorize.LowRankSparse: speedup is above 1, not {self.speedup!r}")
        if not 0 < self.sparsity < 1:
            raise RecipeError(f"factorize.LowRankSparse: sparsity is a share in (0, 1), not {self.sparsity!r}")

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        for layer in layers:
            weight, bias = matrix(layer.module), offset(layer.module)
            count = max(1, round((1 - self.sparsity) * weight.numel()))
            rank = self._rank(layer, weight, count)
            if observer is None:
                first, second, sparse = weights(weight, rank, count)
            else:
                first, second, sparse, bias = _fitted(layer, observer, rank, count)
            low = nn.Sequential(layer_like(layer.module, second), mixing(layer.module, first, bias))
            rest = layer_like(layer.module, sparse)
            yield Replacement(layer, Sum(low, rest), sparse=(rest,))

    def _rank(self, layer: Layer, weight: Tensor, count: int) -> int:
        full, unit = min(weight.shape), sum(weight.shape)
        if self.rank is not None:
            if self.rank > full:
                raise refuse(self, layer.where, f"the full rank is {full}", "Lower the rank, or leave the layer out")
            return self.rank
        rank = int((weight.numel() / (self.speedup or 1) - count) / unit)
        if rank < 1:
            most = weight.numel() / (unit + count)
            raise refuse(self, layer.where, f"rank 1 is {most:.3g} times cheaper", "Lower speedup or raise sparsity")
        return min(rank, full)


def weights(weight: Tensor, rank: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """U (d, rank), V (rank, D) and S (d, D) of `count` entries, of small ‖W − U V − S‖: each the best given the others.

    By turns, once from the largest entries as S, once from none; the better of both.
    """
    found: list[tuple[float, tuple[Tensor, Tensor, Tensor]]] = []
    for sparse in (largest(weight, count), torch.zeros_like(weight)):
        for _ in range(TURNS):
            first, second = truncated(weight - sparse, rank)
            sparse = largest(weight - first @ second, count)  # noqa: PLW2901 - the start of the turns
        found.append((float((weight - first @ second - sparse).norm()), (first, second, sparse)))
    return min(found, key=lambda each: each[0])[1]


def largest(values: Tensor, count: int) -> Tensor:
    """The `count` entries of largest magnitude, zeros elsewhere."""
    kept = torch.zeros_like(values).flatten()
    chosen = values.flatten().abs().argsort(descending=True, stable=True)[:count]
    kept[chosen] = values.flatten()[chosen]
    return kept.view(values.shape)


def reconstructed(spread: Tensor, cross: Tensor, rank: int, count: int, start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """U, V and S of small tr((L + S) G (L + S)ᵀ) − 2 tr((L + S) Cᵀ), which is ‖Y − (L + S) X‖² less ‖Y‖².

    spread: G (D, D), covariance of the inputs. cross: C (d, D), that of responses and inputs. start: S to begin with.
    """
    units = spread.diagonal().clamp(min=1e-30).sqrt()
    gram, goal = spread / units / units.unsqueeze(1), cross / units
    inverse = torch.linalg.pinv(gram, rtol=1e-8, hermitian=True)
    step = 1 / torch.linalg.matrix_norm(gram, 2).clamp(min=1e-30)  # 0 where all inputs are constant
    sparse = start * units
    best, least = (torch.zeros(0),) * 3, float("inf")
    for _ in range(TURNS):
        left = goal - sparse @ gram
        free = left @ inverse
        basis = torch.linalg.eigh(free @ left.T).eigenvectors.flip(1)[:, :rank]
        low = basis @ (basis.T @ free)
        error = _error(low + sparse, gram, goal)
        if error < least:
            best, least = (basis, (basis.T @ free) / units, sparse / units), error
        for _ in range(STEPS):
            sparse = largest(sparse + step * (goal - (low + sparse) @ gram), count)
    return best


def _error(whole: Tensor, gram: Tensor, goal: Tensor) -> float:
    return float(((whole @ gram - 2 * goal) * whole).sum())


def _fitted(layer: Layer, observer: Observer, rank: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """U, V, S and the bias that reconstruct what a following batch norm makes of the original responses."""
    follower = observer.follower(layer.where)
    target, samples = responses(layer, observer), observer.current(layer.where, with_inputs=True).inputs
    scale = torch.where(follower.scale == 0, 1.0, follower.scale).unsqueeze(1)
    whole = matrix(layer.module) * scale
    spread, cross = leaning(covariance(samples), covariance(target, samples), whole, len(samples))
    first, second, sparse = reconstructed(spread, cross, rank, count, weights(whole, rank, count)[2])
    first, sparse = first / scale, sparse / scale
    level = (target.mean(0) - follower.shift) / scale.squeeze(1)
    return first, second, sparse, level - (first @ second + sparse) @ samples.mean(0)
