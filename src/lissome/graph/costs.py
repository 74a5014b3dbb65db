"""What a node costs: multiply-adds, parameters and bytes, from shapes alone; the only home of that arithmetic.

A multiply-add (MAC) is one multiplication and one addition of a convolution, a matrix product or an LSTM's gates, on
padding too. Biases, batch norm, pooling, activations and element-wise arithmetic count none: so do the papers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape, Shape
from lissome.graph.ir import Graph, Node

FLOAT_BYTES: Final = 4
_ARITHMETIC: Final = ("Add", "Div", "Max", "Min", "Mul", "Pow", "Sub")


@dataclass(frozen=True, slots=True)
class Cost:
    """One node's cost for one batch size. Elements are float32 numbers; each is counted once, as if caches held all.

    parameters: learned numbers that no node before it has read; running statistics and the numbers of formulas are not
    learned. weights: all numbers read besides activations. inputs, activations: elements read and made.
    """

    macs: int
    parameters: int
    weights: int
    inputs: int
    activations: int

    @property
    def bytes(self) -> int:
        """What moves between memory and processor when nothing is kept from the node before: all as float32."""
        return FLOAT_BYTES * (self.weights + self.inputs + self.activations)

    @property
    def intensity(self) -> float:
        """Floating-point operations a byte moved; a multiply-add is two operations."""
        return 2 * self.macs / self.bytes if self.bytes else 0.0


def costs(graph: Graph, weights: Mapping[str, Shape], batch: int = 1) -> dict[str, Cost]:
    """The cost of every node by name. weights: the shape of each parameter. Raises what `shapes.infer` raises."""
    known = {name: spec.shape for name, spec in shapes.infer(graph, weights, batch).items()}
    extents: dict[str, Shape] = {name: tuple(int(e) for e in shape) for name, shape in known.items()}
    counted: set[str] = set()
    found: dict[str, Cost] = {}
    for node in graph.nodes:
        read = [name for name in dict.fromkeys(node.inputs) if name]
        held = [name for name in read if name in weights]
        learned = [name for name in held if name not in counted and _is_learned(node, name, extents[name])]
        counted.update(held)
        found[node.name] = Cost(
            macs=macs(node, extents),
            parameters=_elements(learned, extents),
            weights=_elements(held, extents),
            inputs=_elements([name for name in read if name not in weights], extents),
            activations=_elements(node.outputs, extents),
        )
    return found


def macs(node: Node, extents: Mapping[str, Shape]) -> int:
    """Multiply-adds of a node whose inputs and outputs have these shapes by name."""
    found = product(node, extents)
    return found[0].macs * found[1] if found else 0


def product(node: Node, extents: Mapping[str, Shape]) -> tuple[ConvShape, int] | None:
    """A node's matrix product as a convolution, and how often it is done one after another; None where it has none.

    A Gemm or MatMul is a convolution of 1×1 windows, an LSTM one of 4·hidden outputs from input and state.
    """
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM"):
        return None
    x, w, out = extents[node.inputs[0]], extents[node.inputs[1]], extents[node.outputs[0]]
    if node.op == "Conv":
        return shapes.conv_shape(node, x, w), 1
    if node.op == "ConvTranspose":
        return shapes.conv_transpose_shape(node, x, w), 1
    if node.op == "LSTM":
        (steps, batch, features), (directions, gates, hidden) = x, extents[node.inputs[2]]
        return ConvShape(batch, features + hidden, 1, 1, gates, 1, 1), steps * directions
    if node.op == "Gemm":
        rows, columns = out
        return ConvShape(rows, math.prod(x) // rows, 1, 1, columns, 1, 1), 1
    deep, columns = x[-1], w[-1] if len(w) > 1 else 1
    if len(w) <= 2:  # one matrix for every leading index
        return ConvShape(math.prod(x) // deep, deep, 1, 1, columns, 1, 1), 1
    rows = x[-2] if len(x) > 1 else 1
    return ConvShape(rows, deep, 1, 1, columns, 1, 1), math.prod(out) // (rows * columns)


def _is_learned(node: Node, name: str, shape: Shape) -> bool:
    if node.op == "BatchNormalization":
        return name in node.inputs[1:3]
    return not (node.op in _ARITHMETIC and math.prod(shape) == 1)


def _elements(names: list[str] | tuple[str, ...], extents: Mapping[str, Shape]) -> int:
    return sum(math.prod(extents[name]) for name in names)
