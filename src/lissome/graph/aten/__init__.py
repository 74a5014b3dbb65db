"""What torch's operators are called in ONNX: one small function an operator, a family a file.

Works on names, shapes and plain arguments, so it needs no torch; trace.py brings them. A converter returns an
expression of ONNX operators, a tuple of them where torch's operator has several results, or one of its argument tensors
when the operator changes nothing; or it raises `Unsupported` with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lissome.graph.aten import elementwise, layers, movement, quantization, recurrent, windows
from lissome.graph.aten.call import Call, Converter, Derived, Onnx, Operand, Output, Tensor, Unsupported

__all__ = ["OPERATORS", "Call", "Converter", "Derived", "Onnx", "Operand", "Output", "Tensor", "Unsupported"]

OPERATORS: Final[Mapping[str, Converter]] = {
    **elementwise.OPERATORS,
    **layers.OPERATORS,
    **movement.OPERATORS,
    **quantization.OPERATORS,
    **recurrent.OPERATORS,
    **windows.OPERATORS,
}
