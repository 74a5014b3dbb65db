"""Volta's tensor core, bit by bit: D = A · B + C on 4 × 4 matrices, float16 times float16 into float32.

As measured on the V100 by Fasi, Higham, Mikaitis and Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ CS
2021: products are exact; the four products and C are aligned to the largest of them and cut off below its 24 bits; the
sum is cut off to 24 bits again. No rounding is to nearest. Subnormals are kept. Not checked against a card here. Left
out: infinities and NaN, which are refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError

BITS = 24  # of a float32 significand


def multiply_add(a: NDArray[np.float16], b: NDArray[np.float16], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """A · B + C. a: float16 (4, 4); b: float16 (4, 4); c: float32 (4, 4). Raises HardwareError for anything else."""
    for array, dtype, name in ((a, np.float16, "A"), (b, np.float16, "B"), (c, np.float32, "C")):
        if array.shape != (4, 4) or array.dtype != dtype or not np.isfinite(array).all():
            raise HardwareError(
                f"{name} of a tensor core is a finite 4 × 4 {np.dtype(dtype)}, not {array.shape} {array.dtype}"
            )
    products = a.astype(np.float64)[:, :, None] * b.astype(np.float64)[None, :, :]  # exact: 22 bits
    terms = np.concatenate([products, c.astype(np.float64)[:, None, :]], axis=1)  # (4, 5, 4)
    largest = np.abs(terms).max(axis=1)
    _, exponent = np.frexp(largest)
    unit = np.maximum(exponent - BITS, -149)  # the last of 24 bits; float32 has none below 2^-149
    whole = np.trunc(np.ldexp(terms, -unit[:, None, :])).sum(axis=1)  # below 2^27: exact in float64
    total = np.ldexp(whole, unit)
    _, reached = np.frexp(total)
    last = np.maximum(reached - BITS, -149)
    cut: NDArray[np.float32] = np.ldexp(np.trunc(np.ldexp(total, -last)), last).astype(np.float32)
    return cut
