"""Loop nests over tensors in memory: extents, and for every tensor how far apart neighbours along each axis lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import Shape

MOST_AXES: Final = 8


def contiguous(shape: Shape) -> Shape:
    """Strides of a tensor that is not blocked."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def broadcast(shape: Shape, out: Shape) -> Shape:
    """Strides with which a tensor of `shape` is read along `out`: 0 where it is broadcast."""
    strides = [0] * (len(out) - len(shape)) + list(contiguous(shape))
    return tuple(0 if n == 1 else s for n, s in zip((1,) * (len(out) - len(shape)) + shape, strides, strict=True))


def simplify(dims: Shape, *strides: Shape) -> tuple[Shape, ...]:
    """The same nest with as few axes as it can have: without extents of 1, neighbours that run on merged.

    Raises UnsupportedShape where more than eight axes are left.
    """
    axes = [axis for axis in zip(dims, *strides, strict=True) if axis[0] > 1]
    merged: list[tuple[int, ...]] = []
    for axis in axes:
        if merged and all(outer == axis[0] * inner for outer, inner in zip(merged[-1][1:], axis[1:], strict=True)):
            merged[-1] = (merged[-1][0] * axis[0], *axis[1:])
        else:
            merged.append(axis)
    if len(merged) > MOST_AXES:
        raise UnsupportedShape(f"a loop nest over {dims} has {len(merged)} axes that cannot be merged; 8 are possible")
    columns: Sequence[Sequence[int]] = list(zip(*merged, strict=True)) or [(1,)] * (1 + len(strides))
    return tuple(tuple(column) for column in columns)
