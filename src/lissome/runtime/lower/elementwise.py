"""Functions of one tensor, and arithmetic of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

FUNCTIONS: Final = {"Sigmoid": "unary_f32_sigmoid", "Tanh": "unary_f32_tanh"}


def relu(planner: Planner, node: Node) -> None:
    """Relu, fused where that can be."""
    if not planner.fuse_activation(node, ("relu", 0.0, 0.0)):
        _unary(planner, node, "unary_f32_relu")


def leaky_relu(planner: Planner, node: Node) -> None:
    """LeakyRelu, fused where that can be."""
    slope = shapes.slope(node)
    if not planner.fuse_activation(node, ("leaky_relu", slope, 0.0)):
        _unary(planner, node, "unary_f32_leaky_relu", slope)


def function(planner: Planner, node: Node) -> None:
    """A function that is never fused."""
    _unary(planner, node, FUNCTIONS[node.op])


def add(planner: Planner, node: Node) -> None:
    """Add with NumPy's broadcasting; into the convolution that makes an operand where that can be."""
    if not planner.fuse_residual(node):
        _binary(planner, node, "binary_f32_add")


def multiply(planner: Planner, node: Node) -> None:
    """Mul with NumPy's broadcasting."""
    _binary(planner, node, "binary_f32_multiply")


def _unary(planner: Planner, node: Node, kernel: str, *constants: float) -> None:
    planner.set_block(node.outputs[0], planner.block(node.inputs[0]))
    count = (planner.memory.elements[node.inputs[0]],)
    name = f"{kernel}_{planner.isa}"
    planner.add(Step((node.name,), node.op, name, "elementwise", node.inputs, node.outputs, count, constants))


def _binary(planner: Planner, node: Node, kernel: str) -> None:
    out = planner.shape(node.outputs[0]) or (1,)
    a, b = (planner.shape(name) for name in node.inputs)
    block = max(planner.block(name) for name in node.inputs) if a == b else 1
    inputs = tuple(planner.in_layout(name, block) for name in node.inputs)
    planner.set_block(node.outputs[0], block)
    if block > 1:
        out = a = b = (planner.memory.elements[node.outputs[0]],)
    ints = (*out, *_strides(a, out), *_strides(b, out))
    why = "same shapes" if a == b else "broadcast"
    planner.add(Step((node.name,), node.op, f"{kernel}_{planner.isa}", why, inputs, node.outputs, ints))


def _strides(shape: Shape, out: Shape) -> tuple[int, ...]:
    """Elements between neighbours along each axis of `out`, 0 where `shape` is broadcast."""
    strides = [0] * len(out)
    step = 1
    for axis in range(1, len(shape) + 1):
        strides[-axis] = step if shape[-axis] > 1 else 0
        step *= shape[-axis]
    return tuple(strides)
