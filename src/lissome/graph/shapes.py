"""Operators, and the shapes that they make of their inputs'.

`infer` gives every tensor of a graph its shape for one batch size; the arithmetic is conv_shape.py's. Operators and
attributes mean what ONNX says, with two differences: `Reshape` takes its shape as the attribute ``shape`` (0 keeps an
extent, one −1 is inferred), and windows that `ceil_mode` adds must start inside the input or the padding before it, as
torch has it and as ONNX has it since operator set 22.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias, TypeVar

import numpy as np

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import attributes
from lissome.graph.conv_shape import MAX_EXTENT, ConvShape, GemmShape, PoolShape, Shape, check_elements
from lissome.graph.ir import Graph, Node, TensorSpec

_Made = TypeVar("_Made")


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
        if not shapes[name] or min(shapes[name]) < 1:
            raise GraphError(f"parameter {name!r} has shape {shapes[name]}: an empty layer cannot be run")
    for spec in graph.inputs:
        if spec.dtype != "float32":
            raise UnsupportedShape(f"input {spec.name!r} is {spec.dtype}; the engine takes float32 inputs")
        shapes[spec.name] = tuple(batch if extent == "N" else int(extent) for extent in spec.shape)
    for node in graph.nodes:
        shapes[node.outputs[0]] = _output_shape(node, shapes)
    for name, shape in shapes.items():
        check_elements(shape, f"tensor {name!r}: ")
    return {name: TensorSpec(name, shape) for name, shape in shapes.items()}


def refuse_unknown(graph: Graph) -> None:
    """Raise one UnsupportedShape that lists every node whose operator the engine does not have."""
    unknown: dict[str, list[str]] = {}
    for node in graph.nodes:
        if node.op not in OPERATORS:
            unknown.setdefault(node.op, []).append(node.name)
    if unknown:
        listed = "; ".join(f"{op} (node {', '.join(map(repr, nodes))})" for op, nodes in sorted(unknown.items()))
        raise UnsupportedShape(f"operators the engine does not have: {listed}. It has: {', '.join(sorted(OPERATORS))}")


def operands(node: Node, least: int, most: int) -> tuple[str, ...]:
    """The node's inputs padded with "" to `most`; GraphError when there are too few or too many, or several outputs."""
    given = node.inputs
    if not least <= len(given) <= most or not all(given[:least]) or len(node.outputs) != 1:
        raise GraphError(
            f"node {node.name!r} ({node.op}) has inputs {given} and outputs {node.outputs}; "
            f"it takes {least} to {most} inputs and gives one output"
        )
    return given + ("",) * (most - len(given))


def conv_shape(node: Node, x: Shape, w: Shape) -> ConvShape:
    """The ConvShape of a Conv node whose input and weight have these shapes (ranks 3 or 4)."""
    if len(x) not in (3, 4) or len(w) != len(x):
        raise GraphError(f"node {node.name!r} (Conv): input {x} and weight {w}; only 1-D and 2-D convolution exist")
    window = attributes.ints(node, "kernel_shape", len(x) - 2, w[2:])
    if window != w[2:] or x[1] != w[1] * attributes.integer(node, "group", 1):
        raise GraphError(f"node {node.name!r} (Conv): weight {w} does not fit input {x}, window {window}")
    (n, c, h, wide), (k, _, r, s) = _planar(x), _planar(w)
    groups, (strides, dilations, pads) = attributes.integer(node, "group", 1), _steps(node, len(x) - 2)
    return _in_node(node, lambda: ConvShape(n, c, h, wide, k, r, s, groups, *strides, *dilations, *pads))


def pool_shape(node: Node, x: Shape) -> PoolShape:
    """The PoolShape of a MaxPool, AveragePool or GlobalAveragePool node whose input has this shape (rank 3 or 4)."""
    if len(x) not in (3, 4):
        raise GraphError(f"node {node.name!r} ({node.op}): input {x}; only 1-D and 2-D pooling exist")
    n, c, h, w = _planar(x)
    if node.op == "GlobalAveragePool":
        return _in_node(node, lambda: PoolShape(n, c, h, w, h, w))
    r, s = (1, *attributes.ints(node, "kernel_shape", len(x) - 2))[-2:]
    flags = (attributes.integer(node, "ceil_mode", 0), attributes.integer(node, "count_include_pad", 0))
    if not set(flags) <= {0, 1}:
        raise GraphError(f"node {node.name!r} ({node.op}): ceil_mode and count_include_pad are 0 or 1")
    strides, dilations, pads = _steps(node, len(x) - 2)
    shape = _in_node(node, lambda: PoolShape(n, c, h, w, r, s, *strides, *dilations, *pads, *flags))
    reach = (shape.dilation_h * (shape.r - 1) + 1, shape.dilation_w * (shape.s - 1) + 1)
    if max(shape.pad_top, shape.pad_bottom) >= reach[0] or max(shape.pad_left, shape.pad_right) >= reach[1]:
        raise GraphError(f"node {node.name!r} ({node.op}): padding is not smaller than the window")
    return shape


def gemm_shape(node: Node, x: Shape, w: Shape) -> GemmShape:
    """The GemmShape of a Gemm or MatMul node. The weight is (n, k) when transB is 1, else (k, n)."""
    if node.op == "Gemm" and (
        attributes.real(node, "alpha", 1.0) != 1.0
        or attributes.real(node, "beta", 1.0) != 1.0
        or attributes.integer(node, "transA", 0) != 0
    ):
        raise UnsupportedShape(f"node {node.name!r} (Gemm): only alpha = 1, beta = 1 and transA = 0 are supported")
    if len(x) != 2 or len(w) != 2:
        raise UnsupportedShape(f"node {node.name!r} ({node.op}): input {x} and weight {w}; both must be matrices")
    n, k = w if weight_is_transposed(node) else w[::-1]
    if x[1] != k:
        raise GraphError(f"node {node.name!r} ({node.op}): weight {w} does not fit input {x}")
    return GemmShape(x[0], n, k)


def weight_is_transposed(node: Node) -> bool:
    """Whether a Gemm or MatMul node's weight is (n, k), one row an output, and not (k, n)."""
    return node.op == "Gemm" and attributes.integer(node, "transB", 0) == 1


def softmax_axis(node: Node, x: Shape) -> int:
    """The axis of a Softmax node, counted from the front; the last one unless told."""
    return attributes.axis(node, "axis", -1, len(x))


def epsilon(node: Node) -> float:
    """What a BatchNormalization node adds to the variance."""
    value = attributes.real(node, "epsilon", 1e-5)
    if not 0 <= value < math.inf:
        raise GraphError(f"node {node.name!r} (BatchNormalization): epsilon is {value}")
    return value


def slope(node: Node) -> float:
    """What a LeakyRelu node multiplies negative values with."""
    return attributes.real(node, "alpha", 0.01)


def _output_shape(node: Node, shapes: Mapping[str, Shape]) -> Shape:
    least, most, rule = OPERATORS[node.op]
    names = operands(node, least, most)
    return rule(node, *(shapes[name] if name else () for name in names))


def _conv(node: Node, x: Shape, w: Shape, bias: Shape) -> Shape:
    shape = conv_shape(node, x, w)
    if bias not in ((), (shape.k,)):
        raise GraphError(f"node {node.name!r} (Conv): bias {bias} for {shape.k} filters")
    return (shape.n, shape.k, shape.p, shape.q) if len(x) == 4 else (shape.n, shape.k, shape.q)


def _gemm(node: Node, x: Shape, w: Shape, bias: Shape = ()) -> Shape:
    shape = gemm_shape(node, x, w)
    if bias not in ((), (shape.n,), (1, shape.n)):
        raise GraphError(f"node {node.name!r} ({node.op}): bias {bias} for {shape.n} outputs")
    return shape.m, shape.n


def _pool(node: Node, x: Shape) -> Shape:
    shape = pool_shape(node, x)
    return (shape.n, shape.c, shape.p, shape.q) if len(x) == 4 else (shape.n, shape.c, shape.q)


def _same(_node: Node, x: Shape) -> Shape:
    return x


def _softmax(node: Node, x: Shape) -> Shape:
    softmax_axis(node, x)
    return x


def _batch_norm(node: Node, x: Shape, *statistics: Shape) -> Shape:
    epsilon(node)
    if len(x) < 2 or any(shape != (x[1],) for shape in statistics):
        raise GraphError(f"node {node.name!r} (BatchNormalization): statistics {statistics} for input {x}")
    return x


def _flatten(node: Node, x: Shape) -> Shape:
    axis = attributes.integer(node, "axis", 1)
    if not -len(x) <= axis <= len(x):
        raise GraphError(f"node {node.name!r} (Flatten): axis {axis} of input {x}")
    axis = axis % len(x) if axis < 0 else axis
    return math.prod(x[:axis]), math.prod(x[axis:])


def _reshape(node: Node, x: Shape) -> Shape:
    wanted = node.attributes.get("shape")
    if not isinstance(wanted, tuple) or not all(isinstance(e, int) for e in wanted):
        raise UnsupportedShape(f"node {node.name!r} (Reshape): its shape must be the attribute 'shape', a list of ints")
    extents = [x[i] if e == 0 and i < len(x) else int(e) for i, e in enumerate(wanted)]
    known = math.prod(e for e in extents if e != -1)
    if extents.count(-1) == 1 and known > 0:
        extents[extents.index(-1)] = math.prod(x) // known
    if not extents or min(extents) < 1 or math.prod(extents) != math.prod(x):
        raise GraphError(f"node {node.name!r} (Reshape): cannot make {wanted} from {x}")
    return tuple(extents)


def _broadcast(node: Node, a: Shape, b: Shape) -> Shape:
    try:
        shape = np.broadcast_shapes(a, b)
    except ValueError:
        raise GraphError(f"node {node.name!r} ({node.op}): {a} and {b} do not broadcast") from None
    return shape


_Rule: TypeAlias = Callable[..., Shape]

# Operator → fewest inputs, most inputs, rule from input shapes to output shape.
OPERATORS: Final[Mapping[str, tuple[int, int, _Rule]]] = {
    "Add": (2, 2, _broadcast),
    "AveragePool": (1, 1, _pool),
    "BatchNormalization": (5, 5, _batch_norm),
    "Conv": (2, 3, _conv),
    "Flatten": (1, 1, _flatten),
    "Gemm": (2, 3, _gemm),
    "GlobalAveragePool": (1, 1, _pool),
    "Identity": (1, 1, _same),
    "LeakyRelu": (1, 1, _same),
    "MatMul": (2, 2, _gemm),
    "MaxPool": (1, 1, _pool),
    "Mul": (2, 2, _broadcast),
    "Relu": (1, 1, _same),
    "Reshape": (1, 1, _reshape),
    "Sigmoid": (1, 1, _same),
    "Softmax": (1, 1, _softmax),
    "Tanh": (1, 1, _same),
}


def _in_node(node: Node, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except GraphError as error:
        raise GraphError(f"node {node.name!r} ({node.op}): {error}") from None


def _planar(shape: Shape) -> tuple[int, int, int, int]:
    """A shape of rank 3 or 4 with a height of 1 put in where it has none."""
    first, second, *window = shape
    height, width = (1, *window)[-2:]
    return first, second, height, width


def _steps(node: Node, axes: int) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Strides, dilations and pads as the shapes order them, for one or two axes."""
    if node.attributes.get("auto_pad", "NOTSET") != "NOTSET":
        raise UnsupportedShape(f"node {node.name!r} ({node.op}): auto_pad is not supported; write the pads out")
    strides = attributes.ints(node, "strides", axes, (1,) * axes)
    dilations = attributes.ints(node, "dilations", axes, (1,) * axes)
    pads = attributes.ints(node, "pads", 2 * axes, (0,) * (2 * axes))
    if axes == 1:
        return (1, strides[0]), (1, dilations[0]), (0, pads[0], 0, pads[1])
    return (strides[0], strides[1]), (dilations[0], dilations[1]), (pads[0], pads[1], pads[2], pads[3])
