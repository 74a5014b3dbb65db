"""Layers with weights: convolutions, matrix products, LSTM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import numpy as np

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import attributes
from lissome.graph.conv_shape import ConvShape, GemmShape, Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Table

DIRECTIONS: Final = ("forward", "reverse", "bidirectional")
_Made = TypeVar("_Made")


def conv_shape(node: Node, x: Shape, w: Shape) -> ConvShape:
    """The ConvShape of a Conv node whose input and weight have these shapes (ranks 3 or 4)."""
    if len(x) not in (3, 4) or len(w) != len(x):
        raise GraphError(f"node {node.name!r} (Conv): input {x} and weight {w}; only 1-D and 2-D convolution exist")
    window = attributes.ints(node, "kernel_shape", len(x) - 2, w[2:])
    if window != w[2:] or x[1] != w[1] * attributes.integer(node, "group", 1):
        raise GraphError(f"node {node.name!r} (Conv): weight {w} does not fit input {x}, window {window}")
    (n, c, h, wide), (k, _, r, s) = planar(x), planar(w)
    groups, (strides, dilations, pads) = attributes.integer(node, "group", 1), steps(node, len(x) - 2)
    return in_node(node, lambda: ConvShape(n, c, h, wide, k, r, s, groups, *strides, *dilations, *pads))


def conv_transpose_shape(node: Node, x: Shape, w: Shape) -> ConvShape:
    """The convolution that a ConvTranspose node turns round: it reads what the node makes, and makes what it reads.

    x: (N, C, …), w: (C, K / groups, …); the result's c, h and w are the output's extents, its k, p and q the input's.
    """
    if len(x) not in (3, 4) or len(w) != len(x):
        raise GraphError(f"node {node.name!r} ({node.op}): input {x} and weight {w}; only 1-D and 2-D exist")
    axes = len(x) - 2
    window = attributes.ints(node, "kernel_shape", axes, w[2:])
    if window != w[2:] or x[1] != w[0]:
        raise GraphError(f"node {node.name!r} ({node.op}): weight {w} does not fit input {x}, window {window}")
    strides, dilations, pads = steps(node, axes)
    extra = (0, *attributes.ints(node, "output_padding", axes, (0,) * axes))[-2:]
    (n, k, p, q), (_, each, r, s), groups = planar(x), planar(w), attributes.integer(node, "group", 1)
    h = strides[0] * (p - 1) + dilations[0] * (r - 1) + 1 - pads[0] - pads[2] + extra[0]
    wide = strides[1] * (q - 1) + dilations[1] * (s - 1) + 1 - pads[1] - pads[3] + extra[1]
    shape = in_node(node, lambda: ConvShape(n, each * groups, h, wide, k, r, s, groups, *strides, *dilations, *pads))
    if (shape.p, shape.q) != (p, q) or min(extra) < 0:
        raise GraphError(f"node {node.name!r} ({node.op}): output_padding {extra} is not from 0 to below the stride")
    return shape


def gemm_shape(node: Node, x: Shape, w: Shape) -> GemmShape:
    """The GemmShape of a plain Gemm or MatMul node: matrices, alpha = beta = 1, x as it is.

    The weight is (n, k) when transB is 1, else (k, n).
    """
    if node.op == "Gemm" and (
        attributes.real(node, "alpha", 1.0) != 1.0
        or attributes.real(node, "beta", 1.0) != 1.0
        or attributes.integer(node, "transA", 0) != 0
    ):
        raise UnsupportedShape(f"node {node.name!r} (Gemm): only alpha = 1, beta = 1 and transA = 0 are supported")
    if len(x) != 2 or len(w) != 2:
        raise UnsupportedShape(f"node {node.name!r} ({node.op}): input {x} and weight {w}; both must be matrices")
    n, k = w if weight_is_transposed(node) else w[::-1]
    if x[1] != k:
        raise GraphError(f"node {node.name!r} ({node.op}): weight {w} does not fit input {x}")
    return GemmShape(x[0], n, k)


def weight_is_transposed(node: Node) -> bool:
    """Whether a Gemm or MatMul node's weight is (n, k), one row an output, and not (k, n)."""
    return node.op == "Gemm" and attributes.integer(node, "transB", 0) == 1


def _conv(node: Node, x: Shape, w: Shape, bias: Shape | None) -> Shape:
    shape = conv_shape(node, x, w)
    _check_bias(node, bias, shape.k)
    return (shape.n, shape.k, shape.p, shape.q) if len(x) == 4 else (shape.n, shape.k, shape.q)


def _conv_transpose(node: Node, x: Shape, w: Shape, bias: Shape | None) -> Shape:
    shape = conv_transpose_shape(node, x, w)
    _check_bias(node, bias, shape.c)
    return (shape.n, shape.c, shape.h, shape.w) if len(x) == 4 else (shape.n, shape.c, shape.w)


def _check_bias(node: Node, bias: Shape | None, filters: int) -> None:
    if bias not in (None, (filters,)):
        raise GraphError(f"node {node.name!r} ({node.op}): bias {bias} for {filters} filters")


def _gemm(node: Node, x: Shape, w: Shape, bias: Shape | None) -> Shape:
    attributes.real(node, "alpha", 1.0), attributes.real(node, "beta", 1.0)
    if len(x) != 2 or len(w) != 2:
        raise GraphError(f"node {node.name!r} (Gemm): input {x} and weight {w}; both must be matrices")
    m, k = x[::-1] if attributes.flag(node, "transA") else x
    deep, n = w[::-1] if attributes.flag(node, "transB") else w
    if k != deep:
        raise GraphError(f"node {node.name!r} (Gemm): weight {w} does not fit input {x}")
    fits = bias is None or (
        len(bias) <= 2 and all(extent in (1, full) for extent, full in zip(reversed(bias), (n, m), strict=False))
    )
    if not fits:
        raise GraphError(f"node {node.name!r} (Gemm): bias {bias} for {n} outputs")
    return m, n


def _matmul(node: Node, a: Shape, b: Shape) -> Shape:
    if a and b and a[-1] == (b[-2] if len(b) > 1 else b[0]):
        try:
            batch = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            pass
        else:
            return (*batch, *(a[-2:-1] if len(a) > 1 else ()), *(b[-1:] if len(b) > 1 else ()))
    raise GraphError(f"node {node.name!r} (MatMul): weight {b} does not fit input {a}")


def _lstm(node: Node, x: Shape, w: Shape, r: Shape, *rest: Shape | None) -> tuple[Shape, ...]:
    """Inputs X, W, R, B, sequence_lens (never given), initial_h, initial_c, P; outputs Y, Y_h, Y_c; layout 0."""
    bias, lengths, hidden_0, cell_0, peepholes = rest
    directions = 1 + (attributes.word(node, "direction", DIRECTIONS) == "bidirectional")
    hidden = attributes.integer(node, "hidden_size", r[-1] if r else 0)
    if len(x) != 3 or hidden < 1 or lengths is not None:
        raise GraphError(f"node {node.name!r} (LSTM): input {x}, hidden_size {hidden}; no sequence_lens may be given")
    steps_, batch, features = x
    wanted = {
        "W": (w, (directions, 4 * hidden, features)),
        "R": (r, (directions, 4 * hidden, hidden)),
        "B": (bias, (directions, 8 * hidden)),
        "initial_h": (hidden_0, (directions, batch, hidden)),
        "initial_c": (cell_0, (directions, batch, hidden)),
        "P": (peepholes, (directions, 3 * hidden)),
    }
    for name, (found, right) in wanted.items():
        if found not in (None, right):
            raise GraphError(f"node {node.name!r} (LSTM): {name} is {found}; {right} fits input {x}")
    state = (directions, batch, hidden)
    return ((steps_, directions, batch, hidden), state, state)[: len(node.outputs)]


def in_node(node: Node, make: Callable[[], _Made]) -> _Made:
    """What `make` makes; a GraphError of its own names the node."""
    try:
        return make()
    except GraphError as error:
        raise GraphError(f"node {node.name!r} ({node.op}): {error}") from None


def planar(shape: Shape) -> tuple[int, int, int, int]:
    """A shape of rank 3 or 4 with a height of 1 put in where it has none."""
    first, second, *window = shape
    height, width = (1, *window)[-2:]
    return first, second, height, width


def steps(node: Node, axes: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Strides, dilations and pads as the shapes order them, for one or two axes."""
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise UnsupportedShape(f"node {node.name!r} ({node.op}): auto_pad is not supported; write the pads out")
    strides = attributes.ints(node, "strides", axes, (1,) * axes)
    dilations = attributes.ints(node, "dilations", axes, (1,) * axes)
    pads = attributes.ints(node, "pads", 2 * axes, (0,) * (2 * axes))
    if axes == 1:
        return (1, strides[0]), (1, dilations[0]), (0, pads[0], 0, pads[1])
    return (strides[0], strides[1]), (dilations[0], dilations[1]), (pads[0], pads[1], pads[2], pads[3])


OPERATORS: Final[Table] = {
    "Conv": (2, 3, _conv),
    "ConvTranspose": (2, 3, _conv_transpose),
    "Gemm": (2, 3, _gemm),
    "LSTM": (3, 8, _lstm),
    "MatMul": (2, 2, _matmul),
}
