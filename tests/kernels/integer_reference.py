"""What integer kernels compute, in NumPy: exact sums, and float32 with one rounding an operation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lissome.graph.conv_shape import ConvShape, PoolShape

F = np.float32


@dataclass(frozen=True)
class Codes:
    """How a result becomes codes: zero + round(x), within low and high."""

    zero: int
    low: int = 0
    high: int = 255

    def round(self, x: np.ndarray) -> np.ndarray:
        """float32 to codes; NaN to the lower one."""
        lowest, highest = F(self.low - self.zero), F(self.high - self.zero)
        kept = np.where(x > lowest, x, lowest)
        return (np.rint(np.minimum(kept, highest)).astype(np.int64) + self.zero).astype(np.uint8)


def windows(x: np.ndarray, shape: ConvShape | PoolShape, fill: int) -> np.ndarray:
    """Every tap of every output: (n, c, p, q, r, s); what lies in the padding is `fill`, and behind it, 0."""
    pads = ((0, 0), (0, 0), (shape.pad_top, shape.pad_bottom), (shape.pad_left, shape.pad_right))
    x = np.pad(x.astype(np.int64), pads, constant_values=fill)
    x = np.pad(x, ((0, 0), (0, 0), (0, 64), (0, 64)))
    rows = np.arange(shape.p)[:, None] * shape.stride_h + np.arange(shape.r)[None] * shape.dilation_h
    columns = np.arange(shape.q)[:, None] * shape.stride_w + np.arange(shape.s)[None] * shape.dilation_w
    return x[:, :, rows[:, None, :, None], columns[None, :, None, :]]


def conv_sums(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, shape: ConvShape, x_zero: int) -> np.ndarray:
    """int64 sums (n, k, p, q) of codes x and weights (k, c / groups, r, s)."""
    taken = windows(x, shape, x_zero) - x_zero
    made = []
    for group in range(shape.groups):
        c, k = shape.c // shape.groups, shape.k // shape.groups
        part, filters = taken[:, group * c : (group + 1) * c], weight[group * k : (group + 1) * k]
        made.append(np.einsum("ncpqrs,kcrs->nkpq", part, filters.astype(np.int64)))
    return np.concatenate(made, axis=1) + bias.reshape(1, -1, 1, 1)


def scaled(sums: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Sums as float32, times one scale a channel."""
    return sums.astype(F) * scale.reshape(1, -1, *[1] * (sums.ndim - 2)).astype(F)


def add(a: np.ndarray, b: np.ndarray, zeros: tuple[int, int], factors: tuple[float, float], to: Codes) -> np.ndarray:
    """Two tensors of codes, each with its zero and its factor."""
    left, right = ((v.astype(F) - F(zero)) * F(factor) for v, zero, factor in zip((a, b), zeros, factors, strict=True))
    return to.round(left + right)


def max_pool(x: np.ndarray, shape: PoolShape) -> np.ndarray:
    """The largest code of each window."""
    return windows(x, shape, 0).max(axis=(4, 5)).astype(np.uint8)


def average_pool(x: np.ndarray, shape: PoolShape, x_zero: int, scale: float, to: Codes) -> np.ndarray:
    """The mean of each window, padding counted where the shape says so."""
    ones = np.ones((1, 1, shape.h, shape.w), np.int64)
    inside = windows(ones, shape, 0)
    sums = (windows(x, shape, 0) - x_zero * inside).sum(axis=(4, 5))
    counts = (windows(ones, shape, 1) if shape.count_include_pad else inside).sum(axis=(4, 5))
    with np.errstate(all="ignore"):  # a window that counts no pixel
        return to.round(sums.astype(F) * (F(scale) / counts.astype(F)))
