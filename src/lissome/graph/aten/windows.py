"""Pooling, means and maxima over axes, and resampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lissome.graph.aten.call import Call, Converter, Onnx, Operand, Tensor, Unsupported, axis_of, particular, spread
from lissome.graph.ir import Attribute


def max_pool(call: Call) -> Onnx:
    x, attributes = _window(call)
    attributes["dilations"] = spread(call["dilation"], len(x.shape) - 2)
    return Onnx("MaxPool", (x.name,), particular(attributes))


def average_pool(call: Call) -> Onnx:
    x, attributes = _window(call)
    if call.arguments.get("divisor_override") is not None:
        raise Unsupported("divisor_override has no counterpart")
    if attributes["ceil_mode"]:
        raise Unsupported("ceil_mode: torch and ONNX average the last window differently; pad explicitly instead")
    attributes["count_include_pad"] = int(call["count_include_pad"])
    return Onnx("AveragePool", (x.name,), particular(attributes))


def _window(call: Call) -> tuple[Tensor, dict[str, Attribute]]:
    x = call.activation("self")
    count = len(x.shape) - 2
    kernel = spread(call["kernel_size"], count)
    strides, pads = spread(call["stride"], count) if call["stride"] else kernel, spread(call["padding"], count)
    rooms = [int(e) + 2 * p - k for e, k, p in zip(x.shape[2:], kernel, pads, strict=True)]
    even = "dilation" not in call.arguments and not any(r % s for r, s in zip(rooms, strides, strict=True))
    return x, {
        "kernel_shape": kernel,
        "strides": strides,
        "pads": pads * 2,
        "ceil_mode": int(call["ceil_mode"] and not even),
    }


def adaptive_average_pool(call: Call) -> Onnx | Tensor:
    return _adaptive(call, "AveragePool")


def adaptive_max_pool(call: Call) -> tuple[Operand, ...]:
    made = _adaptive(call, "MaxPool")
    return (made.name if isinstance(made, Tensor) else made,)


def _adaptive(call: Call, op: str) -> Onnx | Tensor:
    """One window, or windows of one size side by side; torch's windows of uneven sizes have no counterpart."""
    x = call.activation("self")
    sizes, outs = x.shape[2:], call.shape[2:]
    if all(out == 1 for out in outs):
        return Onnx(f"Global{op}", (x.name,))
    if sizes == outs:
        return x
    if any(int(size) % int(out) for size, out in zip(sizes, outs, strict=True)):
        raise Unsupported(f"output size {outs} does not divide input size {sizes}: its windows overlap unevenly")
    window = tuple(int(size) // int(out) for size, out in zip(sizes, outs, strict=True))
    return Onnx(op, (x.name,), particular({"kernel_shape": window, "strides": window}))


def _reduction(op: str, global_pool: str = "") -> Converter:
    """A reduction; `global_pool`, the operator for all spatial axes of a feature map."""

    def convert(call: Call) -> Onnx:
        x = call.activation("self")
        given = call["dim"]
        axes = sorted(axis_of(x, axis) for axis in ([given] if isinstance(given, int) else given or ()))
        if not axes:
            raise Unsupported("it runs over the batch")
        if global_pool and len(x.shape) in (3, 4) and axes == list(range(2, len(x.shape))):
            pooled = Onnx(global_pool, (x.name,))
            return pooled if call["keepdim"] else Onnx("Flatten", (pooled,), {"axis": 1})
        return Onnx(op, (x.name,), {"axes": tuple(axes), "keepdims": int(call["keepdim"])})

    return convert


def maximum_along(call: Call) -> tuple[Operand, ...]:
    return (Onnx("ReduceMax", (call.activation("self").name,), _one_axis(call)),)


def _one_axis(call: Call) -> dict[str, Attribute]:
    return {"axes": (axis_of(call.activation("self"), int(call["dim"])),), "keepdims": int(call["keepdim"])}


def _resample(mode: str, **attributes: Attribute) -> Converter:
    def convert(call: Call) -> Onnx:
        x = call.activation("input")
        axes = tuple(range(2, len(x.shape)))
        given: dict[str, Attribute] = {"mode": mode, "axes": axes, **attributes}
        if mode != "nearest":
            given["coordinate_transformation_mode"] = "align_corners" if call["align_corners"] else "half_pixel"
        if call["output_size"] is None and not call.arguments.get("align_corners"):
            given["scales"] = tuple(float(scale) for scale in call["scale_factors"])
        else:
            given["sizes"] = tuple(int(extent) for extent in call.shape[2:])
        return Onnx("Resize", (x.name,), given)

    return convert


_nearest: Final = _resample("nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
_linear: Final = _resample("linear")

OPERATORS: Final[Mapping[str, Converter]] = {
    "aten.adaptive_avg_pool1d.default": adaptive_average_pool,
    "aten.adaptive_avg_pool2d.default": adaptive_average_pool,
    "aten.adaptive_max_pool1d.default": adaptive_max_pool,
    "aten.adaptive_max_pool2d.default": adaptive_max_pool,
    "aten.amax.default": _reduction("ReduceMax", "GlobalMaxPool"),
    "aten.amin.default": _reduction("ReduceMin"),
    "aten.avg_pool1d.default": average_pool,
    "aten.avg_pool2d.default": average_pool,
    "aten.max.dim": maximum_along,
    "aten.max_pool1d.default": max_pool,
    "aten.max_pool2d.default": max_pool,
    "aten.mean.dim": _reduction("ReduceMean", "GlobalAveragePool"),
    "aten.prod.dim_int": _reduction("ReduceProd"),
    "aten.sum.dim_IntList": _reduction("ReduceSum"),
    "aten.upsample_bicubic2d.vec": _resample("cubic", cubic_coeff_a=-0.75),
    "aten.upsample_bilinear2d.vec": _linear,
    "aten.upsample_linear1d.vec": _linear,
    "aten.upsample_nearest1d.vec": _nearest,
    "aten.upsample_nearest2d.vec": _nearest,
}
