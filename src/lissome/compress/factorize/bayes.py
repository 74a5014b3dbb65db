"""Rank by variational Bayesian matrix factorisation: how many singular values stand out of the noise.

Nakajima, Sugiyama, Babacan, Tomioka, "Global analytic solution of fully-observed variational Bayesian matrix
factorization", JMLR 2013: the empirical Bayes solution (theorem 2) and the noise variance when it is unknown (section
5) are closed but for a search over one number. There is nothing to tune.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

_TAU: Final = 2.5129  # the zero of the paper's Φ in units of sqrt(α), equation 31: numeric


def bayes_rank(values: NDArray[np.float64], shape: tuple[int, int]) -> int:
    """The rank of a matrix of this shape with these singular values, 0 where it is nothing but noise.

    values: all min(shape) singular values, descending.
    """
    low, high = min(shape), max(shape)
    squares = np.asarray(values, np.float64) ** 2
    if not squares.any():
        return 0
    squares = squares / squares.sum() * low * high  # so that the noise variance is at most 1
    alpha = low / high
    tau = _TAU * math.sqrt(alpha)
    threshold = (1 + tau) * (1 + alpha / tau)
    variance = _noise(squares, low, high, alpha, threshold)
    return int((squares > high * variance * threshold).sum())


def _noise(squares: NDArray[np.float64], low: int, high: int, alpha: float, threshold: float) -> float:
    """The noise variance of least free energy, searched between the paper's bounds."""
    split = min(math.ceil(low / (1 + alpha)) - 1, low - 1)
    floor = max(squares[split] / (high * threshold), squares[split:].mean() / high)
    ceiling = squares.sum() / (low * high)
    # The logarithm is searched, as the bounds may be orders of magnitude apart, and by a grid that closes in, as there
    # may be several minima.
    below, above = math.log(max(floor, ceiling * 1e-16)), math.log(ceiling)
    for _ in range(3):
        grid = np.linspace(below, max(below, above), 257)
        best = int(free_energy(np.exp(grid), squares, high, alpha, threshold).argmin())
        below, above = grid[max(best - 1, 0)], grid[min(best + 1, 256)]
    return math.exp(grid[best])


def free_energy(
    variances: NDArray[np.float64], squares: NDArray[np.float64], high: int, alpha: float, threshold: float
) -> NDArray[np.float64]:
    """Free energy of each noise variance, up to constants (the paper's Ω): Σ ψ(γ² / (M σ²))."""
    x = squares / (high * variances[:, np.newaxis])
    flat = (x - np.log(np.maximum(x, 1e-300))).sum(1)
    above = np.maximum(x, threshold)
    tau = 0.5 * (above - (1 + alpha) + np.sqrt(np.maximum((above - (1 + alpha)) ** 2 - 4 * alpha, 0)))
    gain = np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
    total: NDArray[np.float64] = flat + np.where(x > threshold, gain, 0).sum(1)
    return total
