"""Steps on codes: what is between a DequantizeLinear and the next QuantizeLinear runs on integers where it can.

A DequantizeLinear makes no step: its tensor is known as codes until something reads it as numbers. A layer whose inputs
are known as codes looks ahead: activations and the QuantizeLinear behind it become the bounds and the scale of its own
rounding, and so does the addition of another tensor of codes. Whatever does not fit is left to the kernels on float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.errors import UnsupportedShape
from lissome.graph import attributes, shapes
from lissome.graph.conv_shape import ConvShape, GemmShape, PoolShape
from lissome.graph.ir import Node
from lissome.graph.rules.quantization import codes_of
from lissome.runtime import kernels, selection
from lissome.runtime.codes import LIFT, MOST, Coded, Grid, Scaled, panel_vectors
from lissome.runtime.native import native
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

Numbers: TypeAlias = tuple[tuple[int, ...], tuple[float, ...]]

IMAGE: Final = 4  # channels that the first convolution takes at once


@dataclass(frozen=True)
class End:
    """How a layer's numbers become codes: their grid, the least and the most of them, and the tensor they are. nodes:
    what that stands for. residual: codes that are added first, as if the layer's had been rounded to `before`.
    """

    made: str
    grid: Grid
    low: int
    high: int
    nodes: tuple[Node, ...]
    residual: Coded | None = None
    before: tuple[Grid, int, int] | None = None


@dataclass(frozen=True, eq=False)
class Bank:
    """A layer's weights (outputs, …), the scale of each output's, and its bias in units of its sums."""

    weight: NDArray[np.int8]
    scales: NDArray[np.float64]
    bias: NDArray[np.int64]


@dataclass(frozen=True)
class Kernel:
    """How a layer is run. stem: its kernel's name up to what it ends in. shape: what weights are packed for. numbers:
    its step's, before those of codes. vectors: of a panel. adds: whether it can add a residual.
    """

    stem: str
    shape: ConvShape
    numbers: tuple[int, ...]
    vectors: int
    adds: bool
    work: int


def lower(planner: Planner, node: Node) -> bool:
    """Steps on codes for a node, if it can be so; says whether it was."""
    rule = RULES.get(node.op)
    if rule is not None and rule(planner, node):
        return True
    if any(planner.memory.width(name) == 1 for name in node.inputs):
        raise UnsupportedShape(f"node {node.name!r} ({node.op}) computes with codes; only DequantizeLinear reads them")
    return False


def quantize(planner: Planner, node: Node) -> bool:
    """QuantizeLinear that no layer before it has taken."""
    x, y = node.inputs[0], node.outputs[0]
    grid, given = _grid(planner, node), planner.coded.get(x)
    if given is not None and given.grid == grid:
        planner.settle(given.name)
        _declare(planner, y, planner.block(given.name))
        planner.view(y, given.name)
        return True
    planner.settle(x)
    shape, block = planner.shape(x), planner.block(x)
    bounds = (0, grid.zero, 0, MOST)
    if block > 1 or len(shape) < 2:
        _declare(planner, y, block)
        ints: tuple[int, ...] = (planner.memory.elements[x], 1, 1, *bounds)
        stem = "lanes"
    else:
        image = _is_image(planner, node)
        _declare(planner, y, IMAGE if image else kernels.lanes(planner.isa))
        ints = (*shape[:2], int(np.prod(shape[2:])), *bounds)
        stem = "image" if image else "block"
    _step(planner, (node,), f"quantize_i8_{stem}", (x, y), (ints, (grid.scale,)))
    return True


def _is_image(planner: Planner, node: Node) -> bool:
    """Whether only a convolution of few channels, on codes itself, reads what a QuantizeLinear makes."""
    back = planner.reader(node.outputs[0])
    conv = planner.reader(back.outputs[0]) if back is not None and back.op == "DequantizeLinear" else None
    shape = planner.shape(node.inputs[0])
    if conv is None or conv.op != "Conv" or len(shape) != 4 or shape[1] > IMAGE:
        return False
    found = _bank(planner, conv, Grid(1.0, 0))
    return found is not None and attributes.integer(conv, "group", 1) == 1 and conv.name not in planner.prepared.wanted


def dequantize(planner: Planner, node: Node) -> bool:
    """DequantizeLinear: the tensor is known as codes; settle() makes numbers of them where something reads those."""
    x, y = node.inputs[0], node.outputs[0]
    if planner.memory.width(x) != 1:
        raise UnsupportedShape(f"node {node.name!r} (DequantizeLinear) reads what no QuantizeLinear has made")
    planner.coded[y] = Coded(x, _grid(planner, node))
    return True


def settle(planner: Planner, name: str, given: Coded) -> None:
    """Numbers of codes, in their layout."""
    planner.settle(given.name)
    planner.set_block(name, planner.block(given.name))
    ints = (planner.memory.elements[given.name], 1, 1, given.grid.zero, 0, 0, MOST)
    kernel = f"dequantize_i8_{kernels.integer_isa(planner.isa)}"
    why = "the next kernel computes with numbers"
    planner.add(Step((name,), "DequantizeLinear", kernel, why, (given.name,), (name,), ints, (given.grid.scale,)))


def conv(planner: Planner, node: Node) -> bool:
    """Conv of codes with int8 weights."""
    x, lanes, isa = planner.coded.get(node.inputs[0]), kernels.lanes(planner.isa), kernels.integer_isa(planner.isa)
    bank = None if x is None else _bank(planner, node, x.grid)
    if x is None or bank is None or node.name in planner.prepared.wanted:
        return False
    planner.settle(x.name)
    shape = shapes.conv_shape(node, planner.shape(node.inputs[0]), planner.net.weights[node.inputs[1]].shape)
    filters, channels = shape.k // shape.groups, shape.c // shape.groups
    block, numbers = lanes, shape.values()
    if shape.groups == shape.c == shape.k and shape.groups > 1:
        kernel = Kernel("conv_i8_depthwise", shape, numbers, 1, adds=False, work=shape.macs)
    elif shape.groups > 1 and (filters % lanes or channels % lanes):
        return False
    else:
        image = planner.block(x.name) == IMAGE != lanes
        block = IMAGE if image else lanes
        flat = shape.r == shape.s == shape.stride_h == shape.stride_w == 1
        vectors = panel_vectors(-(-filters // lanes), shape.q * (shape.p if flat else 1), isa)
        stem = "conv_i8_first" if image else "conv_i8_direct"
        kernel = Kernel(stem, shape, numbers, vectors, adds=True, work=shape.macs)
    _layer(planner, node, Coded(planner.in_layout(x.name, block), x.grid), bank, kernel)
    return True


def gemm(planner: Planner, node: Node) -> bool:
    """Gemm of codes with int8 weights, of rows of codes."""
    x, lanes = planner.coded.get(node.inputs[0]), kernels.lanes(planner.isa)
    plain = not attributes.flag(node, "transA") and all(attributes.real(node, n, 1.0) == 1 for n in ("alpha", "beta"))
    bank = None if x is None or not plain else _bank(planner, node, x.grid)
    if x is None or bank is None or len(planner.shape(node.inputs[0])) != 2:
        return False
    planner.settle(x.name)
    (m, k), n = planner.shape(node.inputs[0]), planner.shape(node.outputs[0])[1]
    vectors = panel_vectors(-(-n // lanes), m, kernels.integer_isa(planner.isa))
    shape = GemmShape(m, n, k)
    kernel = Kernel("gemm_i8", ConvShape(1, k, 1, 1, n, 1, 1), shape.values(), vectors, adds=False, work=shape.macs)
    _layer(planner, node, Coded(planner.in_layout(x.name, lanes), x.grid), bank, kernel)
    return True


def _layer(planner: Planner, node: Node, x: Coded, bank: Bank, how: Kernel) -> None:
    """The step of a layer, with all that follows it up to the next codes."""
    lanes, zero = kernels.lanes(planner.isa), x.grid.zero
    nodes: tuple[Node, ...] = (node,)
    end = _end(planner, node.outputs[0], adds=how.adds)
    first = None if end is None else (end.before or (end.grid, end.low, end.high))
    kernel = f"{how.stem}{'' if first else '_f32'}_{kernels.integer_isa(planner.isa)}"
    factors = (x.grid.scale * bank.scales / (first[0].scale if first else 1.0)).astype(np.float32)
    shape = replace(how.shape, n=1).values()
    packed = planner.packed(
        (node.inputs[1], node.outputs[0], kernel, shape, how.vectors, x.grid, first),
        lambda: native.pack_bytes(kernel, bank.weight.reshape(-1), shape, how.vectors, zero, bank.bias, factors),
    )
    inputs: tuple[str, ...] = (x.name,)
    floats: tuple[float, ...] = ()
    if end is None or first is None:
        made, codes = node.outputs[0], (how.vectors, zero, 0, 0, MOST, 0, 0, 0, MOST)
        planner.set_block(made, lanes)
    else:
        made, codes = end.made, (how.vectors, zero, first[0].zero, *first[1:], 0, 0, 0, MOST)
        _declare(planner, made, lanes)
        nodes = (node, *end.nodes)
        if end.residual is not None:
            other = end.residual.grid
            inputs = (x.name, planner.in_layout(end.residual.name, lanes))
            floats = tuple(float(np.float32(grid.scale / end.grid.scale)) for grid in (first[0], other))
            codes = (*codes[:5], other.zero, end.grid.zero, end.low, end.high)
    names, ints = tuple(taken.name for taken in nodes), (*how.numbers, *codes)
    planner.done.update(taken.outputs[0] for taken in nodes[1:])
    why = "int8 weights on codes"
    planner.add(Step(names, node.op, kernel, why, inputs, (made,), ints, floats, packed, work=how.work))


def _bank(planner: Planner, node: Node, grid: Grid) -> Bank | None:
    """The layer's int8 weights and bias for an input of this grid; None where it has none, or its sums may overflow."""
    weight, given = planner.net.weights.get(node.inputs[1]), (*node.inputs, "")[2]
    if not isinstance(weight, Scaled) or (given and given not in planner.net.weights):
        return None
    axis = 0 if node.op == "Conv" or attributes.flag(node, "transB") else 1
    outputs, codes = weight.shape[axis], weight.int8()
    scales = weight.scales(outputs, axis)
    if codes is None or scales is None:
        return None
    codes = codes if axis == 0 else np.ascontiguousarray(codes.T)
    bias = np.zeros(outputs)
    if given:
        stored = planner.net.weights[given].to_dense().astype(np.float64)
        if stored.size not in (1, outputs):
            return None
        bias = np.rint(np.broadcast_to(stored.reshape(-1), (outputs,)) / (scales * grid.scale))
    most = np.abs(bias) + MOST * np.abs(codes.reshape(outputs, -1).astype(np.int64)).sum(axis=1)
    return Bank(codes, scales, bias.astype(np.int64)) if np.all(most < 2**31) else None


def _grid(planner: Planner, node: Node) -> Grid:
    """What the codes of a QuantizeLinear or DequantizeLinear mean, as uint8."""
    scale = planner.net.weights.get(node.inputs[1])
    if scale is None or scale.shape not in ((), (1,)):
        raise UnsupportedShape(f"node {node.name!r} ({node.op}) has scales {node.inputs[1]!r}; a tensor has one, known")
    value, (dtype, zero) = float(scale.to_dense().reshape(-1)[0]), codes_of(node)
    if not 0 < value < np.inf:
        raise UnsupportedShape(f"node {node.name!r} ({node.op}) has the scale {value}")
    return Grid(value, zero + LIFT[dtype])


def _declare(planner: Planner, name: str, block: int) -> None:
    """Let a tensor be one of codes, in this layout."""
    planner.memory.narrow.add(name)
    planner.set_block(name, block)


def _step(planner: Planner, nodes: Sequence[Node], stem: str, ends: tuple[str, ...], numbers: Numbers) -> None:
    """A step without weights for these nodes, from all but the last of `ends` to that."""
    names, kernel = tuple(node.name for node in nodes), f"{stem}_{kernels.integer_isa(planner.isa)}"
    planner.add(Step(names, nodes[0].op, kernel, "on codes", ends[:-1], ends[-1:], *numbers))
    planner.done.update(node.outputs[0] for node in nodes[1:])


def _end(planner: Planner, name: str, *, adds: bool) -> End | None:
    """How the tensor `name` ends in codes, and whether another is added to them first; None where it stays numbers."""
    end = _rounded(planner, name)
    if end is None or not adds:
        return end
    back = planner.reader(end.made)
    plus = planner.reader(back.outputs[0]) if back is not None and back.op == "DequantizeLinear" else None
    if back is None or plus is None or plus.op != "Add" or _grid(planner, back) != end.grid:
        return end
    other = next((operand for operand in plus.inputs if operand != back.outputs[0]), "")
    given, last = planner.coded.get(other), _rounded(planner, plus.outputs[0])
    if given is None or last is None or planner.shape(other) != planner.shape(name):
        return end
    planner.settle(given.name)
    if planner.block(given.name) != kernels.lanes(planner.isa):
        return end
    nodes = (*end.nodes, back, plus, *last.nodes)
    return replace(last, nodes=nodes, residual=given, before=(end.grid, end.low, end.high))


def _rounded(planner: Planner, name: str) -> End | None:
    """The QuantizeLinear that alone reads a tensor, through at most one activation."""
    node, low, high = planner.reader(name), -np.inf, np.inf
    nodes: tuple[Node, ...] = ()
    if node is not None and node.op in ("Clip", "Relu"):
        low, high = shapes.bounds(node) if node.op == "Clip" else (0.0, np.inf)
        nodes, node = (node,), planner.reader(node.outputs[0])
    if node is None or node.op != "QuantizeLinear" or not low <= 0 <= high:
        return None
    grid = _grid(planner, node)
    return End(node.outputs[0], grid, grid.code(low), grid.code(high), (*nodes, node))


def max_pool(planner: Planner, node: Node) -> bool:
    """MaxPool of codes: the largest code is that of the largest number."""
    x = _blocked(planner, node)
    if x is None:
        return False
    shape, made = _window(planner, node), planner.tensor(node.name, planner.shape(node.outputs[0]))
    _declare(planner, made, kernels.lanes(planner.isa))
    ints = (*shape.values(), x.grid.zero, x.grid.zero, 0, MOST)
    _step(planner, (node,), "pool_i8_max", (x.name, made), (ints, (1.0,)))
    planner.coded[node.outputs[0]] = Coded(made, x.grid)
    return True


def average_pool(planner: Planner, node: Node) -> bool:
    """AveragePool and GlobalAveragePool of codes, to codes."""
    x, end = _blocked(planner, node), _rounded(planner, node.outputs[0])
    if x is None or end is None:
        return False
    shape = _window(planner, node)
    if shape.r * shape.s >= 2**23:
        return False
    _declare(planner, end.made, kernels.lanes(planner.isa))
    ints = (*shape.values(), x.grid.zero, end.grid.zero, end.low, end.high)
    scale = float(np.float32(x.grid.scale / end.grid.scale))
    _step(planner, (node, *end.nodes), "pool_i8_average", (x.name, end.made), (ints, (scale,)))
    return True


def _blocked(planner: Planner, node: Node) -> Coded | None:
    """The node's input, (n, c, h, w), as codes in blocks of a vector."""
    x = planner.coded.get(node.inputs[0])
    if x is None or len(planner.shape(node.inputs[0])) != 4:
        return None
    planner.settle(x.name)
    return x if planner.block(x.name) == kernels.lanes(planner.isa) else None


def _window(planner: Planner, node: Node) -> PoolShape:
    shape = planner.shape(node.inputs[0])
    return PoolShape(*shape, *shape[2:]) if node.op == "GlobalAveragePool" else shapes.pool_shape(node, shape)


def add(planner: Planner, node: Node) -> bool:
    """Add of two tensors of codes, to codes."""
    a, b = (planner.coded.get(name) for name in node.inputs)
    end = _rounded(planner, node.outputs[0])
    if a is None or b is None or end is None or planner.shape(node.inputs[0]) != planner.shape(node.inputs[1]):
        return False
    planner.settle(a.name)
    planner.settle(b.name)
    block = planner.block(a.name)
    if planner.block(b.name) != block:
        return False
    _declare(planner, end.made, block)
    ints = (planner.memory.elements[a.name], a.grid.zero, b.grid.zero, end.grid.zero, end.low, end.high)
    factors = tuple(float(np.float32(x.grid.scale / end.grid.scale)) for x in (a, b))
    _step(planner, (node, *end.nodes), "add_i8", (a.name, b.name, end.made), (ints, factors))
    return True


def reshape(planner: Planner, node: Node) -> bool:
    """Flatten, Reshape, Squeeze, Unsqueeze and Identity of codes: the same codes in the same order."""
    x, y = planner.coded.get(node.inputs[0]), node.outputs[0]
    if x is None:
        return False
    if node.op == "Identity":
        planner.coded[y] = x
        return True
    planner.settle(x.name)
    made = planner.tensor(node.name, planner.shape(y))
    _declare(planner, made, 1)
    planner.view(made, planner.in_layout(x.name, 1))
    planner.coded[y] = Coded(made, x.grid)
    return True


def concat(planner: Planner, node: Node) -> bool:
    """Concat along channels of codes of one grid, where each can be written where it belongs."""
    parts = [planner.coded.get(name) for name in node.inputs]
    shape, lanes = planner.shape(node.outputs[0]), kernels.lanes(planner.isa)
    if shape[0] != 1 or len(shape) < 3 or attributes.axis(node, "axis", 0, len(shape)) != 1:
        return False
    known = [part for part in parts if part is not None]
    if (
        len(known) < len(parts)
        or len({part.grid for part in known}) > 1
        or len({part.name for part in known}) < len(parts)
    ):
        return False
    for part in known:
        planner.settle(part.name)
    movable = all(planner.movable(part.name) and planner.block(part.name) == lanes for part in known)
    if not movable or any(planner.shape(part.name)[1] % lanes for part in known[:-1]):
        return False
    made = planner.tensor(node.name, shape)
    _declare(planner, made, lanes)
    chosen = selection.join([selection.of(planner, part.name, 1, node.name) for part in known], node.name)
    selection.gather(planner, made, chosen)
    planner.coded[node.outputs[0]] = Coded(made, known[0].grid)
    return True


RULES: Final[Mapping[str, Callable[[Planner, Node], bool]]] = {
    "Add": add,
    "AveragePool": average_pool,
    "Concat": concat,
    "Conv": conv,
    "DequantizeLinear": dequantize,
    "Flatten": reshape,
    "Gemm": gemm,
    "GlobalAveragePool": average_pool,
    "Identity": reshape,
    "MaxPool": max_pool,
    "QuantizeLinear": quantize,
    "Reshape": reshape,
    "Squeeze": reshape,
    "Unsqueeze": reshape,
}
