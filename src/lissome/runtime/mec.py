"""Memory-efficient convolution as an entry of the list of algorithms (Cho and Brand, "MEC: memory-efficient convolution
for deep neural network", ICML 2017).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels
from lissome.runtime.native import native

if TYPE_CHECKING:
    from lissome.runtime.algorithms import Layer
    from lissome.weights import CodedWeight


def refuses(layer: Layer) -> str:
    """Why it cannot do a layer, "" when it can."""
    s = layer.shape
    if s.groups > 1:
        return f"it has one group, these are {s.groups}"
    return "" if (s.dilation_h, s.dilation_w) == (1, 1) else "it has no dilation"


def pack(weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
    """The filters as columns of (r, s, c), the order of the lowered input."""
    rows = kernels.matrix(weight, transposed=True)
    return native.pack_mec(rows, shape.values(), kernels.panel_width(kernel))


def cost(layer: Layer) -> float:
    """Expected time in vector multiply-adds: the products, filters in whole vectors; four for each vector of the
    lowered input; and, for few channels, the reordering of the plain image that has them.
    """
    s, vectors = layer.shape, -(-layer.shape.k // layer.lanes)
    reorder = 40 * s.n * s.h * s.w if s.c <= 4 else 0
    return 1.3 * vectors * s.n * s.p * s.q * s.depth + 4.0 * lowered_floats(s) / layer.lanes + reorder


def lowered_floats(s: ConvShape) -> int:
    """Numbers in the lowered input: for each output column, the input columns it sees, over the padded height."""
    return s.n * s.q * ((s.p - 1) * s.stride_h + s.r) * s.s * s.c
