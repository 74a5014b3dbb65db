"""Pooling, and the normalisations over a neighbourhood."""

from __future__ import annotations

from typing import Final

from lissome.errors import GraphError
from lissome.graph import attributes
from lissome.graph.conv_shape import PoolShape, Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Table
from lissome.graph.rules.layers import in_node, planar, steps


def pool_shape(node: Node, x: Shape) -> PoolShape:
    """The PoolShape of a pooling node, a global one too, whose input has this shape (rank 3 or 4)."""
    if len(x) not in (3, 4):
        raise GraphError(f"node {node.name!r} ({node.op}): input {x}; only 1-D and 2-D pooling exist")
    n, c, h, w = planar(x)
    if node.op in ("GlobalAveragePool", "GlobalMaxPool"):
        return in_node(node, lambda: PoolShape(n, c, h, w, h, w))
    r, s = (1, *attributes.ints(node, "kernel_shape", len(x) - 2))[-2:]
    flags = (attributes.integer(node, "ceil_mode", 0), attributes.integer(node, "count_include_pad", 0))
    if not set(flags) <= {0, 1}:
        raise GraphError(f"node {node.name!r} ({node.op}): ceil_mode and count_include_pad are 0 or 1")
    strides, dilations, pads = steps(node, len(x) - 2)
    shape = in_node(node, lambda: PoolShape(n, c, h, w, r, s, *strides, *dilations, *pads, *flags))
    reach = (shape.dilation_h * (shape.r - 1) + 1, shape.dilation_w * (shape.s - 1) + 1)
    if max(shape.pad_top, shape.pad_bottom) >= reach[0] or max(shape.pad_left, shape.pad_right) >= reach[1]:
        raise GraphError(f"node {node.name!r} ({node.op}): padding is not smaller than the window")
    return shape


def lrn_size(node: Node) -> int:
    """Channels that an LRN node sums over."""
    size = attributes.integer(node, "size", 0)
    if size < 1:
        raise GraphError(f"node {node.name!r} (LRN): size is {size}")
    return size


def _pool(node: Node, x: Shape) -> Shape:
    shape = pool_shape(node, x)
    return (shape.n, shape.c, shape.p, shape.q) if len(x) == 4 else (shape.n, shape.c, shape.q)


def _lrn(node: Node, x: Shape) -> Shape:
    lrn_size(node)
    for name in ("alpha", "beta", "bias"):
        attributes.real(node, name, 1.0)
    if len(x) < 2:
        raise GraphError(f"node {node.name!r} (LRN): input {x} has no channels")
    return x


OPERATORS: Final[Table] = {
    "AveragePool": (1, 1, _pool),
    "GlobalAveragePool": (1, 1, _pool),
    "GlobalMaxPool": (1, 1, _pool),
    "LRN": (1, 1, _lrn),
    "MaxPool": (1, 1, _pool),
}
