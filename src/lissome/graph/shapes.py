"""The shape of every tensor of a graph, and which operators a graph may have.

Operators and attributes mean what ONNX says in its latest version, with these differences. At run time every tensor is
float32; what ONNX takes as an integer or boolean input is an attribute of that input's name: Reshape.shape (0 keeps an
extent, one −1 is inferred), Slice.starts, .ends, .axes and .steps, Pad.pads, Squeeze.axes, Unsqueeze.axes,
Reduce*.axes, Gather.indices (with indices_shape), Split.split, Expand.shape, Tile.repeats, Resize.sizes or .scales, and
.roi; so are Clip.min and .max and Pad.value, which are numbers. Max and Min take two inputs. An LSTM has layout 0 and
no sequence lengths. Windows that `ceil_mode` adds must start inside the input or the padding before it, as torch has it
and as ONNX has it since operator set 22.

The rules are in graph/rules/, a family a file; the arithmetic of windows is conv_shape.py's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph.conv_shape import MAX_EXTENT, Shape, check_elements
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.graph.rules import Table, elementwise, layers, movement, quantization, reduction, resize, windows
from lissome.graph.rules.elementwise import bounds, epsilon, slope, softmax_axis
from lissome.graph.rules.layers import conv_shape, conv_transpose_shape, gemm_shape, weight_is_transposed
from lissome.graph.rules.windows import pool_shape

__all__ = [
    "OPERATORS",
    "bounds",
    "conv_shape",
    "conv_transpose_shape",
    "epsilon",
    "gemm_shape",
    "infer",
    "operands",
    "output_shapes",
    "pool_shape",
    "refuse_unknown",
    "slope",
    "softmax_axis",
    "weight_is_transposed",
]

# Operator → fewest inputs, most inputs, rule from the node and its input shapes to the shape or shapes it makes.
OPERATORS: Final[Table] = dict(
    sorted(
        item
        for family in (layers, windows, elementwise, movement, quantization, reduction, resize)
        for item in family.OPERATORS.items()
    )
)
MANY: Final = {"LSTM": 3, "Split": MAX_EXTENT}  # operators of several outputs, and the most that each has


def infer(graph: Graph, weights: Mapping[str, Shape], batch: int) -> dict[str, TensorSpec]:
    """Name, shape (plain ints) and dtype of every tensor of `graph` when its batch is `batch`.

    weights: the shape of each of the graph's parameters.
    Raises UnsupportedShape naming every node whose operator is unknown, GraphError for a contradiction.
    """
    refuse_unknown(graph)
    if not 1 <= batch < MAX_EXTENT:
        raise UnsupportedShape(f"a batch has 1 to {MAX_EXTENT - 1:,} elements, not {batch}")
    if len(set(graph.outputs)) != len(graph.outputs):
        raise GraphError(f"an output is listed twice: {graph.outputs}")
    shapes: dict[str, Shape] = {}
    for name in graph.parameters:
        if name not in weights:
            raise GraphError(f"parameter {name!r} has no weight")
        shapes[name] = tuple(weights[name])
        if min(shapes[name], default=1) < 1:
            raise GraphError(f"parameter {name!r} has shape {shapes[name]}: an empty layer cannot be run")
    for spec in graph.inputs:
        if spec.dtype != "float32":
            raise UnsupportedShape(f"input {spec.name!r} is {spec.dtype}; the engine takes float32 inputs")
        shapes[spec.name] = tuple(batch if extent == "N" else int(extent) for extent in spec.shape)
    for name, shape in shapes.items():
        check_elements(shape, f"tensor {name!r}: ")
    for node in graph.nodes:
        shapes.update(output_shapes(node, shapes))
    return {name: TensorSpec(name, shape) for name, shape in shapes.items()}


def refuse_unknown(graph: Graph, known: Collection[str] = OPERATORS, who: str = "a graph") -> None:
    """Raise one UnsupportedShape that lists every node whose operator `who` does not have: it has those in `known`."""
    unknown: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.op not in known:
            unknown.setdefault(node.op, []).append(node.name)
    if unknown:
        listed = "; ".join(f"{op} (node {', '.join(map(repr, nodes))})" for op, nodes in sorted(unknown.items()))
        raise UnsupportedShape(f"operators that {who} does not have: {listed}. It has: {', '.join(sorted(known))}")


def operands(node: Node) -> tuple[str, ...]:
    """The node's inputs, padded with "" to the most that it may have.

    Raises GraphError when there are too few or too many of them, or of its outputs.
    """
    least, most, _ = OPERATORS[node.op]
    given, outputs = node.inputs, MANY.get(node.op, 1)
    if not least <= len(given) <= most or not all(given[:least]) or not 1 <= len(node.outputs) <= outputs:
        raise GraphError(
            f"node {node.name!r} ({node.op}) has inputs {given} and outputs {node.outputs}; "
            f"it takes {least} to {most} inputs and gives {'one output' if outputs == 1 else f'1 to {outputs} outputs'}"
        )
    return given if node.op == "Concat" else given + ("",) * (most - len(given))


def output_shapes(node: Node, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The shape of each output of `node`, by name, when its inputs have the shapes that `shapes` gives their names.

    Raises GraphError where the node contradicts itself or its inputs, or would make more than can be held.
    """
    rule = OPERATORS[node.op][2]
    made = rule(node, *(shapes[name] if name else None for name in operands(node)))
    several: tuple[Shape, ...] = made if made and isinstance(made[0], tuple) else (made,)  # type: ignore[assignment]
    found = dict(zip(node.outputs, several, strict=True))
    for name, shape in found.items():
        check_elements(shape, f"tensor {name!r}: ")
    return found
