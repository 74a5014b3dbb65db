"""Resize: how each axis is sampled anew. Every mode comes down to a table of taps and weights per axis.

Resampling is separable, so a Resize is one such table an axis, applied one after the other. Coordinates follow ONNX's
definition of the operator; the cubic kernel is Keys, "Cubic convolution interpolation for digital image processing"
(1981), with a = cubic_coeff_a; antialiasing stretches the kernel by 1 / scale when it shrinks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import GraphError
from lissome.graph import attributes
from lissome.graph.conv_shape import MAX_ELEMENTS, Shape
from lissome.graph.ir import Node
from lissome.graph.rules import Table

MODES: Final = ("nearest", "linear", "cubic")
COORDINATES: Final = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS: Final = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@dataclass(frozen=True, slots=True)
class Sampled:
    """One axis that a Resize node samples anew: `size` elements become `out`; `crop` is its part of the roi."""

    axis: int
    size: int
    out: int
    scale: float
    crop: tuple[float, float] = (0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Taps:
    """y[i] = Σ_j weights[i, j] · x[indices[i, j]] where inside[i], else the node's extrapolation_value.

    indices: int64 (out, taps), within the axis. weights: float64 (out, taps). inside: bool (out,).
    """

    indices: NDArray[np.int64]
    weights: NDArray[np.float64]
    inside: NDArray[np.bool_]


def sampled(node: Node, x: Shape) -> tuple[Sampled, ...]:
    """The axes that a Resize node samples: attribute axes (all unless told), with sizes or scales for each."""
    axes = attributes.axes(node, "axes", len(x))
    axes = tuple(range(len(x))) if axes is None else axes
    if ("sizes" in node.attributes) == ("scales" in node.attributes):
        raise GraphError(f"node {node.name!r} (Resize): give either sizes or scales")
    if "sizes" in node.attributes:
        outs = attributes.ints(node, "sizes", len(axes))
        scales = tuple(out / x[axis] for axis, out in zip(axes, outs, strict=True))
    else:
        scales = attributes.real_list(node, "scales", len(axes))
        if not all(0 < scale < MAX_ELEMENTS for scale in scales):
            raise GraphError(f"node {node.name!r} (Resize): scales {scales}")
        outs = tuple(math.floor(x[axis] * scale) for axis, scale in zip(axes, scales, strict=True))
    if min(outs, default=1) < 1:
        raise GraphError(f"node {node.name!r} (Resize): sizes {outs} of input {x}")
    crops = [(0.0, 1.0)] * len(axes)
    if "roi" in node.attributes:
        roi = attributes.real_list(node, "roi", 2 * len(axes))
        crops = list(zip(roi[: len(axes)], roi[len(axes) :], strict=True))
    return tuple(
        Sampled(axis, x[axis], out, scale, crop)
        for axis, out, scale, crop in zip(axes, outs, scales, crops, strict=True)
    )


def taps(node: Node, along: Sampled) -> Taps:
    """Which elements of one axis make each output, and how much each counts."""
    at, inside = _coordinates(node, along)
    mode = attributes.word(node, "mode", MODES)
    if mode == "nearest":
        indices = _rounded(node, at)[:, None]
        return Taps(np.clip(indices, 0, along.size - 1), np.ones(indices.shape), inside)
    antialias = attributes.flag(node, "antialias")
    shrink = min(along.scale, 1.0) if antialias else 1.0
    reach = math.ceil((1 if mode == "linear" else 2) / shrink)
    floor = np.ceil(at).astype(np.int64) - 1  # the left neighbour has a distance in (0, 1]
    indices = floor[:, None] + np.arange(1 - reach, 1 + reach)
    distance = np.abs(indices - at[:, None]) * shrink
    weights = np.maximum(0.0, 1.0 - distance) if mode == "linear" else _keys(node, distance)
    outside = (indices < 0) | (indices >= along.size)
    if antialias:
        weights = weights / weights.sum(1, keepdims=True)
    if attributes.flag(node, "exclude_outside"):
        weights = np.where(outside, 0.0, weights)
        weights = weights / weights.sum(1, keepdims=True)
    return Taps(np.clip(indices, 0, along.size - 1), weights, inside)


def _coordinates(node: Node, along: Sampled) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where each output lies on the input's axis, and whether that is inside (always, but for a crop)."""
    mode = attributes.word(node, "coordinate_transformation_mode", COORDINATES)
    i, inside = np.arange(along.out, dtype=np.float64), np.ones(along.out, dtype=np.bool_)
    last, wanted = along.size - 1, along.scale * along.size  # `wanted` may be a fraction above `out`
    if mode == "asymmetric":
        return i / along.scale, inside
    if mode == "align_corners":
        return (np.zeros_like(i) if wanted == 1 else i * last / (wanted - 1)), inside
    if mode == "tf_crop_and_resize":
        start, end = along.crop
        spread = np.full_like(i, (end - start) * last / 2) if wanted == 1 else i * (end - start) * last / (wanted - 1)
        at = start * last + spread
        return at, (at >= 0) & (at <= last)
    if mode == "pytorch_half_pixel" and wanted == 1:
        return np.full_like(i, -0.5), inside
    shift = along.size / 2 * (1 - along.out / wanted) if mode == "half_pixel_symmetric" else 0.0
    return shift + (i + 0.5) / along.scale - 0.5, inside


def _rounded(node: Node, at: NDArray[np.float64]) -> NDArray[np.int64]:
    match attributes.word(node, "nearest_mode", ROUNDINGS):
        case "round_prefer_floor":
            near = np.ceil(at - 0.5)
        case "round_prefer_ceil":
            near = np.floor(at + 0.5)
        case "floor":
            near = np.floor(at)
        case _:
            near = np.ceil(at)
    return near.astype(np.int64)


def _keys(node: Node, t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' cubic kernel at distances `t`."""
    a = attributes.real(node, "cubic_coeff_a", -0.75)
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t <= 1, near, np.where(t < 2, far, 0.0))


def _resize(node: Node, x: Shape) -> Shape:
    attributes.word(node, "mode", MODES)
    attributes.word(node, "coordinate_transformation_mode", COORDINATES)
    attributes.word(node, "nearest_mode", ROUNDINGS)
    attributes.flag(node, "antialias"), attributes.flag(node, "exclude_outside")
    attributes.real(node, "cubic_coeff_a", -0.75), attributes.real(node, "extrapolation_value", 0.0)
    extents = list(x)
    for along in sampled(node, x):
        extents[along.axis] = along.out
    return tuple(extents)


OPERATORS: Final[Table] = {"Resize": (1, 1, _resize)}
