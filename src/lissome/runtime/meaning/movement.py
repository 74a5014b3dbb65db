"""Operators that move elements, resize, or reduce whole axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from lissome.graph import attributes, shapes
from lissome.graph.ir import Node
from lissome.graph.rules import movement, reduction, resize
from lissome.runtime.meaning import Array, Table


def _reshaped(node: Node, x: Array) -> Array:
    return x.reshape(shapes.output_shapes(node, {node.inputs[0]: x.shape})[node.outputs[0]])


def _split(node: Node, x: Array) -> tuple[Array, ...]:
    axis, parts = movement.splits(node, x.shape)
    return tuple(np.split(x, np.cumsum(parts)[:-1], axis))


def _pad(node: Node, x: Array) -> Array:
    pads, mode = movement.padding(node, x.shape), attributes.word(node, "mode", movement.PAD_MODES)
    kept = tuple(slice(max(0, -before), n - max(0, -after)) for n, (before, after) in zip(x.shape, pads, strict=True))
    added = [(max(0, before), max(0, after)) for before, after in pads]
    if mode == "constant":
        return np.pad(x[kept], added, constant_values=attributes.real(node, "value", 0.0))
    how: Any = mode
    return np.pad(x[kept], added, mode=how)


def _gather(node: Node, x: Array) -> Array:
    indices, shape = movement.indices(node)
    return np.take(x, np.array(indices, dtype=np.int64).reshape(shape), attributes.axis(node, "axis", 0, x.ndim))


def _depth_to_space(node: Node, x: Array) -> Array:
    (n, c, h, w), b = x.shape, movement.blocksize(node)
    if attributes.word(node, "mode", ("DCR", "CRD")) == "DCR":
        blocks = x.reshape(n, b, b, c // b**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        blocks = x.reshape(n, c // b**2, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(n, c // b**2, h * b, w * b)


def _space_to_depth(node: Node, x: Array) -> Array:
    (n, c, h, w), b = x.shape, movement.blocksize(node)
    order = (0, 3, 5, 1, 2, 4) if attributes.word(node, "mode", ("DCR", "CRD")) == "DCR" else (0, 1, 3, 5, 2, 4)
    return x.reshape(n, c, h // b, b, w // b, b).transpose(order).reshape(n, c * b**2, h // b, w // b)


def _resize(node: Node, x: Array) -> Array:
    for along in resize.sampled(node, x.shape):
        taps = resize.taps(node, along)
        read = np.take(x, taps.indices, along.axis)  # (…, out, taps, …)
        spread = (1,) * (x.ndim - along.axis - 1)
        y = (read * taps.weights.reshape(*taps.weights.shape, *spread)).sum(along.axis + 1)
        x = np.where(taps.inside.reshape(-1, *spread), y, attributes.real(node, "extrapolation_value", 0.0))
    return x


def _reduction(reduce: Callable[..., Any]) -> Callable[..., Array]:
    def meaning(node: Node, x: Array) -> Array:
        axes = reduction.reduced_axes(node, x.shape)
        return np.asarray(reduce(x, axis=axes, keepdims=attributes.flag(node, "keepdims", 1)))

    return meaning


OPERATORS: Final[Table] = {
    "Concat": lambda node, *parts: np.concatenate(parts, attributes.integer(node, "axis", 0)),
    "DepthToSpace": _depth_to_space,
    "Expand": lambda node, x: x * np.ones(attributes.int_list(node, "shape")),
    "Flatten": _reshaped,
    "Gather": _gather,
    "Pad": _pad,
    "ReduceMax": _reduction(np.max),
    "ReduceMean": _reduction(np.mean),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "Reshape": _reshaped,
    "Resize": _resize,
    "Slice": lambda node, x: x[movement.slices(node, x.shape)],
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshaped,
    "Tile": lambda node, x: np.tile(x, attributes.int_list(node, "repeats")),
    "Transpose": lambda node, x: x.transpose(movement.permutation(node, x.shape)),
    "Unsqueeze": _reshaped,
}
