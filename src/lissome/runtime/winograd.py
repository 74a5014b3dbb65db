"""Winograd's algorithm F(m x m, r x r) as an entry of the list of convolution algorithms: what it refuses, what it
costs, and how large its error may be (Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016).
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels
from lissome.runtime.native import native

if TYPE_CHECKING:
    from lissome.runtime.algorithms import Layer
    from lissome.weights import CodedWeight

#: (m, r) of every kernel
VARIANTS: Final = ((2, 3), (4, 3), (6, 3), (2, 5))
#: The planner takes no variant whose expected error is above this: eight of float32's 24 bits. Named by the user, every
#: variant runs.
ERROR_BOUND: Final = 2.0**-16
#: roundings of each product besides those of its sum: three of the transformed input, the filter's, two of the output
ROUNDINGS: Final = 6


@functools.cache
def matrices(m: int, r: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """B transposed (m + r - 1, m + r - 1), G (m + r - 1, r) and A transposed (m, m + r - 1) of the kernel F(m, r)."""
    edge = m + r - 1
    bt, g, at = native.winograd_matrices(m, r)
    return np.array(bt).reshape(edge, edge), np.array(g).reshape(edge, r), np.array(at).reshape(m, edge)


def expected_error(m: int, r: int, channels: int) -> float:
    """Root mean square error of F(m x m, r x r) in float32 over the root mean square of the outputs, for independent
    inputs and weights of variance 1, as independent roundings predict. Measured errors are about 3/4 of it.

    The product at position (i, j) has variance (|b_i| |b_j| |g_i| |g_j|)^2, with b_i and g_i the rows of B^T and G, and
    reaches output (p, q) times a_pi a_qj. Each rounding is off by up to u = 2^-24, u / sqrt(3) in the mean; the sum
    over the channels rounds what has been added up so far, channels / 2 products in the mean.
    """
    bt, g, at = matrices(m, r)
    reached = (at**2) @ ((bt**2).sum(1) * (g**2).sum(1))
    return float(np.sqrt((ROUNDINGS + channels / 2) / 3) * 2.0**-24 * np.mean(reached) / r)


def refuses(r: int, layer: Layer) -> str:
    """Why Winograd's algorithm for r x r filters cannot do a layer, "" when it can."""
    s = layer.shape
    if (s.r, s.s) != (r, r):
        return f"its filters are {r}x{r}, these {s.r}x{s.s}"
    if (s.stride_h, s.stride_w, s.dilation_h, s.dilation_w) != (1, 1, 1, 1):
        return "its stride and dilation are 1"
    return "" if s.groups == 1 else f"it has one group, these are {s.groups}"


def pack(m: int, weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
    """The filters, transformed in float64 and rounded once."""
    return native.pack_winograd(kernels.matrix(weight, transposed=True), shape.values(), m, kernels.panel_width(kernel))


def multiplications(m: int, r: int, shape: ConvShape) -> int:
    """Multiplications of the products: (m + r - 1)^2 a tile of m x m outputs, channel and filter."""
    tiles = shape.n * math.ceil(shape.p / m) * math.ceil(shape.q / m)
    return tiles * (m + r - 1) ** 2 * shape.c * shape.k


def memory(m: int, r: int, layer: Layer) -> int:
    """Bytes of the packed filters: transformed, and themselves."""
    s, lanes = layer.shape, layer.lanes
    return 4 * ((m + r - 1) ** 2 + r * r) * s.c * math.ceil(s.k / lanes) * lanes


def cost(m: int, r: int, layer: Layer) -> float:
    """Expected time in vector multiply-adds, infinite where the error is above ERROR_BOUND.

    Fitted to the 3x3 layers of six networks with their weights coming from memory, on AMD Zen 4, AVX-512 and AVX2: a
    product takes 0.95, bringing in a vector of transformed filters, once for a group of tiles, 5.5, and transforms take
    TRANSFORM for each position of a tile and block of input or output channels.
    """
    s, lanes = layer.shape, layer.lanes
    if expected_error(m, r, s.c) > ERROR_BOUND:
        return math.inf
    edge, tiles = m + r - 1, s.n * math.ceil(s.p / m) * math.ceil(s.q / m)
    inputs, outputs = math.ceil(s.c / lanes), math.ceil(s.k / lanes)
    products = s.c * outputs * (0.95 * tiles + 5.5 * math.ceil(tiles / GROUP))
    return edge**2 * (products + TRANSFORM[edge] * tiles * (inputs + outputs))


#: by the edge of a tile, whose matrices have as many columns
TRANSFORM: Final = {4: 5.0, 6: 13.0, 8: 23.0}
#: tiles that share one passage of the filters, about (native/conv/winograd.cpp)
GROUP: Final = 48
