"""Layers with weights and pooling: paddings are written out, Gemm becomes plain, the LSTM's layout 0."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from lissome.graph.ir import Attribute
from lissome.interchange.onnx.call import Call, Unsupported

_DEFAULTS: Final = {"strides": 1, "pads": 0, "dilations": 1, "group": 1, "ceil_mode": 0, "output_padding": 0}
_GATES: Final = ("Sigmoid", "Tanh", "Tanh")


def _window(call: Call, kernel: tuple[int, ...], *more: str) -> dict[str, Attribute]:
    """Attributes of a window without those at their defaults, auto_pad resolved for the input's extents."""
    found: dict[str, Attribute] = {"kernel_shape": kernel, **call.kept("strides", "dilations", "pads", *more)}
    auto, rank = call.attributes.get("auto_pad", "NOTSET"), len(kernel)
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        strides, dilations = _per_axis(call, "strides", rank), _per_axis(call, "dilations", rank)
        totals = [
            max(0, (-(-size // stride) - 1) * stride + dilation * (extent - 1) + 1 - size)
            for size, extent, stride, dilation in zip(call.shape()[2:], kernel, strides, dilations, strict=True)
        ]
        found["pads"] = _halved(totals, upper=auto == "SAME_UPPER")
    elif auto == "VALID":
        found.pop("pads", None)
    elif auto != "NOTSET":
        raise Unsupported(f"auto_pad {auto[:40]!r}")
    return _particular(found)


def _per_axis(call: Call, name: str, rank: int) -> tuple[int, ...]:
    value = call.attributes.get(name, (1,) * rank)
    if len(value) != rank or min(value) < 1:
        raise Unsupported(f"{name} {value} for {rank} axes")
    return tuple(value)


def _halved(totals: list[int], *, upper: bool) -> tuple[int, ...]:
    """Begins, then ends; the odd element at the end when `upper`."""
    small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return (*small, *large) if upper else (*large, *small)


def _particular(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes without those at ONNX's default: a graph says only what is particular."""
    return {
        name: value
        for name, value in attributes.items()
        if name not in _DEFAULTS
        or any(item != _DEFAULTS[name] for item in (value if isinstance(value, tuple) else (value,)))
    }


def _conv(call: Call) -> None:
    kernel = call.attributes.get("kernel_shape", call.shape(1)[2:])
    call.add("Conv", *(call.operand(i) for i in range(3)), **_window(call, kernel, "group"))


def _conv_transpose(call: Call) -> None:
    """Its auto_pad and output_shape say the padding by the size of the result."""
    rank, size = len(call.shape()) - 2, call.shape()[2:]
    kernel, a = call.attributes.get("kernel_shape", call.shape(1)[2:]), call.attributes
    strides, dilations = _per_axis(call, "strides", rank), _per_axis(call, "dilations", rank)
    extra = list(a.get("output_padding", (0,) * rank))
    auto, wanted = a.get("auto_pad", "NOTSET"), a.get("output_shape")
    found = {"kernel_shape": tuple(kernel), **call.kept("strides", "dilations", "pads", "group")}
    if auto in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
        wanted = tuple(extent * stride for extent, stride in zip(size, strides, strict=True))
    if wanted is not None:
        totals = []
        for i, (extent, window, stride, dilation) in enumerate(zip(size, kernel, strides, dilations, strict=True)):
            total = stride * (extent - 1) + extra[i] + (window - 1) * dilation + 1 - wanted[-rank:][i]
            extra[i] += max(0, -total)  # a result larger than all windows: the rest is behind them
            totals.append(max(0, total))
        found["pads"] = _halved(totals, upper=auto == "SAME_UPPER")
    found["output_padding"] = tuple(extra)
    call.add("ConvTranspose", *(call.operand(i) for i in range(3)), **_particular(found))


def _pool(call: Call) -> None:
    call.only()
    kernel = call.attributes.get("kernel_shape", ())
    if not kernel:
        raise Unsupported("without kernel_shape")
    more = ("ceil_mode", "count_include_pad") if call.op == "AveragePool" else ("ceil_mode",)
    call.add(call.op, call.operand(0), **_window(call, kernel, *more))


def _global_pool(call: Call) -> None:
    call.add(call.op, call.operand(0))


def _gemm(call: Call) -> None:
    """Alpha, beta and a transposed input go where they cost nothing, a bias that is no vector behind the product."""
    alpha, beta = float(call.attributes.get("alpha", 1.0)), float(call.attributes.get("beta", 1.0))
    x, w, bias = (call.operand(i) for i in range(3))
    outputs = call.shape(1)[0 if call.attributes.get("transB", 0) else -1] if len(call.shape(1)) == 2 else 0
    if call.attributes.get("transA", 0):
        x = call.before("Transpose", x, perm=(1, 0))
    if alpha != 1:
        w = _scaled(call, w, alpha)
    if bias and beta != 1:
        bias = _scaled(call, bias, beta)
    attributes: dict[str, Attribute] = {"transB": 1} if call.attributes.get("transB", 0) else {}
    shape = call.walk.shapes[bias] if bias else ()
    if bias in call.walk.values and (len(shape) < 2 or (len(shape) == 2 and shape[0] == 1)):
        if shape != (outputs,) and shape[-1:] in ((), (1,), (outputs,)):
            value = np.broadcast_to(call.walk.values[bias].reshape(-1), (outputs,))
            bias = call.constant(f"{bias}.vector", value)
    elif bias:
        product = call.before("Gemm", x, w, stem="product", **attributes)
        call.add("Add", product, bias)
        return
    call.add("Gemm", x, w, bias, **attributes)


def _scaled(call: Call, name: str, factor: float) -> str:
    """The tensor times a number: at once for a constant, else by a node."""
    if name in call.walk.values:
        value = call.walk.values[name].astype(np.float64) * np.float32(factor)
        return call.constant(f"{name}.scaled", value.astype(np.float32))
    return call.before("Mul", name, call.constant(f"{call.name}.factor", np.array(factor, np.float32)))


def _matmul(call: Call) -> None:
    call.add("MatMul", call.operand(0), call.operand(1))


def _lstm(call: Call) -> None:
    """Layout 1 becomes layout 0 between transpositions; states of zeros and full lengths are dropped."""
    a, x = call.attributes, call.operand(0)
    directions = 2 if a.get("direction", "forward") == "bidirectional" else 1
    if tuple(name.capitalize() for name in a.get("activations", _GATES * directions)) != _GATES * directions:
        raise Unsupported("with other activations than Sigmoid, Tanh, Tanh")
    if a.get("input_forget", 0) or a.get("clip", 0.0):
        raise Unsupported("with input_forget or clip")
    batch_first = a.get("layout", 0) == 1
    shape = call.shape()
    lengths = call.ints(4, "sequence_lens")
    if lengths is not None and any(length != shape[1 if batch_first else 0] for length in lengths):
        raise Unsupported("with sequences of different lengths")
    states = [_state(call, index, batch_first=batch_first) for index in (5, 6)]
    inputs = (x, *(call.operand(i) for i in (1, 2, 3)), "", *states, call.operand(7))
    attributes: dict[str, Attribute] = {**call.kept("direction", "hidden_size")}
    if not batch_first:
        call.add_all("LSTM", *inputs, outputs=max(1, len(call.outputs)), **attributes)
        return
    x = call.before("Transpose", x, perm=(1, 0, 2))
    made = tuple(call.walk.fresh(f"{call.name}.{part}") for part in ("Y", "Y_h", "Y_c"))
    call.walk.emit("LSTM", f"{call.name}.lstm", (x, *inputs[1:]), made, attributes)
    for inner, outer, perm in zip(made, call.outputs, ((2, 0, 1, 3), (1, 0, 2), (1, 0, 2)), strict=False):
        if outer:
            call.walk.emit("Transpose", f"{call.name}.{outer}", (inner,), (outer,), {"perm": perm})


def _state(call: Call, index: int, *, batch_first: bool) -> str:
    name = call.operand(index)
    if name in call.walk.values and not np.any(call.walk.values[name]):
        return ""
    return call.before("Transpose", name, perm=(1, 0, 2)) if name and batch_first else name


LAYERS: Final[Mapping[str, Callable[[Call], None]]] = {
    "AveragePool": _pool,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "LSTM": _lstm,
    "MatMul": _matmul,
    "MaxPool": _pool,
}
