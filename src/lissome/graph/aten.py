"""What torch's operators are called in ONNX: one small function an operator, listed in `OPERATORS`.

Works on names, shapes and plain arguments, so it needs no torch; trace.py brings them. A converter returns an `Onnx`
operator, or one of its argument tensors when the operator changes nothing, or raises `Unsupported` with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from lissome.graph.ir import Attribute, Extent


class Unsupported(Exception):
    """This call of an operator has no counterpart in a graph; the text says why."""


@dataclass(frozen=True)
class Tensor:
    """A tensor argument: its name in the graph, its shape (activations begin with "N"), and whether it is a weight."""

    name: str
    shape: tuple[Extent, ...]
    parameter: bool = False


@dataclass(frozen=True)
class Call:
    """One call: arguments by the names of torch's schema, with `Tensor` for tensors, and the shape of the result."""

    arguments: Mapping[str, Any]
    shape: tuple[Extent, ...]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def activation(self, name: str) -> Tensor:
        """The argument `name`, which must be computed from the input."""
        value = self.arguments[name]
        if not isinstance(value, Tensor) or value.parameter:
            raise Unsupported(f"its {name} is not computed from the network's input")
        return value

    def weights(self, *names: str) -> tuple[str, ...]:
        """Names of weight arguments; those left out (None) at the end are dropped."""
        given = [self.arguments[name] for name in names]
        while given and given[-1] is None:
            given.pop()
        if not all(isinstance(value, Tensor) and value.parameter for value in given):
            raise Unsupported(f"one of its {', '.join(names)} is not a fixed weight")
        return tuple(value.name for value in given)


@dataclass(frozen=True)
class Onnx:
    """An ONNX operator over named tensors."""

    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


Converter: TypeAlias = Callable[[Call], Onnx | Tensor]


def linear(call: Call) -> Onnx:
    x = call.activation("input")
    if len(x.shape) != 2:
        raise Unsupported(f"its input has shape {x.shape}; a linear layer takes (N, features): flatten first")
    return Onnx("Gemm", (x.name, *call.weights("weight", "bias")), {"transB": 1})


def convolution(call: Call) -> Onnx:
    x = call.activation("input")
    kernel = call["weight"].shape[2:]
    if len(x.shape) != len(kernel) + 2:
        raise Unsupported(f"its input has shape {x.shape}; a batch of {len(kernel)}-dimensional images is needed")
    dilation = _spread(call["dilation"], len(kernel))
    attributes: dict[str, Attribute] = {
        "kernel_shape": tuple(kernel),
        "strides": _spread(call["stride"], len(kernel)),
        "pads": _padding(call["padding"], kernel, dilation),
        "dilations": dilation,
        "group": int(call["groups"]),
    }
    return Onnx("Conv", (x.name, *call.weights("weight", "bias")), _particular(attributes))


def batch_norm(call: Call) -> Onnx:
    if any(call[name] is None for name in ("weight", "bias", "running_mean", "running_var")):
        raise Unsupported("it has no scale, offset or running statistics (affine or track_running_stats is off)")
    weights = call.weights("weight", "bias", "running_mean", "running_var")
    return Onnx("BatchNormalization", (call.activation("input").name, *weights), {"epsilon": float(call["eps"])})


def max_pool(call: Call) -> Onnx:
    x, attributes = _window(call)
    attributes["dilations"] = _spread(call["dilation"], len(x.shape) - 2)
    return Onnx("MaxPool", (x.name,), _particular(attributes))


def average_pool(call: Call) -> Onnx:
    x, attributes = _window(call)
    if call.arguments.get("divisor_override") is not None:
        raise Unsupported("divisor_override has no counterpart")
    if attributes["ceil_mode"]:
        raise Unsupported("ceil_mode: torch and ONNX average the last window differently; pad explicitly instead")
    attributes["count_include_pad"] = int(call["count_include_pad"])
    return Onnx("AveragePool", (x.name,), _particular(attributes))


def adaptive_average_pool(call: Call) -> Onnx:
    x = call.activation("self")
    if any(extent != 1 for extent in call["output_size"]):
        raise Unsupported(f"output size {tuple(call['output_size'])}; only 1 is supported")
    return Onnx("GlobalAveragePool", (x.name,))


def mean(call: Call) -> Onnx:
    x = call.activation("self")
    axes = sorted(axis % len(x.shape) for axis in call["dim"] or ())
    if not call["keepdim"] or axes != list(range(2, len(x.shape))):
        raise Unsupported("only the mean over all spatial axes with keepdim=True is supported")
    return Onnx("GlobalAveragePool", (x.name,))


def leaky_relu(call: Call) -> Onnx:
    return Onnx("LeakyRelu", (call.activation("self").name,), {"alpha": float(call["negative_slope"])})


def softmax(call: Call) -> Onnx:
    x = call.activation("self")
    axis = int(call["dim"]) % len(x.shape)
    if axis == 0:
        raise Unsupported("it runs over the batch")
    return Onnx("Softmax", (x.name,), {"axis": axis})


def reshape(call: Call) -> Onnx | Tensor:
    """Flatten where that is what happens, else Reshape with the shape as an attribute, 0 standing for the batch."""
    x = call.activation("self")
    if call.shape == x.shape:
        return x
    if call.shape[0] != "N" or not all(isinstance(extent, int) for extent in call.shape[1:]):
        raise Unsupported("it mixes the batch with other axes; keep the first axis, as in x.flatten(1)")
    if len(call.shape) == 2:
        return Onnx("Flatten", (x.name,), {"axis": 1})
    return Onnx("Reshape", (x.name,), {"shape": (0, *(int(extent) for extent in call.shape[1:]))})


def unchanged(call: Call) -> Tensor:
    return call.activation("self" if "self" in call.arguments else "input")


def _elementwise(op: str) -> Converter:
    return lambda call: Onnx(op, (call.activation("self").name,))


def _binary(op: str) -> Converter:
    def convert(call: Call) -> Onnx:
        left, right = call["self"], call["other"]
        if not isinstance(left, Tensor) or not isinstance(right, Tensor):
            raise Unsupported("one operand is a plain number; make it a parameter or buffer")
        if call.arguments.get("alpha", 1) != 1:
            raise Unsupported("alpha is not 1")
        return Onnx(op, (left.name, right.name))

    return convert


def _spread(value: Any, count: int) -> tuple[int, ...]:
    """An int, or a list of one or of `count` of them, as `count` ints."""
    values = [value] if isinstance(value, int) else list(value)
    return tuple(int(v) for v in (values * count if len(values) == 1 else values))


def _particular(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes without those at ONNX's default: a graph says only what is particular."""
    defaults = {"strides": 1, "pads": 0, "dilations": 1, "group": 1, "ceil_mode": 0, "count_include_pad": 0}
    return {
        name: value
        for name, value in attributes.items()
        if name not in defaults or any(v != defaults[name] for v in (value if isinstance(value, tuple) else (value,)))
    }


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """ONNX order: all begins, then all ends. "same" puts the odd pixel at the end, as torch does."""
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (*(t // 2 for t in total), *(t - t // 2 for t in total))
    return _spread(0 if padding == "valid" else padding, len(kernel)) * 2


def _window(call: Call) -> tuple[Tensor, dict[str, Attribute]]:
    x = call.activation("self")
    count = len(x.shape) - 2
    kernel = _spread(call["kernel_size"], count)
    attributes: dict[str, Attribute] = {
        "kernel_shape": kernel,
        "strides": _spread(call["stride"], count) if call["stride"] else kernel,
        "pads": _spread(call["padding"], count) * 2,
        "ceil_mode": int(call["ceil_mode"]),
    }
    return x, attributes


OPERATORS: Final[Mapping[str, Converter]] = {
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten.adaptive_avg_pool1d.default": adaptive_average_pool,
    "aten.adaptive_avg_pool2d.default": adaptive_average_pool,
    "aten.add.Tensor": _binary("Add"),
    "aten.alias.default": unchanged,
    "aten.avg_pool1d.default": average_pool,
    "aten.avg_pool2d.default": average_pool,
    "aten.clone.default": unchanged,  # what is left of dropout
    "aten.contiguous.default": unchanged,
    "aten.conv1d.default": convolution,
    "aten.conv1d.padding": convolution,
    "aten.conv2d.default": convolution,
    "aten.conv2d.padding": convolution,
    "aten.detach.default": unchanged,
    "aten.dropout.default": unchanged,  # traced in evaluation mode
    "aten._unsafe_view.default": reshape,
    "aten.flatten.using_ints": reshape,
    "aten.leaky_relu.default": leaky_relu,
    "aten.linear.default": linear,
    "aten.max_pool1d.default": max_pool,
    "aten.max_pool2d.default": max_pool,
    "aten.mean.dim": mean,
    "aten.mul.Tensor": _binary("Mul"),
    "aten.relu.default": _elementwise("Relu"),
    "aten.reshape.default": reshape,
    "aten.sigmoid.default": _elementwise("Sigmoid"),
    "aten.softmax.int": softmax,
    "aten.squeeze.dims": reshape,
    "aten.tanh.default": _elementwise("Tanh"),
    "aten.unsqueeze.default": reshape,
    "aten.view.default": reshape,
}
