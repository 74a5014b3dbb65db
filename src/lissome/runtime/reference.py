"""What every operator means: slow, plain, in float64 NumPy. The judge of the engine and of every kernel.

Shapes and attributes are ONNX's (see graph/shapes.py). NaN and infinity go where NumPy lets them go: a pruned weight is
a zero like any other, and 0 · NaN is NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape, PoolShape
from lissome.graph.ir import Node
from lissome.network import Network

Array: TypeAlias = NDArray[np.float64]


def run(net: Network, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Array]:
    """Evaluate `net` on `inputs` (by name, the batch first) and return its outputs by name, in float64."""
    tensors: dict[str, Array] = {name: weight.to_dense().astype(np.float64) for name, weight in net.weights.items()}
    tensors |= {spec.name: np.asarray(inputs[spec.name], dtype=np.float64) for spec in net.graph.inputs}
    shapes.refuse_unknown(net.graph)
    with np.errstate(all="ignore"):
        for node in net.graph.nodes:
            arguments = [tensors[name] for name in node.inputs if name]
            tensors[node.outputs[0]] = OPERATORS[node.op](node, *arguments)
    return {name: tensors[name] for name in net.graph.outputs}


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


def _conv(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    shape = shapes.conv_shape(node, x.shape, w.shape)
    y = conv(x.reshape(shape.n, shape.c, shape.h, shape.w), w, bias, shape)
    return y if x.ndim == 4 else y[:, :, 0]


def _pool(node: Node, x: Array) -> Array:
    shape = shapes.pool_shape(node, x.shape)
    pool = max_pool if node.op == "MaxPool" else average_pool
    y = pool(x.reshape(shape.n, shape.c, shape.h, shape.w), shape)
    return y if x.ndim == 4 else y[:, :, 0]


def _gemm(node: Node, x: Array, w: Array, bias: Array | None = None) -> Array:
    shapes.gemm_shape(node, x.shape, w.shape)
    y = x @ (w.T if shapes.weight_is_transposed(node) else w)
    return y if bias is None else y + bias


def _batch_norm(node: Node, x: Array, *statistics: Array) -> Array:
    scale, offset, mean, variance = (value.reshape(-1, *(1,) * (x.ndim - 2)) for value in statistics)
    return (x - mean) / np.sqrt(variance + shapes.epsilon(node)) * scale + offset


def _softmax(node: Node, x: Array) -> Array:
    axis = shapes.softmax_axis(node, x.shape)
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def _sigmoid(_node: Node, x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1.0) / (1.0 + e)


def _reshaped(node: Node, x: Array) -> Array:
    return x.reshape(shapes.OPERATORS[node.op][2](node, x.shape))


OPERATORS: Final[Mapping[str, Callable[..., Array]]] = {
    "Add": lambda _node, a, b: a + b,
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Conv": _conv,
    "Flatten": _reshaped,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool,
    "Identity": lambda _node, x: x,
    "LeakyRelu": lambda node, x: np.where(x < 0, shapes.slope(node) * x, x),
    "MatMul": _gemm,
    "MaxPool": _pool,
    "Mul": lambda _node, a, b: a * b,
    "Relu": lambda _node, x: np.maximum(x, 0.0),
    "Reshape": _reshaped,
    "Sigmoid": _sigmoid,
    "Softmax": _softmax,
    "Tanh": lambda _node, x: np.tanh(x),
}
