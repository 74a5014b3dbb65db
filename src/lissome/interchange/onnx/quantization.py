"""QuantizeLinear and DequantizeLinear of tensors that are computed, and of weights in networks on codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto

from lissome.interchange.onnx import files
from lissome.interchange.onnx.call import Call, Unsupported

if TYPE_CHECKING:
    from lissome.interchange.onnx.translate import Translation

OUTPUT_TYPES: Final = {0: "uint8", TensorProto.UINT8: "uint8", TensorProto.INT8: "int8"}


def computes_on_codes(graph: GraphProto) -> bool:
    """Whether some tensor that is computed becomes codes: then weights of codes stay such, too."""
    known = {tensor.name for tensor in graph.initializer}
    return any(node.op_type == "QuantizeLinear" and node.input[0] not in known for node in graph.node)


def keep_codes(walk: Translation, node: NodeProto, attributes: Mapping[str, Any]) -> bool:
    """A weight of int8 codes, with one scale or one a slice and the zero at 0, as its codes behind a node of the graph.

    Says whether the node was such.
    """
    codes, scale = (walk.values[name] for name in node.input[:2])
    zero = walk.values[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    fits = codes.dtype == np.int8 and codes.ndim >= 2 and scale.dtype == np.float32 and scale.ndim <= 1
    if not walk.on_codes or not fits or attributes.get("block_size", 0) or (zero is not None and np.any(zero)):
        return False
    axis = attributes.get("axis", 1) % codes.ndim
    if scale.size not in (1, codes.shape[axis]):
        return False
    every, places = np.unique(codes, return_inverse=True)
    name = walk.fresh(f"{node.input[0]}.codes")
    walk.know(name, codes.astype(np.float32))
    walk.coded[name] = places.reshape(codes.shape), every.astype(np.float32)
    operands = (name, node.input[1])
    walk.emit("DequantizeLinear", files.label(node), operands, (node.output[0],), {"axis": axis, "dtype": "int8"})
    return True


def _codes(call: Call) -> tuple[str, int]:
    """Type and zero point of a tensor's codes, which have one scale."""
    scale, zero = call.value(1, "scale"), call.value(2, "zero point")
    if scale is None or scale.size != 1 or scale.dtype != np.float32:
        raise Unsupported("at run time, with more than one scale or one that is not float32")
    named = OUTPUT_TYPES.get(call.attributes.get("output_dtype", 0), "another")
    dtype = named if zero is None else str(zero.dtype)
    if dtype not in ("uint8", "int8"):
        raise Unsupported("at run time, with codes that are neither uint8 nor int8")
    return dtype, 0 if zero is None else int(zero.reshape(-1)[0])


def _quantize(call: Call) -> None:
    dtype, zero = _codes(call)
    call.add("QuantizeLinear", call.operand(0), call.operand(1), dtype=dtype, zero_point=zero)
    call.walk.of_codes[call.outputs[0]] = dtype


def _dequantize(call: Call) -> None:
    scale = call.value(1, "scale")
    dtype, zero = call.walk.of_codes.get(call.operand(0)), call.value(2, "zero point")
    if dtype is None or scale is None or scale.size != 1 or scale.dtype != np.float32:
        raise Unsupported("at run time, of codes that no QuantizeLinear has made, or with more than one scale")
    first = 0 if zero is None else int(zero.reshape(-1)[0])
    call.add("DequantizeLinear", call.operand(0), call.operand(1), dtype=dtype, zero_point=first)


QUANTIZATION: Final = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
