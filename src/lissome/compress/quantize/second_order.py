"""Codes one column after the other, each error made good by the columns that are still to come.

A layer's output error is quadratic in the error of its weights: Σ_r s_r (w_r − ŵ_r)ᵀ H (w_r − ŵ_r), with H the second
moments of its inputs and s_r what an error of output channel r costs the network. Optimal brain surgeon (Hassibi and
Stork 1993) says how the free weights of a row best answer the rounding of one of them; done for all rows together in
one order of the columns, through the Cholesky factor of H⁻¹, it is GPTQ (Frantar et al., ICLR 2023, section 3), and
with zero among the codes SparseGPT (Frantar and Alistarh, ICML 2023). Here each code is the one with the least
distortion + λ · bits, so that rounding, pruning and the entropy coder's price are one decision.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lissome.compress.quantize.rate import Prices, prices

ROUNDS = 3
#: the best step of an entropy-coded uniform quantiser is about sqrt(λ / curvature) times this (see `step_for`)
STEP = 2.4


@dataclass(frozen=True)
class Problem:
    """What there is to decide of one layer, its weight seen as G groups of R rows of d columns.

    target: (G, R, d) float32. factor: (G, d, d) float32, upper triangular U with UᵀU = H⁻¹, columns already in order.
    importance: (G, R), the s above. gone: (G, R, d) bool, True where the code has to be 0.
    """

    target: Tensor
    factor: Tensor
    importance: Tensor
    gone: Tensor

    @property
    def curvature(self) -> float:
        """Geometric mean over the weights of s_r / U_jj²: what one weight's error costs after the others answered."""
        diagonal = self.factor.diagonal(dim1=1, dim2=2).double()
        return float((self.importance.double().log().mean() - 2 * diagonal.log().mean()).exp())


def inverse_factor(gram: Tensor) -> Tensor:
    """U, upper triangular, with UᵀU = gram⁻¹ for symmetric positive definite `gram` (G, d, d); in and out float64."""
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(gram))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper


def step_for(curvature: float, rate: float) -> float:
    """The step at which one bit more for a weight saves `rate` of distortion.

    At high rate the distortion of step Δ is c Δ² / 12 and falls by the factor 4 a bit: Δ² = 6 λ / (c ln 2), that is
    Δ = 2.94 sqrt(λ / c). With zero favoured by its price a somewhat smaller step does better.
    """
    return float(STEP * (rate / curvature) ** 0.5)


def solve(problem: Problem, step: float, rate: float, top: int) -> tuple[Tensor, Prices]:
    """Integer codes (G, R, d), |code| ≤ top, and the prices by which they were chosen."""
    groups, rows, columns = problem.target.shape
    codes = (problem.target / step).round().clamp(-top, top).masked_fill(problem.gone, 0).long()
    cost = prices(codes.view(groups * rows, columns), top)
    for _ in range(ROUNDS):
        codes = _one_round(problem, step, rate, cost)
        cost = prices(codes.view(groups * rows, columns), top)
    return codes, cost


def _one_round(problem: Problem, step: float, rate: float, cost: Prices) -> Tensor:
    groups, rows, columns = problem.target.shape
    left = problem.target.clone()
    codes = torch.zeros(left.shape, dtype=torch.int64)
    classes = cost.classes.view(groups, rows, columns)
    weight = problem.importance / rate
    for j in range(columns):
        diagonal = problem.factor[:, j, j].unsqueeze(1)
        w = left[:, :, j]
        nearest = (w / step).round().clamp(-cost.top, cost.top).long()
        tried = torch.stack([nearest, nearest - nearest.sign(), torch.zeros_like(nearest)])
        distortion = weight * ((w - tried * step) / diagonal).square()
        best = (distortion + cost.table[classes[:, :, j], tried + cost.top]).argmin(0, keepdim=True)
        chosen = tried.gather(0, best)[0].masked_fill(problem.gone[:, :, j], 0)
        codes[:, :, j] = chosen
        if j + 1 < columns:
            error = (w - chosen * step) / diagonal
            left[:, :, j + 1 :] -= error.unsqueeze(2) * problem.factor[:, j, j + 1 :].unsqueeze(1)
    return codes
