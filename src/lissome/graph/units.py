"""Hidden units: which layer makes them, and which one layer reads them; what may be renumbered unnoticed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lissome.graph import shapes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Graph, Node

# Operators that treat every unit (channel) by itself and alike; of these, SILENT map a unit of zeros to zeros.
SILENT: Final = frozenset(
    {"Relu", "LeakyRelu", "Tanh", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Reshape"}
)
APART: Final = SILENT | {"Sigmoid"}


@dataclass(frozen=True, slots=True)
class Units:
    """The units between two layers: `count` of them, made by one Conv or Gemm and read by one Conv or Gemm only.

    weight, weight_axis: the parameter that makes them, and its axis with an extent of `count`. bias: the parameter
    added to them, along its last axis, if any. reader, reader_axis: the parameter that reads them, and its axis, on
    which each unit has `block` neighbouring places (a flattened channel of H×W pixels has H·W of them).
    silent: whether a unit that is made as all zeros is still all zeros when it is read.
    """

    weight: str
    weight_axis: int
    bias: str | None
    reader: str
    reader_axis: int
    count: int
    block: int
    silent: bool


def hidden_units(graph: Graph, weights: Mapping[str, Shape]) -> list[Units]:
    """All units whose order is nobody else's business, in the order of the layers that make them.

    weights: the shape of each parameter. Left out, since others see their order: what the graph returns, what more than
    one node reads (a residual sum), grouped convolutions, and layers that share a parameter.
    Raises what `shapes.infer` raises.
    """
    specs = shapes.infer(graph, weights, 1)
    uses = Counter(name for node in graph.nodes for name in node.inputs if name)
    uses.update(graph.outputs)
    readers = {name: node for node in graph.nodes for name in node.inputs if name}
    extents = {name: tuple(int(extent) for extent in spec.shape) for name, spec in specs.items()}
    found = []
    for node in graph.nodes:
        if _is_layer(node, graph, uses):
            units = _follow(node, extents, uses, readers, graph)
            found += [units] if units else []
    return found


def _is_layer(node: Node, graph: Graph, uses: Mapping[str, int]) -> bool:
    """Whether `node` is a Conv or Gemm of parameters that are its own."""
    return (
        node.op in ("Conv", "Gemm", "MatMul")
        and node.attributes.get("group", 1) == 1
        and node.inputs[0] not in graph.parameters
        and all(name in graph.parameters and uses[name] == 1 for name in node.inputs[1:] if name)
    )


def _follow(
    maker: Node,
    extents: Mapping[str, Shape],
    uses: Mapping[str, int],
    readers: Mapping[str, Node],
    graph: Graph,
) -> Units | None:
    """The units that `maker` makes, followed through operators that keep them apart to the layer that reads them."""
    count, silent, name = extents[maker.outputs[0]][1], True, maker.outputs[0]
    while uses[name] == 1 and name in readers:
        node = readers[name]
        if _is_layer(node, graph, uses):
            axis = 1 if node.op == "Conv" or shapes.weight_is_transposed(node) else 0
            weight_axis = 0 if maker.op == "Conv" or shapes.weight_is_transposed(maker) else 1
            bias = maker.inputs[2] if len(maker.inputs) > 2 and maker.inputs[2] else None
            block = extents[node.inputs[1]][axis] // count
            return Units(maker.inputs[1], weight_axis, bias, node.inputs[1], axis, count, block, silent)
        if node.op not in APART or not _keeps_apart(node):
            return None
        silent = silent and node.op in SILENT
        name = node.outputs[0]
    return None


def _keeps_apart(node: Node) -> bool:
    """Whether a reshaping node only lays each unit's pixels behind one another, whatever the batch and the count."""
    if node.op == "Flatten":
        return node.attributes.get("axis", 1) == 1
    return node.op != "Reshape" or node.attributes["shape"] == (0, -1)
