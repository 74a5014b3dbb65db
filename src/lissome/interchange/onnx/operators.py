"""What each ONNX operator becomes: one small function an operator, one line in `CONVERTERS`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import numpy as np

from lissome.graph.ir import Attribute
from lissome.interchange.onnx.call import Call, Unsupported
from lissome.interchange.onnx.files import REALS
from lissome.interchange.onnx.layers import LAYERS
from lissome.interchange.onnx.movement import MOVEMENT
from lissome.interchange.onnx.quantization import QUANTIZATION

Converter: TypeAlias = Callable[[Call], None]


def _same(op: str, inputs: int = 1, *names: str) -> Converter:
    """The operator as it is, with the attributes of these names."""

    def convert(call: Call) -> None:
        call.only()
        call.add(op, *(call.operand(i) for i in range(inputs)), **call.kept(*names))

    return convert


def _chain(op: str) -> Converter:
    """An operator of any number of inputs as one of two, repeated."""

    def convert(call: Call) -> None:
        names = [call.operand(i) for i in range(len(call.inputs))]
        if len(names) == 1:
            call.add("Identity", names[0])
            return
        call.add(op, functools.reduce(lambda a, b: call.before(op, a, b), names[:-1]), names[-1])

    return convert


def _clip(call: Call) -> None:
    bounds = {"min": call.number(1, "min"), "max": call.number(2, "max")}
    call.add("Clip", call.operand(0), **{name: bound for name, bound in bounds.items() if bound is not None})


def _softmax(call: Call) -> None:
    """Before operator set 13: over all axes from `axis` on, taken as one."""
    rank = len(call.shape())
    axis = call.attributes.get("axis", -1 if call.opset >= 13 else 1)
    last = axis % rank if rank else 0
    if call.opset >= 13 or last == rank - 1:
        call.add(call.op, call.operand(0), axis=axis)
        return
    flat = call.before("Flatten", call.operand(0), axis=last)
    made = call.before(call.op, flat, axis=-1)
    call.add("Reshape", made, shape=call.shape())


def _cast(call: Call) -> None:
    if call.attributes.get("to", REALS[0]) not in REALS:
        raise Unsupported("at run time, to a type that is no real of 16, 32 or 64 bits")
    call.add("Identity", call.operand(0))


def _cast_like(call: Call) -> None:
    """To the type of a tensor that is fed or computed, which is float32 like all of them, or of a real constant."""
    like = call.walk.values.get(call.operand(1))
    if like is not None and like.dtype.kind in "biu":
        raise Unsupported("at run time, to integers")
    if call.operand(0) in call.walk.values:
        call.walk.know(call.outputs[0], call.walk.values[call.operand(0)].astype(np.float32))
    else:
        call.add("Identity", call.operand(0))


def _dropout(call: Call) -> None:
    training = call.value(2, "training_mode")
    call.only()
    if training is not None and bool(training.reshape(-1)[0]):
        raise Unsupported("in training mode")
    call.add("Identity", call.operand(0))


def _batch_norm(call: Call) -> None:
    call.only()
    if call.attributes.get("training_mode", 0):
        raise Unsupported("in training mode")
    call.add("BatchNormalization", *(call.operand(i) for i in range(5)), **call.kept("epsilon"))


def _layer_norm(call: Call) -> None:
    """Its further outputs, the mean and the inverse of the standard deviation, are made apart when they are used."""
    axis, rank = call.attributes.get("axis", -1), len(call.shape())
    call.add("LayerNormalization", *(call.operand(i) for i in range(3)), **call.kept("axis", "epsilon"))
    mean, inverse = (*call.outputs[1:], "", "")[:2]
    if not any(name and call.walk.read[name] for name in (mean, inverse)):
        return
    x, axes = call.operand(0), tuple(range(axis % rank, rank))
    mean = mean or call.walk.fresh(f"{call.name}.mean")
    call.walk.emit("ReduceMean", f"{call.name}.mean", (x,), (mean,), {"axes": axes})
    if inverse:
        centred = call.before("Sub", x, mean)
        variance = call.before("ReduceMean", call.before("Mul", centred, centred), stem="variance", axes=axes)
        epsilon = np.array(call.attributes.get("epsilon", 1e-5), np.float32)
        shifted = call.before("Add", variance, call.constant(f"{call.name}.epsilon", epsilon))
        root = call.before("Sqrt", shifted)
        call.walk.emit("Reciprocal", f"{call.name}.inverse", (root,), (inverse,), {})


def _pow(call: Call) -> None:
    """The exponent may be an integer constant."""
    exponent = call.operand(1)
    if exponent in call.walk.values:
        exponent = call.constant(exponent, call.walk.values[exponent].astype(np.float32))
    call.add("Pow", call.operand(0), exponent)


def _reduce(call: Call) -> None:
    axes, rank = call.axes(1), len(call.shape())
    attributes: dict[str, Attribute] = {**call.kept("keepdims")}
    if axes:
        attributes["axes"] = tuple(axis % rank for axis in axes)
    elif call.attributes.get("noop_with_empty_axes", 0):
        call.add("Identity", call.operand(0))
        return
    call.add(call.op, call.operand(0), **attributes)


_UNARY: Final = (
    *("Abs", "Ceil", "Cos", "Erf", "Exp", "Floor", "HardSwish", "Identity", "Log", "Mish", "Neg", "Reciprocal"),
    *("Relu", "Round", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh"),
)
CONVERTERS: Final[Mapping[str, Converter]] = {
    **LAYERS,
    **MOVEMENT,
    **QUANTIZATION,
    **{op: _same(op) for op in _UNARY},
    **{op: _same(op, 2) for op in ("Add", "Div", "Mul", "PRelu", "Sub")},
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"), _reduce),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Clip": _clip,
    "Dropout": _dropout,
    "Elu": _same("Elu", 1, "alpha"),
    "Gelu": _same("Gelu", 1, "approximate"),
    "HardSigmoid": _same("HardSigmoid", 1, "alpha", "beta"),
    "LRN": _same("LRN", 1, "alpha", "beta", "bias", "size"),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": _same("LeakyRelu", 1, "alpha"),
    "LogSoftmax": _softmax,
    "Max": _chain("Max"),
    "Min": _chain("Min"),
    "Pow": _pow,
    "Softmax": _softmax,
    "Sum": _chain("Add"),
    "Swish": _same("Swish", 1, "alpha"),
}
