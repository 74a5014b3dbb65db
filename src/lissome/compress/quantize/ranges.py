"""From which range of numbers codes are taken: min-max, a percentile, or the range of the least squared error or least
divergence.

A range too wide wastes codes on numbers that hardly occur; one too narrow cuts off numbers that do. See Nagel et al.,
"A white paper on neural network quantization" (2021), section 3.1, and for the divergence Migacz (2017).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

METHODS: Final = ("mse", "minmax", "percentile", "entropy")
WEIGHT_METHODS: Final = ("mse", "minmax")
BINS: Final = 2048
PERCENTILE: Final = 99.99
# What is all zeros has a scale, too, small enough that its layer's bias is a large number of units of the sums.
ZERO_TENSOR_SCALE: Final = 2.0**-20
ZERO_ROW_SCALE: Final = np.float32(2.0**-40)
CUTS: Final = np.linspace(1.0, 0.2, 81)  # of the range of all numbers: what "mse" tries
WEIGHT_CUTS: Final = np.linspace(1.0, 0.55, 10)


@dataclass
class Observed:
    """What is known of one tensor's numbers: their ends, and then how many lie where, in bins of equal width."""

    low: float = 0.0
    high: float = 0.0
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(BINS))

    def see_ends(self, x: NDArray[np.float32]) -> None:
        """Widen the ends; 0 always lies between them, since padding must have a code."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))

    def see(self, x: NDArray[np.float32]) -> None:
        """Count, once the ends are known."""
        if self.high > self.low:
            self.counts += np.histogram(x, BINS, (self.low, self.high))[0]

    @property
    def centres(self) -> NDArray[np.float64]:
        """The middle of each bin."""
        edges = np.linspace(self.low, self.high, BINS + 1)
        return np.asarray((edges[:-1] + edges[1:]) / 2)


def choose(observed: Observed, method: str, levels: int) -> tuple[float, float]:
    """The ends of the range that `levels` codes, less 1, are spread over."""
    low, high = observed.low, observed.high
    if method == "minmax" or high <= low or not observed.counts.any():
        return low, high
    if method == "percentile":
        share = np.cumsum(observed.counts) / observed.counts.sum()
        tail = (100 - PERCENTILE) / 100
        first, last = (int(np.searchsorted(share, edge)) for edge in (tail, 1 - tail))
        edges = np.linspace(low, high, BINS + 1)
        return min(0.0, float(edges[first])) if low < 0 else 0.0, max(0.0, float(edges[min(last, BINS - 1) + 1]))
    if method == "entropy":  # one threshold for magnitudes, as Migacz has it
        most = max(-low, high)
        tried = [(max(low, -most * float(cut)), min(high, most * float(cut))) for cut in CUTS]
        return min(tried, key=lambda ends: divergence(observed, ends, levels))
    errors = [squared_error(observed, (low * cut, high * cut), levels) for cut in CUTS]
    cut = float(CUTS[int(np.argmin(errors))])
    return low * cut, high * cut


def squared_error(observed: Observed, ends: tuple[float, float], levels: int) -> float:
    """Σ (x − x̂)² over the numbers seen, each at the middle of its bin."""
    scale, zero = affine(ends, levels)
    codes = np.clip(np.rint(observed.centres / scale) + zero, 0, levels)
    return float(observed.counts @ ((codes - zero) * scale - observed.centres) ** 2)


def divergence(observed: Observed, ends: tuple[float, float], levels: int) -> float:
    """Kullback-Leibler divergence of the numbers as codes give them back from the numbers seen, both clipped at `ends`.

    A code's numbers are taken to be spread evenly over the bins that it stands for and where any were seen (Migacz,
    "8-bit inference with TensorRT", GTC 2017). The bin of 0 counts as a bin beside it: the many zeros that a ReLU makes
    have a code of their own whatever the range is.
    """
    every, middle = observed.counts.copy(), int(np.argmin(np.abs(observed.centres)))
    beside = [every[i] for i in (middle - 1, middle + 1) if 0 <= i < BINS]
    every[middle] = min(every[middle], max(beside))
    scale, zero = affine(ends, levels)
    inside = np.flatnonzero((observed.centres >= ends[0]) & (observed.centres <= ends[1]))
    if not inside.size:
        return np.inf
    counts = every[inside]
    seen = counts.copy()
    seen[0] += every[: inside[0]].sum()
    seen[-1] += every[inside[-1] + 1 :].sum()
    codes = (np.clip(np.rint(observed.centres[inside] / scale) + zero, 0, levels)).astype(np.int64)
    filled = np.bincount(codes, counts > 0, levels + 1)
    spread = (np.bincount(codes, counts, levels + 1) / np.maximum(filled, 1))[codes] * (counts > 0)
    p, q = seen / max(seen.sum(), 1.0), np.maximum(spread / max(spread.sum(), 1.0), 1e-12)
    return float((p[p > 0] * np.log(p[p > 0] / q[p > 0])).sum())


def affine(ends: tuple[float, float], levels: int) -> tuple[float, int]:
    """Scale, as float32 has it, and zero point of codes 0 … levels; 0 has a code of its own."""
    low, high = ends
    scale = float(np.float32((high - low) / levels)) if high > low else 0.0
    if not np.float32(1e-30) < scale < np.inf:
        return ZERO_TENSOR_SCALE, 0
    return scale, int(np.clip(np.rint(-low / scale), 0, levels))


def symmetric(weight: NDArray[np.float32], levels: int, method: str) -> NDArray[np.float32]:
    """One scale a row of `weight` (outputs, inputs) for codes −levels … levels; a row of zeros has one, too."""
    most = np.abs(weight).max(axis=1).astype(np.float64)
    best = most.copy()
    if method == "mse":
        least = np.full(most.size, np.inf)
        for cut in WEIGHT_CUTS:
            scale = np.where(most > 0, most * cut / levels, 1.0)[:, None]
            error = ((np.clip(np.rint(weight / scale), -levels, levels) * scale - weight) ** 2).sum(axis=1)
            best, least = np.where(error < least, most * cut, best), np.minimum(error, least)
    scales = (best / levels).astype(np.float32)
    return np.where(scales > np.float32(1e-30), scales, ZERO_ROW_SCALE)
