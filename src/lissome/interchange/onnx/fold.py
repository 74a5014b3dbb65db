"""Constant folding: the operators that exporters compute shapes, indices and weights with, in NumPy.

Each function takes the node's attributes and the values of its inputs, None for one left out, and returns its outputs.
What a fold would make is bounded before it is made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray

from lissome.errors import GraphError, UnsupportedShape

MAX_ELEMENTS: Final = 2**28  # of one folded tensor: 1 GiB of float32

Value: TypeAlias = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
Fold: TypeAlias = Callable[..., "Value | list[Value]"]


def fold(op: str, attributes: Attributes, inputs: Sequence[Value | None], outputs: int) -> list[Value]:
    """The outputs of an operator of `FOLDS` on known inputs.

    Raises GraphError where the inputs contradict each other, UnsupportedShape for results that are too large.
    """
    attributes = {**attributes, "": outputs}
    try:
        if op in ELEMENTWISE:
            bounded(np.broadcast_shapes(*(() if value is None else value.shape for value in inputs)))
        with np.errstate(all="ignore"):
            made = FOLDS[op](attributes, *inputs)
    except (GraphError, UnsupportedShape):
        raise
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError, AttributeError) as error:
        raise GraphError(f"it cannot be computed from its constant inputs: {error}") from None
    results = [np.asarray(value) for value in (made if isinstance(made, list) else [made])]
    for value in results:
        bounded(value.shape)
    return results


def bounded(shape: Sequence[int]) -> tuple[int, ...]:
    """`shape` as ints. Raises UnsupportedShape when a tensor of this shape is more than folding may make."""
    extents = tuple(int(extent) for extent in shape)
    if min(extents, default=0) < 0 or math.prod(extents) > MAX_ELEMENTS or len(extents) > 8:
        raise UnsupportedShape(f"a constant of shape {extents} is more than the {MAX_ELEMENTS:,} elements allowed")
    return extents


def dtype_of(code: int) -> np.dtype[Any]:
    """The NumPy type of an ONNX data type. Raises GraphError for one that has none."""
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(code))
    except (KeyError, ValueError, TypeError):
        raise GraphError(f"data type {code} is unknown") from None


def axes_of(attributes: Attributes, given: Value | None) -> tuple[int, ...] | None:
    """Axes: an input since operator set 13 or 18, an attribute before."""
    if given is not None:
        return tuple(int(axis) for axis in np.atleast_1d(given))
    axes = attributes.get("axes")
    return None if axes is None else tuple(axes)


def _constant(a: Attributes) -> Value:
    (name,) = (key for key in a if key.startswith("value") or key == "sparse_value")
    kinds = {"value_float": np.float32, "value_floats": np.float32, "value_int": np.int64, "value_ints": np.int64}
    if name != "value" and name not in kinds:
        raise UnsupportedShape(f"a constant given as {name!r} is not read")
    return np.asarray(a[name], dtype=kinds.get(name))


def _constant_of_shape(a: Attributes, shape: Value) -> Value:
    value = a.get("value", np.zeros(1, np.float32)).reshape(-1)
    return np.broadcast_to(value[0], bounded(shape.tolist()))


def _range(_a: Attributes, start: Value, limit: Value, delta: Value) -> Value:
    first, last, step = start.item(), limit.item(), delta.item()
    bounded((max(0, math.ceil((last - first) / step)),))
    return np.arange(first, last, step, dtype=start.dtype)


def _gather(a: Attributes, x: Value, indices: Value) -> Value:
    axis = a.get("axis", 0) % x.ndim
    bounded((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))
    return np.take(x, indices, axis)


def _slice(_a: Attributes, x: Value, starts: Value, ends: Value, axes: Value | None = None, *rest: Value) -> Value:
    steps = rest[0] if rest and rest[0] is not None else np.ones_like(starts)
    taken = [slice(None)] * x.ndim
    for axis, *part in zip(range(len(starts)) if axes is None else axes, starts, ends, steps, strict=True):
        start, stop, step = slice(*map(int, part)).indices(x.shape[int(axis)])
        taken[int(axis)] = slice(start, None if stop < 0 else stop, step)
    return x[tuple(taken)]


def _reshape(a: Attributes, x: Value, shape: Value) -> Value:
    keep = not a.get("allowzero", 0)
    return x.reshape([x.shape[i] if extent == 0 and keep else int(extent) for i, extent in enumerate(shape)])


def _flatten(a: Attributes, x: Value) -> Value:
    axis = a.get("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def _squeeze(a: Attributes, x: Value, given: Value | None = None) -> Value:
    return np.squeeze(x, axes_of(a, given))


def _unsqueeze(a: Attributes, x: Value, given: Value | None = None) -> Value:
    return np.expand_dims(x, axes_of(a, given) or ())


def _expand(_a: Attributes, x: Value, shape: Value) -> Value:
    return np.broadcast_to(x, bounded(np.broadcast_shapes(x.shape, tuple(map(int, shape)))))


def _tile(_a: Attributes, x: Value, repeats: Value) -> Value:
    bounded([extent * int(times) for extent, times in zip(x.shape, repeats, strict=True)])
    return np.tile(x, repeats)


def _split(a: Attributes, x: Value, given: Value | None = None) -> list[Value]:
    axis, parts = a.get("axis", 0), a.get("split") if given is None else given
    if parts is None:
        each = -(-x.shape[axis] // a[""])
        return np.split(x, range(each, x.shape[axis], each), axis)
    return np.split(x, np.cumsum(parts)[:-1], axis)


def _divide(_a: Attributes, x: Value, y: Value) -> Value:
    if np.issubdtype(x.dtype, np.integer):
        quotient = np.abs(x) // np.abs(y)  # towards zero, as ONNX divides integers
        return np.asarray(quotient * np.sign(x) * np.sign(y)).astype(x.dtype)
    return np.asarray(x / y)


def _modulo(a: Attributes, x: Value, y: Value) -> Value:
    return np.asarray(np.fmod(x, y) if a.get("fmod", 0) else np.mod(x, y))


def _reduction(reduce: Callable[..., Any]) -> Fold:
    def folded(a: Attributes, x: Value, given: Value | None = None) -> Value:
        axes = axes_of(a, given)
        if not axes and a.get("noop_with_empty_axes", 0):
            return x
        return np.asarray(reduce(x, axis=axes or None, keepdims=bool(a.get("keepdims", 1)))).astype(x.dtype)

    return folded


def dequantize(attributes: Attributes, codes: Value, scale: Value, zero: Value | None = None) -> Value:
    """(codes − zero) · scale in float32, per tensor or along the attribute axis."""
    if attributes.get("block_size", 0):
        raise UnsupportedShape("scales for blocks of an axis are not read")
    spread = _along(attributes, codes, scale)
    whole = codes.astype(np.int64) - (0 if zero is None else zero.astype(np.int64).reshape(spread))
    return np.asarray(whole.astype(np.float32) * scale.astype(np.float32).reshape(spread))


def _quantize(a: Attributes, x: Value, scale: Value, zero: Value | None = None) -> Value:
    if a.get("block_size", 0):
        raise UnsupportedShape("scales for blocks of an axis are not read")
    dtype = np.dtype(np.uint8) if zero is None else zero.dtype
    if not np.issubdtype(dtype, np.integer):
        raise UnsupportedShape(f"quantization to {dtype} is not read")
    spread, limits = _along(a, x, scale), np.iinfo(dtype)
    codes = np.rint(x / scale.reshape(spread)) + (0 if zero is None else zero.astype(np.int64).reshape(spread))
    return np.clip(codes, limits.min, limits.max).astype(dtype)


def _along(a: Attributes, x: Value, scale: Value) -> tuple[int, ...]:
    if scale.size == 1:
        return (1,) * x.ndim
    axis = a.get("axis", 1) % x.ndim
    return tuple(scale.size if i == axis else 1 for i in range(x.ndim))


ELEMENTWISE: Final = (
    *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul"),
    *("Or", "Pow", "Sub", "Sum", "Where"),
)
FOLDS: Final[Mapping[str, Fold]] = {
    "Abs": lambda _a, x: np.abs(x),
    "Add": lambda _a, x, y: x + y,
    "And": lambda _a, x, y: x & y,
    "Cast": lambda a, x: x.astype(dtype_of(a["to"])),
    "CastLike": lambda _a, x, y: x.astype(y.dtype),
    "Ceil": lambda _a, x: np.ceil(x),
    "Concat": lambda a, *parts: np.concatenate(parts, a["axis"]),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": dequantize,
    "Div": _divide,
    "Equal": lambda _a, x, y: x == y,
    "Exp": lambda _a, x: np.exp(x),
    "Expand": _expand,
    "Flatten": _flatten,
    "Floor": lambda _a, x: np.floor(x),
    "Gather": _gather,
    "Greater": lambda _a, x, y: x > y,
    "GreaterOrEqual": lambda _a, x, y: x >= y,
    "Identity": lambda _a, x: x,
    "Less": lambda _a, x, y: x < y,
    "LessOrEqual": lambda _a, x, y: x <= y,
    "Log": lambda _a, x: np.log(x),
    "Max": lambda _a, *x: np.maximum.reduce(np.broadcast_arrays(*x)),
    "Min": lambda _a, *x: np.minimum.reduce(np.broadcast_arrays(*x)),
    "Mod": _modulo,
    "Mul": lambda _a, x, y: x * y,
    "Neg": lambda _a, x: -x,
    "Not": lambda _a, x: ~x,
    "Or": lambda _a, x, y: x | y,
    "Pow": lambda _a, x, y: np.power(x, y).astype(x.dtype),
    "QuantizeLinear": _quantize,
    "Range": _range,
    "Reciprocal": lambda _a, x: np.reciprocal(x),
    "ReduceMax": _reduction(np.max),
    "ReduceMean": _reduction(np.mean),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "Reshape": _reshape,
    "Round": lambda _a, x: np.rint(x),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": lambda _a, x: np.sqrt(x),
    "Squeeze": _squeeze,
    "Sub": lambda _a, x, y: x - y,
    "Sum": lambda _a, *x: np.asarray(sum(x[1:], start=x[0])),
    "Tile": _tile,
    "Transpose": lambda a, x: x.transpose(a.get("perm")),
    "Unsqueeze": _unsqueeze,
    "Where": lambda _a, c, x, y: np.asarray(np.where(c, x, y)),
}
