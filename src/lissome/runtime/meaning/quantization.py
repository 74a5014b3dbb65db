"""From real numbers to codes and back."""

from __future__ import annotations

from typing import Final

import numpy as np

from lissome.graph.ir import Node
from lissome.graph.rules.quantization import CODES, codes_of, scale_axis
from lissome.runtime.meaning import Array, Table


def _spread(node: Node, x: Array, scale: Array) -> Array:
    axis = scale_axis(node, x.shape, scale.shape)
    return scale.reshape(()) if axis is None else scale.reshape(tuple(-1 if i == axis else 1 for i in range(x.ndim)))


def _quantize(node: Node, x: Array, scale: Array) -> Array:
    """The zero and x / scale, rounded to the nearest, ties to even, within the codes; NaN becomes the least."""
    dtype, zero = codes_of(node)
    low, high = CODES[dtype]
    codes = np.clip(np.rint(x / _spread(node, x, scale)) + zero, low, high)
    return np.asarray(np.where(np.isnan(codes), low, codes))


def _dequantize(node: Node, x: Array, scale: Array) -> Array:
    """(x − zero) · scale."""
    return np.asarray((x - codes_of(node)[1]) * _spread(node, x, scale))


OPERATORS: Final[Table] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
