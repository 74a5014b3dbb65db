"""Activations through codes and back, as networks that were trained or calibrated on codes have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lissome.graph.aten.call import Call, Converter, Onnx, Operand, Unsupported
from lissome.graph.ir import Attribute
from lissome.graph.rules.quantization import CODES


def through_codes(call: Call) -> Onnx:
    """One scale for the tensor. Fewer codes than a byte has are a Clip before it, which gives the same numbers."""
    scale, zero, low, high = float(call["scale"]), int(call["zero"]), int(call["low"]), int(call["high"])
    dtype = next((name for name, (least, most) in CODES.items() if least <= low and high <= most), None)
    if dtype is None:
        raise Unsupported(f"codes from {low} to {high} are neither uint8 nor int8")
    x: Operand = call.activation("x").name
    if (low, high) != CODES[dtype]:
        x = Onnx("Clip", (x,), {"min": (low - zero) * scale, "max": (high - zero) * scale})
    codes: dict[str, Attribute] = {"dtype": dtype, "zero_point": zero}
    return Onnx("DequantizeLinear", (Onnx("QuantizeLinear", (x, scale), codes), scale), codes)


OPERATORS: Final[Mapping[str, Converter]] = {"lissome.through_codes.default": through_codes}
