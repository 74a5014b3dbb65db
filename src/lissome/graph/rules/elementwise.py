"""Operators that go element by element, and normalisations whose statistics are fixed or over whole axes."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lissome.errors import GraphError
from lissome.graph import attributes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Rule, Table

APPROXIMATIONS: Final = ("none", "tanh")  # of Gelu


def softmax_axis(node: Node, x: Shape) -> int:
    """The axis of a Softmax or LogSoftmax node, counted from the front; the last one unless told."""
    return attributes.axis(node, "axis", -1, len(x))


def epsilon(node: Node) -> float:
    """What a BatchNormalization or LayerNormalization node adds to the variance."""
    value = attributes.real(node, "epsilon", 1e-5)
    if not 0 <= value < math.inf:
        raise GraphError(f"node {node.name!r} ({node.op}): epsilon is {value}")
    return value


def slope(node: Node) -> float:
    """What a LeakyRelu node multiplies negative values with."""
    return attributes.real(node, "alpha", 0.01)


def bounds(node: Node) -> tuple[float, float]:
    """Smallest and largest value that a Clip node lets through: its attributes min and max, each optional."""
    return attributes.real(node, "min", -math.inf), attributes.real(node, "max", math.inf)


def _same(*names: str) -> Rule:
    """The input's shape, when the attributes of these names, if given, are numbers."""

    def rule(node: Node, x: Shape) -> Shape:
        for name in names:
            attributes.real(node, name, 0.0)
        return x

    return rule


def _gelu(node: Node, x: Shape) -> Shape:
    attributes.word(node, "approximate", APPROXIMATIONS)
    return x


def _softmax(node: Node, x: Shape) -> Shape:
    softmax_axis(node, x)
    return x


def _batch_norm(node: Node, x: Shape, *statistics: Shape) -> Shape:
    epsilon(node)
    if len(x) < 2 or any(shape != (x[1],) for shape in statistics):
        raise GraphError(f"node {node.name!r} (BatchNormalization): statistics {statistics} for input {x}")
    return x


def _layer_norm(node: Node, x: Shape, scale: Shape, offset: Shape | None) -> Shape:
    epsilon(node)
    normalised = x[attributes.axis(node, "axis", -1, len(x)) :]
    for shape in (scale, offset or ()):
        if not _spreads(shape, normalised):
            raise GraphError(f"node {node.name!r} (LayerNormalization): {shape} scales or shifts {normalised}")
    return x


def _broadcast(node: Node, a: Shape, b: Shape) -> Shape:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        raise GraphError(f"node {node.name!r} ({node.op}): {a} and {b} do not broadcast") from None
    return shape


def _prelu(node: Node, x: Shape, slopes: Shape) -> Shape:
    if not _spreads(slopes, x):
        raise GraphError(f"node {node.name!r} (PRelu): slopes {slopes} for input {x}")
    return x


def _spreads(small: Shape, large: Shape) -> bool:
    """Whether `small` broadcasts to exactly `large`."""
    pairs = zip(reversed(small), reversed(large), strict=False)
    return len(small) <= len(large) and all(extent in (1, full) for extent, full in pairs)


_PLAIN: Final = (
    *("Abs", "Binarize", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Log", "Mish", "Neg"),
    *("Reciprocal", "Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"),
)

OPERATORS: Final[Table] = {
    **{op: (1, 1, _same()) for op in _PLAIN},
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"), (2, 2, _broadcast)),
    "BatchNormalization": (5, 5, _batch_norm),
    "Clip": (1, 1, _same("min", "max")),
    "Elu": (1, 1, _same("alpha")),
    "Gelu": (1, 1, _gelu),
    "HardSigmoid": (1, 1, _same("alpha", "beta")),
    "LayerNormalization": (2, 3, _layer_norm),
    "LeakyRelu": (1, 1, _same("alpha")),
    "LogSoftmax": (1, 1, _softmax),
    "PRelu": (2, 2, _prelu),
    "Softmax": (1, 1, _softmax),
    "Swish": (1, 1, _same("alpha")),
}
