"""Storage formats of real numbers: which float32 values a format can hold, and their bytes.

A format is named by a string (``FORMATS``). Values travel through lissome as float32 arrays that are *exactly*
representable in their format, so rounding happens once, where it can be trained around, and storing is lossless.

float8_e4m3 follows Micikevicius et al. 2022, "FP8 formats for deep learning" (1 sign, 4 exponent, 3 mantissa bits,
bias 7, no infinity, maximum 448), float8_e5m2 too (5 exponent, 2 mantissa bits, bias 15, maximum 57,344, infinity and
NaN as IEEE has them); bfloat16 is the upper half of a float32. All roundings are to nearest, ties to even.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError

FORMATS: Final = ("float32", "bfloat16", "float16", "float8_e4m3", "float8_e5m2")
ITEMSIZE: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "float8_e4m3": 1, "float8_e5m2": 1}


def _float8(mantissa_bits: int, bias: int) -> NDArray[np.float32]:
    """Value of each of the 128 non-negative codes, as if none stood for infinity or NaN."""
    code, steps = np.arange(128), 1 << mantissa_bits
    exponent, mantissa = code >> mantissa_bits, (code & (steps - 1)).astype(np.float64)
    small = mantissa / steps * 2.0 ** (1 - bias)
    value = np.where(exponent == 0, small, (1 + mantissa / steps) * 2.0 ** (exponent - float(bias)))
    return value.astype(np.float32)


_E4M3: Final = _float8(3, 7)
_E4M3[127] = np.nan
_E5M2: Final = _float8(2, 15)
_E5M2[124], _E5M2[125:] = np.inf, np.nan
#: values of the codes, and how many of them are finite
_FLOAT8: Final = {"float8_e4m3": (_E4M3, 127), "float8_e5m2": (_E5M2, 124)}


def check_format(name: str) -> str:
    """Return `name` when it is a known format, else raise WeightError listing those that exist."""
    if name not in FORMATS:
        raise WeightError(f"unknown number format {name!r}; known: {', '.join(FORMATS)}")
    return name


def to_bits(values: NDArray[np.float32], fmt: str) -> NDArray[np.unsignedinteger]:
    """Round float32 `values` (any shape) to `fmt` and return the bit patterns (uint8, uint16 or uint32, little-endian).

    Raises WeightError when a finite value overflows the format.
    """
    check_format(fmt)
    values = np.asarray(values, dtype=np.float32, order="C")
    if fmt == "float32":
        return values.view(np.uint32)
    if fmt == "float16":
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        bits: NDArray[np.unsignedinteger] = half.view(np.uint16)
        overflow = np.isinf(half) & np.isfinite(values)
    elif fmt == "bfloat16":
        wide = values.view(np.uint32).astype(np.uint64)
        rounded = (wide + 0x7FFF + ((wide >> 16) & 1)) >> 16
        bits = np.where(np.isnan(values), 0x7FC0, rounded).astype(np.uint16)
        overflow = ((bits & 0x7FFF) == 0x7F80) & np.isfinite(values)
    else:
        bits, overflow = _to_float8(values, fmt)
    if overflow.any():
        worst = float(np.abs(values[overflow]).max())
        raise WeightError(f"value {worst:g} does not fit {fmt}; store it as float32 or rescale the layer")
    return np.asarray(bits)  # NumPy turns what it computes from a scalar array into a bare scalar


def _to_float8(values: NDArray[np.float32], fmt: str) -> tuple[NDArray[np.unsignedinteger], NDArray[np.bool_]]:
    """Bit patterns, and where the format has none for a value."""
    table, finite = _FLOAT8[fmt]
    magnitude = np.abs(values)
    upper = np.clip(np.searchsorted(table[:finite], magnitude), 1, finite - 1)
    low, high = table[upper - 1].astype(np.float64), table[upper].astype(np.float64)
    middle = (low + high) / 2
    up = (magnitude > middle) | ((magnitude == middle) & (upper % 2 == 0))
    code = np.where(up, upper, upper - 1)
    overflow = ~(magnitude <= table[finite - 1])
    if fmt == "float8_e5m2":  # as IEEE's: up to the middle of what would follow, and infinity and NaN stay
        overflow = (magnitude >= 61440) & np.isfinite(values)
        code = np.where(np.isnan(values), 127, np.where(np.isinf(values), 124, code))
    return np.asarray(code | (np.signbit(values) << 7), dtype=np.uint8), np.asarray(overflow)


def from_bits(bits: NDArray[np.unsignedinteger], fmt: str) -> NDArray[np.float32]:
    """The float32 values of bit patterns in `fmt`; the inverse of `to_bits`, for every bit pattern."""
    check_format(fmt)
    if fmt == "float32":
        return np.asarray(bits, dtype=np.uint32, order="C").view(np.float32)
    if fmt == "float16":
        return np.asarray(bits, dtype=np.uint16, order="C").view(np.float16).astype(np.float32)
    if fmt == "bfloat16":
        return np.asarray(np.asarray(bits, dtype=np.uint32) << 16, order="C").view(np.float32)
    code = np.asarray(bits, dtype=np.uint8, order="C")
    magnitude = _FLOAT8[fmt][0][code & 0x7F]
    value: NDArray[np.float32] = np.where(code & 0x80, -magnitude, magnitude)
    return value


def round_to(values: NDArray[np.float32], fmt: str) -> NDArray[np.float32]:
    """`values` rounded to the nearest that `fmt` can hold (float32 in, float32 out)."""
    return from_bits(to_bits(values, fmt), fmt)
