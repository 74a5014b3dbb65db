"""Operators that go element by element, and normalisations.

NaN and infinity go where NumPy lets them go: a pruned weight is a zero like any other, and 0 · NaN is NaN.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lissome.graph import attributes, shapes
from lissome.graph.ir import Node
from lissome.runtime.meaning import Array, Table

_erf: Final = np.vectorize(math.erf, otypes=[np.float64])


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1.0) / (1.0 + e))


def _softplus(x: Array) -> Array:
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def _gelu(node: Node, x: Array) -> Array:
    """Gelu: x · Φ(x), or its approximation by tanh (Hendrycks and Gimpel 2016)."""
    if node.attributes.get("approximate", "none") == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _hard_sigmoid(node: Node, x: Array) -> Array:
    slope, offset = attributes.real(node, "alpha", 0.2), attributes.real(node, "beta", 0.5)
    return np.clip(slope * x + offset, 0.0, 1.0)


def _elu(node: Node, x: Array) -> Array:
    return np.where(x < 0, attributes.real(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0.0)), x)


def _batch_norm(node: Node, x: Array, *statistics: Array) -> Array:
    scale, offset, mean, variance = (value.reshape(-1, *(1,) * (x.ndim - 2)) for value in statistics)
    return np.asarray((x - mean) / np.sqrt(variance + shapes.epsilon(node)) * scale + offset)


def _layer_norm(node: Node, x: Array, scale: Array, offset: Array | None) -> Array:
    axes = tuple(range(attributes.axis(node, "axis", -1, x.ndim), x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axes, keepdims=True) + shapes.epsilon(node)) * scale
    return np.asarray(y if offset is None else y + offset)


def _softmax(node: Node, x: Array) -> Array:
    axis = shapes.softmax_axis(node, x.shape)
    e = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(e / e.sum(axis, keepdims=True))


def _log_softmax(node: Node, x: Array) -> Array:
    axis = shapes.softmax_axis(node, x.shape)
    centred = x - x.max(axis, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(axis, keepdims=True)))


OPERATORS: Final[Table] = {
    "Abs": lambda _node, x: np.abs(x),
    "Add": lambda _node, a, b: a + b,
    "BatchNormalization": _batch_norm,
    "Binarize": lambda _node, x: np.where(x >= 0, 1.0, -1.0),
    "Ceil": lambda _node, x: np.ceil(x),
    "Clip": lambda node, x: np.minimum(np.maximum(x, shapes.bounds(node)[0]), shapes.bounds(node)[1]),
    "Cos": lambda _node, x: np.cos(x),
    "Div": lambda _node, a, b: a / b,
    "Elu": _elu,
    "Erf": lambda _node, x: np.asarray(_erf(x)),
    "Exp": lambda _node, x: np.exp(x),
    "Floor": lambda _node, x: np.floor(x),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda _node, x: x * np.clip(x / 6 + 0.5, 0.0, 1.0),
    "Identity": lambda _node, x: x,
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda node, x: np.where(x < 0, shapes.slope(node) * x, x),
    "Log": lambda _node, x: np.log(x),
    "LogSoftmax": _log_softmax,
    "Max": lambda _node, a, b: np.maximum(a, b),
    "Min": lambda _node, a, b: np.minimum(a, b),
    "Mish": lambda _node, x: x * np.tanh(_softplus(x)),
    "Mul": lambda _node, a, b: a * b,
    "Neg": lambda _node, x: -x,
    "PRelu": lambda _node, x, slopes: np.where(x < 0, slopes * x, x),
    "Pow": lambda _node, a, b: a**b,
    "Reciprocal": lambda _node, x: 1.0 / x,
    "Relu": lambda _node, x: np.maximum(x, 0.0),
    "Round": lambda _node, x: np.rint(x),
    "Sigmoid": lambda _node, x: sigmoid(x),
    "Sign": lambda _node, x: np.sign(x),
    "Sin": lambda _node, x: np.sin(x),
    "Softmax": _softmax,
    "Softplus": lambda _node, x: _softplus(x),
    "Softsign": lambda _node, x: x / (1 + np.abs(x)),
    "Sqrt": lambda _node, x: np.sqrt(x),
    "Sub": lambda _node, a, b: a - b,
    "Swish": lambda node, x: x * sigmoid(attributes.real(node, "alpha", 1.0) * x),
    "Tanh": lambda _node, x: np.tanh(x),
}
