"""Operators that move elements and compute none: strided copies, or selections along one axis (selection.py)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lissome.graph import attributes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.graph.rules import movement
from lissome.runtime import nest, selection
from lissome.runtime.native import native
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def concat(planner: Planner, node: Node) -> None:
    """Concat, without a copy where the parts can be written into its memory."""
    axis = attributes.axis(node, "axis", 0, len(planner.shape(node.outputs[0])))
    parts = [selection.of(planner, name, axis, node.name) for name in node.inputs]
    planner.pending[node.outputs[0]] = selection.join(parts, node.name)


def split(planner: Planner, node: Node) -> None:
    """Split: every part is a selection."""
    axis, extents = movement.splits(node, planner.shape(node.inputs[0]))
    whole, first = selection.of(planner, node.inputs[0], axis, node.name), 0
    for name, extent in zip(node.outputs, extents, strict=True):
        planner.pending[name] = whole.take(np.arange(first, first + extent), node.name)
        first += extent


def slices(planner: Planner, node: Node) -> None:
    """Slice: a selection where one axis is cut, else one strided copy."""
    shape = planner.shape(node.inputs[0])
    taken = movement.slices(node, shape)
    cut = [axis for axis, part in enumerate(taken) if part != slice(0, shape[axis], 1)]
    if len(cut) <= 1:
        axis = cut[0] if cut else 0
        indices = np.arange(shape[axis])[taken[axis]]
        planner.pending[node.outputs[0]] = selection.of(planner, node.inputs[0], axis, node.name).take(
            indices, node.name
        )
        return
    strides = nest.contiguous(shape)
    base = sum(part.start * stride for part, stride in zip(taken, strides, strict=True))
    steps = tuple(part.step * stride for part, stride in zip(taken, strides, strict=True))
    move(planner, node, planner.shape(node.outputs[0]), steps, base)


def gather(planner: Planner, node: Node) -> None:
    """Gather with constant indices."""
    shape = planner.shape(node.inputs[0])
    axis = attributes.axis(node, "axis", 0, len(shape))
    found, extents = movement.indices(node)
    indices = np.array(found, np.int64) % shape[axis]
    if len(extents) == 1:
        planner.pending[node.outputs[0]] = selection.of(planner, node.inputs[0], axis, node.name).take(
            indices, node.name
        )
        return
    planner.settle(node.inputs[0])
    select_along(planner, node, (planner.in_layout(node.inputs[0], 1), node.outputs[0]), Axis(shape, axis), indices)


def transpose(planner: Planner, node: Node) -> None:
    """Transpose, which is a view where only extents of 1 move."""
    shape = planner.shape(node.inputs[0])
    strides = nest.contiguous(shape)
    axes = movement.permutation(node, shape)
    move(planner, node, tuple(shape[axis] for axis in axes), tuple(strides[axis] for axis in axes))


def expand(planner: Planner, node: Node) -> None:
    """Expand to a larger shape."""
    out = planner.shape(node.outputs[0])
    move(planner, node, out, nest.broadcast(planner.shape(node.inputs[0]), out))


def tile(planner: Planner, node: Node) -> None:
    """Tile: an axis of repeats before each of the input's."""
    shape = planner.shape(node.inputs[0])
    repeats, strides = attributes.int_list(node, "repeats"), nest.contiguous(shape)
    dims = tuple(extent for pair in zip(repeats, shape, strict=True) for extent in pair)
    move(planner, node, dims, tuple(stride for each in strides for stride in (0, each)))


def depth_to_space(planner: Planner, node: Node) -> None:
    """DepthToSpace: blocks of channels become squares of pixels."""
    (n, c, h, w), b = planner.shape(node.inputs[0]), movement.blocksize(node)
    k, plane, image = c // b**2, h * w, c * h * w
    if attributes.word(node, "mode", ("DCR", "CRD")) == "DCR":
        row, column, channel = b * k * plane, k * plane, plane
    else:
        row, column, channel = b * plane, plane, b * b * plane
    move(planner, node, (n, k, h, b, w, b), (image, channel, w, row, 1, column))


def space_to_depth(planner: Planner, node: Node) -> None:
    """SpaceToDepth: squares of pixels become blocks of channels."""
    (n, c, h, w), b = planner.shape(node.inputs[0]), movement.blocksize(node)
    inner, pixels = ((b, b), (w, 1)), ((h // b, w // b), (b * w, b))
    if attributes.word(node, "mode", ("DCR", "CRD")) == "DCR":
        dims, strides = (n, *inner[0], c, *pixels[0]), (c * h * w, *inner[1], h * w, *pixels[1])
    else:
        dims, strides = (n, c, *inner[0], *pixels[0]), (c * h * w, h * w, *inner[1], *pixels[1])
    move(planner, node, dims, strides)


def pad(planner: Planner, node: Node) -> None:
    """Pad, one axis after the other; what lies outside is a constant or again an element of the axis."""
    x = planner.in_layout(node.inputs[0], 1)
    shape, mode = planner.shape(node.inputs[0]), attributes.word(node, "mode", movement.PAD_MODES)
    tables = []
    for axis, (before, after) in enumerate(movement.padding(node, shape)):
        kept = np.arange(shape[axis])[max(0, -before) : shape[axis] - max(0, -after)]
        added = (max(0, before), max(0, after))
        if before or after:
            tables.append((axis, _padded(kept, added, mode)))
    along(planner, node, x, tables, attributes.real(node, "value", 0.0))


def _padded(kept: NDArray[np.int64], added: tuple[int, int], mode: str) -> NDArray[np.int64]:
    if mode == "constant":
        return np.pad(kept, added, constant_values=-1)
    if mode == "edge":
        return np.pad(kept, added, mode="edge")
    return np.pad(kept, added, mode="wrap") if mode == "wrap" else np.pad(kept, added, mode="reflect")


def along(
    planner: Planner, node: Node, x: str, tables: list[tuple[int, NDArray[np.int64]]], outside: float = 0.0
) -> None:
    """Select along several axes of a plain tensor, one after the other; the last result is the node's output."""
    shape = planner.shape(x)
    if not tables:
        planner.view(node.outputs[0], x)
    for number, (axis, indices) in enumerate(tables):
        made = (*shape[:axis], indices.size, *shape[axis + 1 :])
        last = number == len(tables) - 1
        y = node.outputs[0] if last else planner.tensor(node.name, made)
        select_along(planner, node, (x, y), Axis(shape, axis, outside), indices)
        x, shape = y, made


@dataclass(frozen=True)
class Axis:
    """An axis of a plain tensor of this shape, and the value of what lies outside it."""

    shape: Shape
    axis: int
    outside: float = 0.0

    @property
    def around(self) -> tuple[int, int]:
        """Elements before the axis, and behind it."""
        return math.prod(self.shape[: self.axis]), math.prod(self.shape[self.axis + 1 :])

    @property
    def extent(self) -> int:
        """Elements along the axis."""
        return self.shape[self.axis]


def select_along(planner: Planner, node: Node, ends: tuple[str, str], where: Axis, indices: NDArray[np.int64]) -> None:
    """One step from `ends[0]` to `ends[1]`: the elements `indices` of an axis, where −1 is one that lies outside."""
    ints, packed = (*where.around, indices.size, where.extent), native.pack_indices(indices, where.extent)
    kernel, why = f"select_f32_{planner.isa}", f"{indices.size} of axis {where.axis}"
    planner.add(Step((node.name,), node.op, kernel, why, ends[:1], ends[1:], ints, (where.outside,), packed))


def move(planner: Planner, node: Node, dims: Shape, strides: Shape, base: int = 0) -> None:
    """The node's output, which has extents `dims` in order, from its plain input, read with these strides.

    A view where elements keep their order and neighbours.
    """
    x, y = planner.in_layout(node.inputs[0], 1), node.outputs[0]
    dims, read, written = nest.simplify(dims, strides, nest.contiguous(dims))
    if dims == (1,) or (len(dims) == 1 and read == (1,)):
        planner.view(y, x, base)
        return
    if len(dims) > 2 and read[-1] != 1 and 1 in read:  # a transposition: the axis that the input has last, last but one
        at = read.index(1)
        dims, read, written = (_last_but_one(values, at) for values in (dims, read, written))
    sizes = (planner.memory.elements[x], planner.memory.elements[y])
    ints = (*sizes, base, 0, *dims, *read, *written)
    kernel, why = f"move_f32_{planner.isa}", f"{len(dims)} axes"
    planner.add(Step((node.name,), node.op, kernel, why, (x,), (y,), ints))


def _last_but_one(values: Shape, at: int) -> Shape:
    return (*values[:at], *values[at + 1 : -1], values[at], values[-1])
