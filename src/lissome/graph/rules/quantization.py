"""From real numbers to codes and back, as ONNX has it. A tensor of codes is one of whole numbers.

The scale is the second input: one number, or one for each slice along `axis`. The zero point is an attribute, the same
for all, and so is what the codes are, uint8 or int8.
"""

from __future__ import annotations

from typing import Final

from lissome.errors import GraphError
from lissome.graph import attributes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Table

CODES: Final = {"uint8": (0, 255), "int8": (-128, 127)}


def codes_of(node: Node) -> tuple[str, int]:
    """The type of the codes that a QuantizeLinear makes or a DequantizeLinear reads, and which of them means 0."""
    dtype, zero = attributes.word(node, "dtype", tuple(CODES)), attributes.integer(node, "zero_point", 0)
    low, high = CODES[dtype]
    if not low <= zero <= high:
        raise GraphError(f"node {node.name!r} ({node.op}): the zero point {zero} is no {dtype}")
    return dtype, zero


def scale_axis(node: Node, x: Shape, scale: Shape) -> int | None:
    """The axis along which a node's scales lie; None for one scale."""
    codes_of(node)
    if scale in ((), (1,)):
        return None
    axis = attributes.axis(node, "axis", 1, len(x)) if x else 0
    if scale != x[axis : axis + 1]:
        raise GraphError(f"node {node.name!r} ({node.op}): scales {scale} for axis {axis} of {x}")
    return axis


def _linear(node: Node, x: Shape, scale: Shape) -> Shape:
    scale_axis(node, x, scale)
    return x


OPERATORS: Final[Table] = {"DequantizeLinear": (2, 2, _linear), "QuantizeLinear": (2, 2, _linear)}
