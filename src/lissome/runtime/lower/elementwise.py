"""Functions of one tensor, and arithmetic of two."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from lissome.graph import attributes, shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.runtime import nest
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

#: operator → kernel, for functions without constants
FUNCTIONS: Final = {
    op: op.lower()
    for op in (
        *("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "Log", "Mish", "Reciprocal", "Relu", "Round", "Sigmoid"),
        *("Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"),
    )
} | {"HardSwish": "hard_swish", "Neg": "negate"}
#: operator → kernel and constants with their defaults
PARAMETRIC: Final = {
    "Elu": ("elu", {"alpha": 1.0}),
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Swish": ("swish", {"alpha": 1.0}),
}
ARITHMETIC: Final = {
    "Add": "add",
    "Div": "divide",
    "Max": "maximum",
    "Min": "minimum",
    "Mul": "multiply",
    "PRelu": "prelu",
    "Pow": "power",
    "Sub": "subtract",
}
#: those that make zeros of zeros: padding lanes of blocked tensors stay zero
KEEP_ZERO: Final = (
    *("abs", "ceil", "copy", "elu", "erf", "floor", "gelu", "gelu_tanh", "hard_swish", "leaky_relu", "mish", "negate"),
    *("relu", "round", "sign", "sin", "softsign", "sqrt", "swish", "tanh", "add", "maximum", "minimum", "multiply"),
    *("prelu", "subtract"),
)


def function(planner: Planner, node: Node) -> None:
    """A function of one tensor; Relu and HardSwish are fused where that can be."""
    fused = {"Relu": ("relu", 0.0, 0.0), "HardSwish": ("hard_swish", 0.0, 0.0)}.get(node.op)
    if fused is None or not planner.fuse_activation(node, fused):
        unary(planner, node, FUNCTIONS[node.op])


def parametric(planner: Planner, node: Node) -> None:
    """A function with constants."""
    kernel, defaults = PARAMETRIC[node.op]
    unary(planner, node, kernel, *(attributes.real(node, name, value) for name, value in defaults.items()))


def leaky_relu(planner: Planner, node: Node) -> None:
    """LeakyRelu, fused where that can be."""
    slope = shapes.slope(node)
    if not planner.fuse_activation(node, ("leaky_relu", slope, 0.0)):
        unary(planner, node, "leaky_relu", slope)


def clip(planner: Planner, node: Node) -> None:
    """Clip, fused where that can be."""
    low, high = shapes.bounds(node)
    if not planner.fuse_activation(node, ("clip", low, high)):
        unary(planner, node, "clip", low, high)


def gelu(planner: Planner, node: Node) -> None:
    """Gelu, exact or by tanh."""
    unary(planner, node, "gelu_tanh" if node.attributes.get("approximate") == "tanh" else "gelu")


def unary(planner: Planner, node: Node, kernel: str, *constants: float) -> None:
    """One step of a function of one tensor, in the layout that it has where padding allows."""
    x, y = node.inputs[0], node.outputs[0]
    x = _unpadded(planner, x, kernel)
    planner.set_block(y, planner.block(x))
    ints, name = (planner.memory.elements[x],), f"unary_f32_{kernel}_{planner.isa}"
    planner.add(Step((node.name,), node.op, name, "elementwise", (x,), (y,), ints, constants))


def _unpadded(planner: Planner, x: str, kernel: str) -> str:
    """The tensor, plain if the function would make something else of the zeros behind its last channel."""
    padded = planner.block(x) > 1 and planner.shape(x)[1] % planner.block(x) != 0
    return planner.in_layout(x, 1) if padded and kernel not in KEEP_ZERO else x


def add(planner: Planner, node: Node) -> None:
    """Add with NumPy's broadcasting; into the convolution that makes an operand where that can be."""
    if not planner.fuse_residual(node):
        binary(planner, node)


def power(planner: Planner, node: Node) -> None:
    """Pow; the powers that are cheap otherwise are done so."""
    x, exponent = node.inputs
    weight = planner.net.weights.get(exponent)
    same = planner.shape(x) == planner.shape(node.outputs[0])
    value = float(weight.to_dense().reshape(-1)[0]) if weight is not None and math.prod(weight.shape) == 1 else None
    if same and value in (0.5, 1.0, -1.0):
        unary(planner, node, {0.5: "sqrt", 1.0: "copy", -1.0: "reciprocal"}[value])
    elif same and value == 2.0:
        arithmetic(planner, node, "multiply", (x, x))
    else:
        binary(planner, node)


def binary(planner: Planner, node: Node) -> None:
    """Arithmetic of two tensors with NumPy's broadcasting."""
    a, b = node.inputs
    arithmetic(planner, node, ARITHMETIC[node.op], (a, b))


def arithmetic(planner: Planner, node: Node, kernel: str, operands: tuple[str, str], into: str = "") -> None:
    """One step of arithmetic that makes the node's output, or the tensor `into`.

    Blocked where one operand is, and the other is too or has one value a channel.
    """
    (a, b), y = operands, into or node.outputs[0]
    out = planner.shape(y)
    block = max(planner.block(a), planner.block(b))
    read = _blocked(planner, (a, b), out, block) if block > 1 and (kernel in KEEP_ZERO or out[1] % block == 0) else None
    if read is None:
        block, names = 1, tuple(planner.in_layout(name, 1) for name in (a, b))
        read = tuple((name, nest.broadcast(planner.shape(name), out)) for name in names)
        dims = out
    else:
        dims = (out[0], -(-out[1] // block), math.prod(out[2:]), block)
    planner.set_block(y, block)
    ints = nest.simplify(dims, *(strides for _, strides in read))
    why = "same shapes" if len(ints[0]) == 1 and ints[1] == ints[2] else "broadcast"
    inputs, flat = tuple(name for name, _ in read), tuple(value for column in ints for value in column)
    planner.add(Step((node.name,), node.op, f"binary_f32_{kernel}_{planner.isa}", why, inputs, (y,), flat))


def _blocked(planner: Planner, names: tuple[str, str], out: Shape, block: int) -> tuple[tuple[str, Shape], ...] | None:
    """Name and strides over (n, blocks, pixels, block) of each operand, or None where one cannot be read so."""
    blocks, pixels = -(-out[1] // block), math.prod(out[2:])
    read: list[tuple[str, Shape]] = []
    for name in names:
        shape = planner.shape(name)
        shape = (1,) * (len(out) - len(shape)) + shape
        whole = planner.block(name) == block and len(planner.shape(name)) == len(out)
        if whole and shape == out:
            read.append((name, (blocks * pixels * block, pixels * block, block, 1)))
        elif whole and shape[1] == out[1] and math.prod(shape[2:]) == 1 and shape[0] in (1, out[0]):
            read.append((name, (0 if shape[0] == 1 else blocks * block, block, 0, 1)))
        elif name in planner.net.weights and shape[1] == out[1] and math.prod(shape) == out[1]:
            values = np.zeros(blocks * block, np.float32)
            values[: out[1]] = planner.net.weights[name].to_dense().reshape(-1)
            read.append((planner.constant(values), (0, block, 0, 1)))
        elif math.prod(shape) == 1 and out[1] % block == 0:
            read.append((planner.in_layout(name, 1), (0, 0, 0, 0)))
        else:
            return None
    return tuple(read)
