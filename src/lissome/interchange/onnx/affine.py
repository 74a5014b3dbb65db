"""Values that are an integer grid: found again as int8 codes, a scale and a zero point."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_VALUES: Final = 256
DIVISORS: Final = 16  # of the smallest value, of which the scale may be a whole fraction


def affine(
    weight: NDArray[np.float32],
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.int8]] | None:
    """Codes, scale and zero point with ``float32(codes − zero) * scale`` equal to `weight`, bit by bit; else None.

    The scale is looked for among the whole fractions of the smallest magnitude, down to a sixteenth.
    """
    flat = weight.reshape(-1)
    table, places = np.unique(flat, return_inverse=True)
    magnitudes = np.abs(table[table != 0])
    if len(table) > MOST_VALUES or not len(magnitudes) or np.any(np.signbit(flat[flat == 0])):
        return None
    smallest = magnitudes.min()
    for divisor in range(1, DIVISORS + 1):
        scale = np.float32(smallest / np.float32(divisor))
        steps: NDArray[Any] = np.rint(table.astype(np.float64) / float(scale))
        low, high = steps.min(), steps.max()
        zero = 0 if low >= -128 and high <= 127 else int(-128 - low)
        if high - low > 255 or not -128 <= zero <= 127 or not scale:
            continue
        if np.array_equal(steps.astype(np.float32) * scale, table):
            codes = (steps + zero).astype(np.int8)
            return codes[places].reshape(weight.shape), np.array(scale), np.array(zero, np.int8)
    return None
