"""Arithmetic and activations, element by element; softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from lissome.graph.aten.call import Call, Converter, Derived, Onnx, Operand, Tensor, Unsupported, axis_of
from lissome.graph.ir import Attribute


def _plain(op: str) -> Converter:
    return lambda call: Onnx(op, (call.activation("self").name,))


def _with(op: str, **attributes: str) -> Converter:
    """An operator whose attributes (by ONNX's name) are numbers among torch's arguments (by torch's name)."""
    return lambda call: Onnx(op, (call.activation("self").name,), {o: float(call[t]) for o, t in attributes.items()})


def _operand(value: Any) -> Operand:
    """A tensor's name, or a number."""
    if isinstance(value, Tensor):
        if not value.name:
            raise Unsupported("one of its operands is a tensor of zeros as long as the batch")
        return value.name
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unsupported(f"one of its operands is {value}, neither a tensor nor a number")
    return float(value)


def _binary(op: str) -> Converter:
    def convert(call: Call) -> Onnx:
        left, right = _operand(call["self"]), _operand(call["other"])
        alpha = float(call.arguments.get("alpha", 1))
        if alpha != 1:
            right = right * alpha if isinstance(right, float) else Onnx("Mul", (right, alpha))
        return Onnx(op, (left, right))

    return convert


def reversed_subtraction(call: Call) -> Onnx:
    if call["alpha"] != 1:
        raise Unsupported("alpha is not 1")
    return Onnx("Sub", (_operand(call["other"]), _operand(call["self"])))


def power(call: Call) -> Onnx:
    x, exponent = call.activation("self").name, float(call["exponent"])
    if exponent == 2:
        return Onnx("Mul", (x, x))
    return Onnx("Sqrt", (x,)) if exponent == 0.5 else Onnx("Pow", (x, exponent))


def square(call: Call) -> Onnx:
    x = call.activation("self").name
    return Onnx("Mul", (x, x))


def reciprocal_root(call: Call) -> Onnx:
    return Onnx("Reciprocal", (Onnx("Sqrt", (call.activation("self").name,)),))


def clip(call: Call) -> Onnx:
    x = call.activation("self").name
    names = {"min": ("min", "min_val"), "max": ("max", "max_val")}
    bounds: dict[str, Attribute] = {
        bound: float(call[key]) for bound, keys in names.items() for key in keys if call.arguments.get(key) is not None
    }
    return Onnx("Relu", (x,)) if bounds == {"min": 0.0} else Onnx("Clip", (x,), bounds)


def relu6(call: Call) -> Onnx:
    return Onnx("Clip", (call.activation("self").name,), {"min": 0.0, "max": 6.0})


def prelu(call: Call) -> Onnx:
    """ONNX's slopes broadcast from the last axis, torch's stand along the channels."""
    x, (slopes,) = call.activation("self"), call.weights("weight")
    if call["weight"].shape == (1,) or len(x.shape) <= 2:
        return Onnx("PRelu", (x.name, slopes))
    spatial = (1,) * (len(x.shape) - 2)
    name = f"{slopes.rpartition('.')[0]}.slopes".lstrip(".")
    return Onnx("PRelu", (x.name, Derived(name, (slopes,), lambda w: w.reshape(-1, *spatial))))


def hard_sigmoid(call: Call) -> Onnx:
    return Onnx("HardSigmoid", (call.activation("self").name,), {"alpha": 1 / 6, "beta": 0.5})


def gelu(call: Call) -> Onnx:
    attributes: dict[str, Attribute] = {"approximate": "tanh"} if call["approximate"] == "tanh" else {}
    return Onnx("Gelu", (call.activation("self").name,), attributes)


def elu(call: Call) -> Onnx:
    if call["scale"] != 1 or call["input_scale"] != 1:
        raise Unsupported("only elu with scale = 1 and input_scale = 1 is supported")
    return Onnx("Elu", (call.activation("self").name,), {"alpha": float(call["alpha"])})


def softplus(call: Call) -> Onnx:
    if call["beta"] != 1 or call["threshold"] < 20:
        raise Unsupported("only softplus with beta = 1 and threshold = 20 is supported")
    return Onnx("Softplus", (call.activation("self").name,))


def _softmax(op: str) -> Converter:
    def convert(call: Call) -> Onnx:
        x = call.activation("self")
        return Onnx(op, (x.name,), {"axis": axis_of(x, int(call["dim"]))})

    return convert


def unchanged(call: Call) -> Tensor:
    return call.activation("self" if "self" in call.arguments else "input")


_UNCHANGED: Final = ("alias", "clone", "contiguous", "detach", "dropout", "feature_dropout")  # in evaluation mode
_PLAIN: Final = {
    "abs": "Abs",
    "ceil": "Ceil",
    "cos": "Cos",
    "erf": "Erf",
    "exp": "Exp",
    "floor": "Floor",
    "hardswish": "HardSwish",
    "log": "Log",
    "mish": "Mish",
    "neg": "Neg",
    "reciprocal": "Reciprocal",
    "relu": "Relu",
    "round": "Round",
    "sigmoid": "Sigmoid",
    "sign": "Sign",
    "silu": "Swish",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}

OPERATORS: Final[Mapping[str, Converter]] = {
    **{f"aten.{name}.default": unchanged for name in _UNCHANGED},
    **{f"aten.{name}.default": _plain(op) for name, op in _PLAIN.items()},
    "aten.add.Tensor": _binary("Add"),
    "aten.clamp.default": clip,
    "aten.clamp_max.default": clip,
    "aten.clamp_min.default": clip,
    "aten.div.Tensor": _binary("Div"),
    "aten.elu.default": elu,
    "aten.gelu.default": gelu,
    "aten.hardsigmoid.default": hard_sigmoid,
    "aten.hardtanh.default": clip,
    "aten.leaky_relu.default": _with("LeakyRelu", alpha="negative_slope"),
    "aten.log_softmax.int": _softmax("LogSoftmax"),
    "aten.maximum.default": _binary("Max"),
    "aten.minimum.default": _binary("Min"),
    "aten.mul.Tensor": _binary("Mul"),
    "aten.pow.Tensor_Scalar": power,
    "aten.prelu.default": prelu,
    "aten.relu6.default": relu6,
    "aten.rsqrt.default": reciprocal_root,
    "aten.rsub.Scalar": reversed_subtraction,
    "aten.softmax.int": _softmax("Softmax"),
    "aten.softplus.default": softplus,
    "aten.square.default": square,
    "aten.sub.Tensor": _binary("Sub"),
}
