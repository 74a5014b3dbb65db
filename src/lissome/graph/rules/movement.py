"""Operators that move, repeat or leave out elements and compute none."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import attributes
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Node
from lissome.graph.rules import ANY, Table

PAD_MODES: Final = ("constant", "reflect", "edge", "wrap")


def slices(node: Node, x: Shape) -> tuple[slice, ...]:
    """What a Slice node takes of each axis; a backward slice that reaches the front ends at None."""
    starts = attributes.int_list(node, "starts")
    ends = attributes.ints(node, "ends", len(starts))
    axes = attributes.axes(node, "axes", len(x)) or tuple(range(len(starts)))
    strides = attributes.ints(node, "steps", len(starts), (1,) * len(starts))
    if len(axes) != len(starts) or len(starts) > len(x) or 0 in strides:
        raise GraphError(f"node {node.name!r} (Slice): starts {starts}, axes {axes}, steps {strides} for input {x}")
    taken = [slice(0, extent, 1) for extent in x]
    for axis, *parts in zip(axes, starts, ends, strides, strict=True):
        start, end, step = slice(*parts).indices(x[axis])
        taken[axis] = slice(start, None if end < 0 else end, step)
    return tuple(taken)


def splits(node: Node, x: Shape) -> tuple[int, tuple[int, ...]]:
    """The axis of a Split node and the extent of each of its parts."""
    axis, count = attributes.axis(node, "axis", 0, len(x)), len(node.outputs)
    each = -(-x[axis] // count)
    even = (*(each,) * (count - 1), x[axis] - each * (count - 1))
    parts = attributes.ints(node, "split", count, even)
    if min(parts) < 1 or sum(parts) != x[axis]:
        raise GraphError(f"node {node.name!r} (Split): parts {parts} of axis {axis} of input {x}")
    return axis, parts


def padding(node: Node, x: Shape) -> tuple[tuple[int, int], ...]:
    """Elements that a Pad node adds before and after on each axis; negative ones are cut off."""
    pads = attributes.ints(node, "pads", 2 * len(x))
    return tuple(zip(pads[: len(x)], pads[len(x) :], strict=True))


def indices(node: Node) -> tuple[tuple[int, ...], Shape]:
    """The indices of a Gather node, flat, and their shape (one axis unless told)."""
    found = attributes.int_list(node, "indices")
    shape = attributes.int_list(node, "indices_shape", (len(found),))
    if math.prod(shape) != len(found) or min(shape, default=1) < 0:
        raise GraphError(f"node {node.name!r} (Gather): {len(found)} indices of shape {shape}")
    return found, shape


def blocksize(node: Node) -> int:
    """The side of the blocks of a DepthToSpace or SpaceToDepth node."""
    size = attributes.integer(node, "blocksize", 0)
    if size < 1:
        raise GraphError(f"node {node.name!r} ({node.op}): blocksize is {size}")
    return size


def permutation(node: Node, x: Shape) -> tuple[int, ...]:
    """The axes of the input in the order that a Transpose node gives them; reversed unless told."""
    axes = attributes.ints(node, "perm", len(x), tuple(reversed(range(len(x)))))
    if sorted(axes) != list(range(len(x))):
        raise GraphError(f"node {node.name!r} (Transpose): perm {axes} of input {x}")
    return axes


def _flatten(node: Node, x: Shape) -> Shape:
    axis = attributes.integer(node, "axis", 1)
    if not -len(x) <= axis <= len(x):
        raise GraphError(f"node {node.name!r} (Flatten): axis {axis} of input {x}")
    axis = axis + len(x) if axis < 0 else axis
    return math.prod(x[:axis]), math.prod(x[axis:])


def _reshape(node: Node, x: Shape) -> Shape:
    wanted = node.attributes.get("shape")
    if not isinstance(wanted, tuple) or not all(isinstance(e, int) for e in wanted):
        raise UnsupportedShape(f"node {node.name!r} (Reshape): its shape must be the attribute 'shape', a list of ints")
    extents = [x[i] if e == 0 and i < len(x) else int(e) for i, e in enumerate(wanted)]
    known = math.prod(e for e in extents if e != -1)
    if extents.count(-1) == 1 and known > 0:
        extents[extents.index(-1)] = math.prod(x) // known
    if min(extents, default=1) < 1 or math.prod(extents) != math.prod(x):
        raise GraphError(f"node {node.name!r} (Reshape): cannot make {wanted} from {x}")
    return tuple(extents)


def _transpose(node: Node, x: Shape) -> Shape:
    return tuple(x[axis] for axis in permutation(node, x))


def _squeeze(node: Node, x: Shape) -> Shape:
    axes = attributes.axes(node, "axes", len(x))
    gone = [axis for axis, extent in enumerate(x) if extent == 1] if axes is None else axes
    if any(x[axis] != 1 for axis in gone):
        raise GraphError(f"node {node.name!r} (Squeeze): axes {gone} of input {x} are not all 1")
    return tuple(extent for axis, extent in enumerate(x) if axis not in gone)


def _unsqueeze(node: Node, x: Shape) -> Shape:
    rank = len(x) + len(attributes.int_list(node, "axes"))
    axes, rest = attributes.axes(node, "axes", rank) or (), iter(x)
    return tuple(1 if axis in axes else next(rest) for axis in range(rank))


def _concat(node: Node, *parts: Shape) -> Shape:
    axis = attributes.axis(node, "axis", 0, len(parts[0]))
    if "axis" not in node.attributes or any(
        len(part) != len(parts[0]) or part[:axis] != parts[0][:axis] or part[axis + 1 :] != parts[0][axis + 1 :]
        for part in parts
    ):
        raise GraphError(f"node {node.name!r} (Concat): inputs {parts} do not fit along axis {axis}")
    return (*parts[0][:axis], sum(part[axis] for part in parts), *parts[0][axis + 1 :])


def _split(node: Node, x: Shape) -> tuple[Shape, ...]:
    axis, parts = splits(node, x)
    return tuple((*x[:axis], extent, *x[axis + 1 :]) for extent in parts)


def _slice(node: Node, x: Shape) -> Shape:
    taken = slices(node, x)
    extents = tuple(len(range(part.start, -1 if part.stop is None else part.stop, part.step)) for part in taken)
    if min(extents, default=1) < 1:
        raise GraphError(f"node {node.name!r} (Slice): nothing of {x} is left: {extents}")
    return extents


def _pad(node: Node, x: Shape) -> Shape:
    attributes.real(node, "value", 0.0)
    mode, pads = attributes.word(node, "mode", PAD_MODES), padding(node, x)
    out = tuple(extent + before + after for extent, (before, after) in zip(x, pads, strict=True))
    inside = [extent + min(before, 0) + min(after, 0) for extent, (before, after) in zip(x, pads, strict=True)]
    most = {"constant": 2**31, "edge": 2**31, "wrap": 2**31, "reflect": -1}[mode]
    if min(*inside, *out) < 1 or any(
        max(pair) > (extent - 1 if most < 0 else most) for pair, extent in zip(pads, inside, strict=True)
    ):
        raise GraphError(f"node {node.name!r} (Pad): pads {pads} of mode {mode} for input {x}")
    return out


def _gather(node: Node, x: Shape) -> Shape:
    axis = attributes.axis(node, "axis", 0, len(x))
    found, shape = indices(node)
    if not all(-x[axis] <= index < x[axis] for index in found) or not found:
        raise GraphError(f"node {node.name!r} (Gather): its indices are not all within the {x[axis]} of axis {axis}")
    return (*x[:axis], *shape, *x[axis + 1 :])


def _expand(node: Node, x: Shape) -> Shape:
    wanted = attributes.int_list(node, "shape")
    try:
        return np.broadcast_shapes(x, wanted)
    except ValueError:
        raise GraphError(f"node {node.name!r} (Expand): {x} does not broadcast with {wanted}") from None


def _tile(node: Node, x: Shape) -> Shape:
    repeats = attributes.ints(node, "repeats", len(x))
    if min(repeats, default=1) < 1:
        raise GraphError(f"node {node.name!r} (Tile): repeats {repeats}")
    return tuple(extent * times for extent, times in zip(x, repeats, strict=True))


def _depth_to_space(node: Node, x: Shape) -> Shape:
    block = blocksize(node)
    attributes.word(node, "mode", ("DCR", "CRD"))
    if len(x) != 4 or x[1] % block**2:
        raise GraphError(f"node {node.name!r} (DepthToSpace): blocks of {block} in input {x}")
    return x[0], x[1] // block**2, x[2] * block, x[3] * block


def _space_to_depth(node: Node, x: Shape) -> Shape:
    block = blocksize(node)
    attributes.word(node, "mode", ("DCR", "CRD"))
    if len(x) != 4 or x[2] % block or x[3] % block:
        raise GraphError(f"node {node.name!r} (SpaceToDepth): blocks of {block} in input {x}")
    return x[0], x[1] * block**2, x[2] // block, x[3] // block


OPERATORS: Final[Table] = {
    "Concat": (1, ANY, _concat),
    "DepthToSpace": (1, 1, _depth_to_space),
    "Expand": (1, 1, _expand),
    "Flatten": (1, 1, _flatten),
    "Gather": (1, 1, _gather),
    "Pad": (1, 1, _pad),
    "Reshape": (1, 1, _reshape),
    "Slice": (1, 1, _slice),
    "SpaceToDepth": (1, 1, _space_to_depth),
    "Split": (1, 1, _split),
    "Squeeze": (1, 1, _squeeze),
    "Tile": (1, 1, _tile),
    "Transpose": (1, 1, _transpose),
    "Unsqueeze": (1, 1, _unsqueeze),
}
