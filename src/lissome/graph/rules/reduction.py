"""Operators that make one value of many along whole axes."""

from __future__ import annotations

from typing import Final

from lissome.graph import attributes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Table


def reduced_axes(node: Node, x: Shape) -> tuple[int, ...]:
    """The axes that a Reduce node goes over: all unless told."""
    axes = attributes.axes(node, "axes", len(x))
    return tuple(range(len(x))) if axes is None else axes


def _reduce(node: Node, x: Shape) -> Shape:
    axes, kept = reduced_axes(node, x), attributes.flag(node, "keepdims", 1)
    return tuple(1 if axis in axes else extent for axis, extent in enumerate(x) if kept or axis not in axes)


_NAMES: Final = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")
OPERATORS: Final[Table] = dict.fromkeys(_NAMES, (1, 1, _reduce))
