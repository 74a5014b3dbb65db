"""Operators that move elements: what ONNX takes as integer inputs becomes attributes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

from lissome.errors import GraphError
from lissome.graph.conv_shape import Shape
from lissome.graph.ir import Attribute
from lissome.interchange.onnx.call import Call, Unsupported

_ENDLESS: Final = 2**31  # beyond any axis


def _reshape(call: Call) -> None:
    shape = call.ints(1, "shape")
    if shape is None:
        raise Unsupported("without a shape")
    if call.attributes.get("allowzero", 0) and 0 in shape:
        raise GraphError(f"it makes a tensor of no elements: {shape}")
    call.add("Reshape", call.operand(0), shape=shape)


def _with_axes(call: Call) -> None:
    """Squeeze and Unsqueeze."""
    axes = call.axes(1)
    if axes is None:
        axes = tuple(i for i, extent in enumerate(call.shape()) if extent == 1)
    call.add(call.op, call.operand(0), axes=axes)


def _split(call: Call) -> None:
    parts, count = call.ints(1, "split") or call.attributes.get("split"), len(call.outputs)
    axis, shape = call.attributes.get("axis", 0), call.shape()
    if not -len(shape) <= axis < len(shape):
        raise GraphError(f"axis {axis} of input {shape}")
    if parts is None:
        each = -(-shape[axis] // count)
        parts = (*(each,) * (count - 1), shape[axis] - each * (count - 1))
    call.add_all("Split", call.operand(0), outputs=count, axis=axis % len(shape), split=tuple(parts))


def _slice(call: Call) -> None:
    """Axes of which everything is taken are left out: the batch, above all."""
    starts, ends, rank = call.ints(1, "starts"), call.ints(2, "ends"), len(call.shape())
    if starts is None or ends is None or len(starts) != len(ends):
        raise GraphError(f"starts {starts} and ends {ends}")
    axes = call.ints(3, "axes") or tuple(range(len(starts)))
    steps = call.ints(4, "steps") or (1,) * len(starts)
    if not len(axes) == len(steps) == len(starts) or any(not -rank <= axis < rank for axis in axes):
        raise GraphError(f"axes {axes} and steps {steps} for starts {starts} of input {call.shape()}")
    kept = [
        (max(-_ENDLESS, min(start, _ENDLESS)), max(-_ENDLESS, min(end, _ENDLESS)), axis % rank, step)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
        if not step or slice(start, end, step).indices(call.shape()[axis]) != (0, call.shape()[axis], 1)
    ]
    if not kept:
        call.add("Identity", call.operand(0))
        return
    starts, ends, axes, steps = (tuple(column) for column in zip(*kept, strict=True))
    strides: dict[str, Attribute] = {"steps": steps} if any(step != 1 for step in steps) else {}
    call.add("Slice", call.operand(0), starts=starts, ends=ends, axes=axes, **strides)


def _pad(call: Call) -> None:
    pads, axes, rank = call.ints(1, "pads"), call.ints(3, "axes"), len(call.shape())
    axes = tuple(range(rank)) if axes is None else axes
    if pads is None or len(pads) != 2 * len(axes) or any(not -rank <= axis < rank for axis in axes):
        raise GraphError(f"pads {pads} for axes {axes} of input {call.shape()}")
    whole = [0] * (2 * rank)
    for i, axis in enumerate(axes):
        whole[axis % rank], whole[axis % rank + rank] = pads[i], pads[i + len(axes)]
    attributes = {**call.kept("mode"), "pads": tuple(whole)}
    if call.attributes.get("mode", "constant") == "constant" and call.has(2):
        value = call.number(2, "value")
        if value is None:
            raise Unsupported("with infinity")
        attributes["value"] = value
    call.add("Pad", call.operand(0), **attributes)


def _gather(call: Call) -> None:
    indices = call.value(1, "list of indices")
    if indices is None:
        raise GraphError("it has no indices")
    flat, shape = tuple(int(index) for index in indices.reshape(-1)), indices.shape
    spread: dict[str, Attribute] = {"indices_shape": shape} if shape != (len(flat),) else {}
    call.add("Gather", call.operand(0), axis=call.attributes.get("axis", 0), indices=flat, **spread)


def _expand(call: Call) -> None:
    """Extents that the input has already are written 1, which keeps them: the batch, above all."""
    wanted, x = call.ints(1, "shape"), call.shape()
    if wanted is None:
        raise GraphError("it has no shape")
    shape = _aligned(x, wanted)
    if all(extent == 1 for extent in shape) and len(wanted) <= len(x):
        call.add("Identity", call.operand(0))
        return
    call.add("Expand", call.operand(0), shape=shape)


def _aligned(x: Shape, wanted: Shape) -> Shape:
    padded = (*(0,) * (len(wanted) - len(x)), *x)[-len(wanted) :] if wanted else ()
    return tuple(1 if extent == own else extent for extent, own in zip(wanted, padded, strict=True))


def _tile(call: Call) -> None:
    call.add("Tile", call.operand(0), repeats=call.ints(1, "repeats") or ())


def _concat(call: Call) -> None:
    call.add("Concat", *call.inputs, **call.kept("axis"))


def _transpose(call: Call) -> None:
    call.add("Transpose", call.operand(0), **call.kept("perm"))


def _flatten(call: Call) -> None:
    call.add("Flatten", call.operand(0), **call.kept("axis"))


def _blocks(call: Call) -> None:
    call.add(call.op, call.operand(0), **call.kept("blocksize", "mode"))


_RESIZE: Final = (
    *("mode", "coordinate_transformation_mode", "nearest_mode", "cubic_coeff_a", "exclude_outside"),
    *("extrapolation_value", "antialias"),
)


def _resize(call: Call) -> None:
    """Only the axes that change, by sizes or by scales; the aspect ratio's policy is resolved into sizes."""
    shape, rank = call.shape(), len(call.shape())
    axes = tuple(axis % rank for axis in call.attributes.get("axes", range(rank)))
    sizes, scales = call.ints(3, "sizes"), call.value(2, "scales")
    attributes = call.kept(*_RESIZE)
    crop = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    factors: tuple[float, ...] = ()
    same: list[bool] = []
    if sizes:
        sizes = _fitting(call, tuple(shape[axis] for axis in axes), sizes)
        factors = sizes if len(sizes) == len(axes) else ()
        same = [size == shape[axis] for axis, size in zip(axes, factors, strict=False)]
    elif scales is not None:
        factors = tuple(float(scale) for scale in scales.reshape(-1))
        same = [scale == 1 for scale in factors]
    if len(factors) != len(axes):
        raise GraphError(f"sizes {sizes} or scales {scales} for axes {axes}")
    kept = [i for i in range(len(axes)) if crop or not same[i]]
    if not kept:
        call.add("Identity", call.operand(0))
        return
    attributes["axes"] = tuple(axes[i] for i in kept)
    chosen = tuple(factors[i] for i in kept)
    attributes["sizes" if sizes else "scales"] = tuple(map(int, chosen)) if sizes else chosen
    roi = call.value(1, "roi") if crop else None
    if roi is not None:
        attributes["roi"] = tuple(float(bound) for bound in roi.reshape(-1))
    call.add("Resize", call.operand(0), **attributes)


def _fitting(call: Call, shape: Shape, sizes: Shape) -> Shape:
    """`sizes`, or the sizes of one common scale that is as small or as large as all of them."""
    policy = call.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch" or len(sizes) != len(shape):
        return sizes
    choose = min if policy == "not_larger" else max
    scale = choose(size / extent for size, extent in zip(sizes, shape, strict=True))
    return tuple(math.floor(scale * extent + 0.5) for extent in shape)


MOVEMENT: Final[Mapping[str, Callable[[Call], None]]] = {
    "Concat": _concat,
    "DepthToSpace": _blocks,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _blocks,
    "Split": _split,
    "Squeeze": _with_axes,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _with_axes,
}
