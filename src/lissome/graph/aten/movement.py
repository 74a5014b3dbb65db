"""Operators that move, repeat or leave out elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lissome.graph.aten.call import (
    Call,
    Converter,
    Onnx,
    Operand,
    Output,
    Shape,
    Tensor,
    Unsupported,
    axis_of,
    extent_of,
)

_MODES: Final = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def reshape(call: Call) -> Onnx | Tensor:
    """Flatten where that is what happens, else Reshape with the shape as an attribute, 0 standing for the batch."""
    x = call.activation("self")
    if call.shape == x.shape:
        return x
    if call.shape.count("N") != 1 or not all(isinstance(extent, int) for extent in call.shape if extent != "N"):
        raise Unsupported("it mixes the batch with other axes; keep the first axis, as in x.flatten(1)")
    if len(call.shape) == 2 and call.shape[0] == x.shape[0]:
        return Onnx("Flatten", (x.name,), {"axis": 1})
    return Onnx("Reshape", (x.name,), {"shape": _kept(x.shape, call.shape)})


def _kept(before: Shape, after: Shape) -> tuple[int, ...]:
    """`after` as Reshape takes it: the batch is 0 where it stays in its place, else −1."""
    place = 0 if before.index("N") == after.index("N") else -1
    return tuple(place if extent == "N" else int(extent) for extent in after)


def permute(call: Call) -> Onnx | Tensor:
    x = call.activation("self")
    return _transposed(x, tuple(axis % len(x.shape) for axis in call["dims"]))


def transpose(call: Call) -> Onnx | Tensor:
    x = call.activation("self")
    axes = list(range(len(x.shape)))
    first, second = call["dim0"] % len(axes), call["dim1"] % len(axes)
    axes[first], axes[second] = axes[second], axes[first]
    return _transposed(x, tuple(axes))


def _transposed(x: Tensor, axes: tuple[int, ...]) -> Onnx | Tensor:
    return x if list(axes) == sorted(axes) else Onnx("Transpose", (x.name,), {"perm": axes})


def concat(call: Call) -> Onnx:
    first, names = _tensors(call)
    return Onnx("Concat", names, {"axis": axis_of(first, int(call["dim"]))})


def stack(call: Call) -> Onnx:
    first, names = _tensors(call)
    axis = int(call["dim"]) % (len(first.shape) + 1)
    return Onnx("Concat", tuple(Onnx("Unsqueeze", (name,), {"axes": (axis,)}) for name in names), {"axis": axis})


def _tensors(call: Call) -> tuple[Tensor, tuple[str, ...]]:
    """The first tensor of a list that is computed from the input, and the names of all."""
    tensors = call["tensors"]
    first = next((x for x in tensors if "N" in x.shape), None)
    if first is None or not all(x.name for x in tensors):
        raise Unsupported("not all of its tensors are weights or computed from the network's input")
    return first, tuple(x.name for x in tensors)


def split(call: Call) -> tuple[Operand, ...]:
    x = call.activation("self")
    axis = axis_of(x, int(call["dim"]))
    parts = tuple(int(shape[axis]) for shape in call.shapes)
    if len(parts) == 1:
        return (x.name,)
    return _all(Onnx("Split", (x.name,), {"axis": axis, "split": parts}, outputs=len(parts)))


def unbind(call: Call) -> tuple[Operand, ...]:
    x = call.activation("self")
    axis = axis_of(x, int(call["dim"]))
    count = extent_of(x, axis)
    parts = _all(Onnx("Split", (x.name,), {"axis": axis, "split": (1,) * count}, outputs=count))
    return tuple(Onnx("Squeeze", (part,), {"axes": (axis,)}) for part in parts)


def _all(node: Onnx) -> tuple[Operand, ...]:
    return tuple(Output(node, index) for index in range(node.outputs))


def slice_(call: Call) -> Onnx | Tensor:
    x = call.activation("self")
    if call.shape == x.shape and call["step"] == 1:
        return x
    axis = axis_of(x, int(call["dim"]))
    taken = slice(call["start"], call["end"], call["step"]).indices(extent_of(x, axis))
    return _sliced(x.name, axis, *taken)


def _sliced(x: Operand, axis: int, start: int, end: int, step: int = 1) -> Onnx:
    strides = {"steps": (step,)} if step != 1 else {}
    return Onnx("Slice", (x,), {"starts": (start,), "ends": (end,), "axes": (axis,), **strides})


def select(call: Call) -> Onnx:
    x = call.activation("self")
    axis = axis_of(x, int(call["dim"]))
    index = int(call["index"]) % extent_of(x, axis)
    return Onnx("Squeeze", (_sliced(x.name, axis, index, index + 1),), {"axes": (axis,)})


def flip(call: Call) -> Onnx:
    x = call.activation("self")
    axes = tuple(axis_of(x, axis) for axis in call["dims"])
    ends = tuple(-extent_of(x, axis) - 1 for axis in axes)
    back = (-1,) * len(axes)
    return Onnx("Slice", (x.name,), {"starts": back, "ends": ends, "axes": axes, "steps": back})


def pad(call: Call) -> Onnx:
    """Torch names the last axis first and puts begin and end together; ONNX has all begins, then all ends."""
    x, amounts = call.activation("self"), [int(amount) for amount in call["pad"]]
    if call["mode"] not in _MODES:
        raise Unsupported(f"padding mode {call['mode']!r} has no counterpart")
    kept = (0,) * (len(x.shape) - len(amounts) // 2)
    pads = (*kept, *amounts[::2][::-1], *kept, *amounts[1::2][::-1])
    if pads[x.shape.index("N")] or pads[len(x.shape) + x.shape.index("N")]:
        raise Unsupported("it pads the batch")
    mode, value = _MODES[call["mode"]], call["value"]
    return Onnx("Pad", (x.name,), {"pads": pads, "mode": mode, **({"value": float(value)} if value else {})})


def expand(call: Call) -> Onnx | Tensor:
    x = call.activation("self")
    if call.shape == x.shape:
        return x
    return Onnx("Expand", (x.name,), {"shape": tuple(1 if e == "N" else int(e) for e in call.shape)})


def repeat(call: Call) -> Onnx:
    x, times = call.activation("self"), tuple(call["repeats"])
    if len(times) != len(x.shape) or times[x.shape.index("N")] != 1:
        raise Unsupported("it repeats the batch")
    return Onnx("Tile", (x.name,), {"repeats": tuple(int(t) for t in times)})


def pixel_shuffle(call: Call) -> Onnx:
    x = call.activation("self")
    return Onnx("DepthToSpace", (x.name,), {"blocksize": int(call["upscale_factor"]), "mode": "CRD"})


def channel_shuffle(call: Call) -> Onnx:
    x, groups = call.activation("self"), int(call["groups"])
    _, c, *window = (int(extent) for extent in (0, *x.shape[1:]))
    apart = Onnx("Reshape", (x.name,), {"shape": (0, groups, c // groups, *window)})
    turned = Onnx("Transpose", (apart,), {"perm": (0, 2, 1, *range(3, 3 + len(window)))})
    return Onnx("Reshape", (turned,), {"shape": (0, c, *window)})


def index_select(call: Call) -> Onnx:
    x = call.activation("self")
    return _gathered(x, axis_of(x, int(call["dim"])), call["index"])


def index(call: Call) -> Onnx:
    """x[:, indices]: one list of indices."""
    x, given = call.activation("self"), [(axis, one) for axis, one in enumerate(call["indices"]) if one is not None]
    if len(given) != 1:
        raise Unsupported("it indexes several axes at once")
    return _gathered(x, axis_of(x, given[0][0]), given[0][1])


def _gathered(x: Tensor, axis: int, index: Tensor | None) -> Onnx:
    if index is None or index.integers is None:
        raise Unsupported("its indices are not a constant")
    shape = tuple(int(extent) for extent in index.shape)
    return Onnx("Gather", (x.name,), {"axis": axis, "indices": index.integers, "indices_shape": shape})


_RESHAPES: Final = (
    *("_unsafe_view.default", "flatten.using_ints", "reshape.default", "squeeze.default", "squeeze.dim"),
    *("squeeze.dims", "unflatten.int", "unsqueeze.default", "view.default"),
)
OPERATORS: Final[Mapping[str, Converter]] = {
    **{f"aten.{name}": reshape for name in _RESHAPES},
    "aten.cat.default": concat,
    "aten.channel_shuffle.default": channel_shuffle,
    "aten.chunk.default": split,
    "aten.expand.default": expand,
    "aten.flip.default": flip,
    "aten.index.Tensor": index,
    "aten.index_select.default": index_select,
    "aten.pad.default": pad,
    "aten.permute.default": permute,
    "aten.pixel_shuffle.default": pixel_shuffle,
    "aten.repeat.default": repeat,
    "aten.select.int": select,
    "aten.slice.Tensor": slice_,
    "aten.split.Tensor": split,
    "aten.split_with_sizes.default": split,
    "aten.stack.default": stack,
    "aten.transpose.int": transpose,
    "aten.unbind.int": unbind,
}
