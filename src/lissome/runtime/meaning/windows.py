"""Convolution, transposed convolution, pooling: sums and maxima over windows, tap by tap."""

from __future__ import annotations

from typing import Final

import numpy as np

from lissome.graph import attributes, shapes
from lissome.graph.conv_shape import ConvShape, PoolShape
from lissome.graph.ir import Node
from lissome.graph.rules.windows import lrn_size
from lissome.runtime.meaning import Array, Table


def conv(x: Array, w: Array, bias: Array | None, shape: ConvShape) -> Array:
    """y[n, k, p, q] = bias[k] + Σ_{c, r, s} w[k, c, r, s] · x[n, c, p · stride + r · dilation − pad, …]."""
    planes = _pad(x, shape, 0.0)
    padded = planes.reshape(shape.n, shape.groups, shape.c // shape.groups, *planes.shape[2:])
    w = w.reshape(shape.groups, shape.k // shape.groups, shape.c // shape.groups, shape.r, shape.s)
    sums = np.zeros((shape.n, shape.groups, shape.k // shape.groups, shape.p, shape.q))
    for r in range(shape.r):
        for s in range(shape.s):
            sums += np.einsum("gkc,ngcpq->ngkpq", w[..., r, s], _tap(padded, shape, r, s))
    y = sums.reshape(shape.n, shape.k, shape.p, shape.q)
    return y if bias is None else y + bias[:, None, None]


def conv_transpose(x: Array, w: Array, bias: Array | None, shape: ConvShape) -> Array:
    """The convolution of `shape` turned round: every x[n, k, p, q] · w[k, c, r, s] is added where it was read from."""
    rows = max(shape.h + shape.pad_top + shape.pad_bottom, 1)
    columns = max(shape.w + shape.pad_left + shape.pad_right, 1)
    grouped = x.reshape(shape.n, shape.groups, shape.k // shape.groups, shape.p, shape.q)
    w = w.reshape(shape.groups, shape.k // shape.groups, shape.c // shape.groups, shape.r, shape.s)
    sums = np.zeros((shape.n, shape.groups, shape.c // shape.groups, rows, columns))
    for r in range(shape.r):
        for s in range(shape.s):
            _tap(sums, shape, r, s)[...] += np.einsum("gkc,ngkpq->ngcpq", w[..., r, s], grouped)
    whole = sums.reshape(shape.n, shape.c, rows, columns)
    y = whole[:, :, shape.pad_top : shape.pad_top + shape.h, shape.pad_left : shape.pad_left + shape.w]
    return y if bias is None else y + bias[:, None, None]


def max_pool(x: Array, shape: PoolShape) -> Array:
    """The largest input of every window; padding is never the largest."""
    padded = _pad(x, shape, -np.inf)
    taps = [_tap(padded, shape, r, s) for r in range(shape.r) for s in range(shape.s)]
    return np.asarray(np.maximum.reduce(taps))


def average_pool(x: Array, shape: PoolShape) -> Array:
    """The sum of every window's inputs over how many there are, padding counted if count_include_pad says so."""
    inside = np.ones_like(x)
    if shape.count_include_pad:
        pads = ((0, 0), (0, 0), (shape.pad_top, shape.pad_bottom), (shape.pad_left, shape.pad_right))
        inside = np.ones((shape.n, shape.c, shape.h + sum(pads[2]), shape.w + sum(pads[3])))
    total, count = np.zeros((shape.n, shape.c, shape.p, shape.q)), np.zeros((shape.n, shape.c, shape.p, shape.q))
    padded, counted = _pad(x, shape, 0.0), _pad(inside, shape, 0.0)
    for r in range(shape.r):
        for s in range(shape.s):
            total += _tap(padded, shape, r, s)
            count += _tap(counted, shape, r, s)
    return total / count


def _pad(x: Array, shape: ConvShape | PoolShape, value: float) -> Array:
    """The input with `value` around it: the padding, and as much behind as the last window may reach."""
    height = (shape.p - 1) * shape.stride_h + (shape.r - 1) * shape.dilation_h + 1
    width = (shape.q - 1) * shape.stride_w + (shape.s - 1) * shape.dilation_w + 1
    already = x.shape[2] != shape.h or x.shape[3] != shape.w
    top, left = (0, 0) if already else (shape.pad_top, shape.pad_left)
    after = (max(0, height - top - x.shape[2]), max(0, width - left - x.shape[3]))
    return np.pad(x, ((0, 0), (0, 0), (top, after[0]), (left, after[1])), constant_values=value)


def _tap(padded: Array, shape: ConvShape | PoolShape, r: int, s: int) -> Array:
    """What tap (r, s) of the window reads for every output: (…, p, q)."""
    top, left = r * shape.dilation_h, s * shape.dilation_w
    rows = slice(top, top + (shape.p - 1) * shape.stride_h + 1, shape.stride_h)
    columns = slice(left, left + (shape.q - 1) * shape.stride_w + 1, shape.stride_w)
    return padded[..., rows, columns]


def _conv(node: Node, x: Array, w: Array, bias: Array | None) -> Array:
    shape = shapes.conv_shape(node, x.shape, w.shape)
    y = conv(x.reshape(shape.n, shape.c, shape.h, shape.w), w, bias, shape)
    return y if x.ndim == 4 else y[:, :, 0]


def _conv_transpose(node: Node, x: Array, w: Array, bias: Array | None) -> Array:
    y = conv_transpose(x, w, bias, shapes.conv_transpose_shape(node, x.shape, w.shape))
    return y if x.ndim == 4 else y[:, :, 0]


def _pool(node: Node, x: Array) -> Array:
    shape = shapes.pool_shape(node, x.shape)
    pool = max_pool if node.op in ("MaxPool", "GlobalMaxPool") else average_pool
    y = pool(x.reshape(shape.n, shape.c, shape.h, shape.w), shape)
    return y if x.ndim == 4 else y[:, :, 0]


def _lrn(node: Node, x: Array) -> Array:
    """LRN: x / (bias + alpha / size · Σ x²) ** beta, summed over `size` channels (Krizhevsky et al. 2012)."""
    size = lrn_size(node)
    before, squares = (size - 1) // 2, x * x
    padded = np.pad(squares, ((0, 0), (before, size - 1 - before), *((0, 0),) * (x.ndim - 2)))
    total = sum(padded[:, i : i + x.shape[1]] for i in range(size))
    alpha, beta = attributes.real(node, "alpha", 1e-4), attributes.real(node, "beta", 0.75)
    return np.asarray(x / (attributes.real(node, "bias", 1.0) + alpha / size * total) ** beta)


OPERATORS: Final[Table] = {
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "GlobalAveragePool": _pool,
    "GlobalMaxPool": _pool,
    "LRN": _lrn,
    "MaxPool": _pool,
}
