"""Layers with weights, normalisations and matrix products."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from lissome.graph.aten.call import Call, Converter, Onnx, Operand, Tensor, Unsupported, axis_of, particular, spread
from lissome.graph.ir import Attribute


def linear(call: Call) -> Onnx:
    """Gemm; where the features are the last of several axes, the others become one around it."""
    x = call.activation("input")
    weights = call.weights("weight", "bias")
    if len(x.shape) == 2:
        return Onnx("Gemm", (x.name, *weights), {"transB": 1})
    axis_of(x, -1)
    rows = Onnx("Reshape", (x.name,), {"shape": (-1, int(x.shape[-1]))})
    product = Onnx("Gemm", (rows, *weights), {"transB": 1})
    return Onnx("Reshape", (product,), {"shape": tuple(-1 if e == "N" else int(e) for e in call.shape)})


def convolution(call: Call) -> Onnx:
    x, kernel = call.activation("input"), call["weight"].shape[2:]
    dilation = spread(call["dilation"], len(kernel))
    attributes = _window(call, x, kernel, _padding(call["padding"], kernel, dilation))
    return Onnx("Conv", (x.name, *call.weights("weight", "bias")), particular(attributes))


def transposed_convolution(call: Call) -> Onnx:
    x, kernel = call.activation("input"), call["weight"].shape[2:]
    attributes = _window(call, x, kernel, spread(call["padding"], len(kernel)) * 2)
    attributes["output_padding"] = spread(call["output_padding"], len(kernel))
    return Onnx("ConvTranspose", (x.name, *call.weights("weight", "bias")), particular(attributes))


def _window(call: Call, x: Tensor, kernel: Sequence[int], pads: tuple[int, ...]) -> dict[str, Attribute]:
    if len(x.shape) != len(kernel) + 2:
        raise Unsupported(f"its input has shape {x.shape}; a batch of {len(kernel)}-dimensional images is needed")
    return {
        "kernel_shape": tuple(kernel),
        "strides": spread(call["stride"], len(kernel)),
        "pads": pads,
        "dilations": spread(call["dilation"], len(kernel)),
        "group": int(call["groups"]),
    }


def _padding(padding: Any, kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """ONNX order: all begins, then all ends. "same" puts the odd pixel at the end, as torch does."""
    if padding == "same":
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return (*(t // 2 for t in total), *(t - t // 2 for t in total))
    return spread(0 if padding == "valid" else padding, len(kernel)) * 2


def batch_norm(call: Call) -> tuple[Operand, ...]:
    return (_batch_norm(call),)


def _batch_norm(call: Call) -> Onnx:
    if any(call[name] is None for name in ("weight", "bias", "running_mean", "running_var")):
        raise Unsupported("it has no scale, offset or running statistics (affine or track_running_stats is off)")
    weights = call.weights("weight", "bias", "running_mean", "running_var")
    x = call.activation("input")
    return Onnx("BatchNormalization", (x.name, *weights), {"epsilon": float(call["eps"])})


def whole_batch_norm(call: Call) -> Onnx:
    """The same as torch.nn calls it."""
    if call["training"]:
        raise Unsupported("it uses the batch's own statistics (track_running_stats is off)")
    return _batch_norm(call)


def layer_norm(call: Call) -> Onnx:
    x, count = call.activation("input"), len(call["normalized_shape"])
    if "N" in x.shape[len(x.shape) - count :]:
        raise Unsupported("it runs over the batch")
    scale: tuple[Operand, ...] = (1.0,) if call["weight"] is None else call.weights("weight")
    offset = () if call["bias"] is None else call.weights("bias")
    attributes: dict[str, Attribute] = {"axis": -count, "epsilon": float(call["eps"])}
    return Onnx("LayerNormalization", (x.name, *scale, *offset), attributes)


def product(call: Call) -> Onnx:
    arguments = [v for v in call.arguments.values() if isinstance(v, Tensor)]
    if any(len(x.shape) < 2 for x in arguments):
        raise Unsupported("a product with a vector; give it a second axis")
    return Onnx("MatMul", tuple(x.name for x in arguments))


def attention(call: Call) -> Onnx:
    """softmax(q · kᵀ · scale) · v."""
    if call["attn_mask"] is not None or call["is_causal"] or call["dropout_p"] or call["enable_gqa"]:
        raise Unsupported("only plain attention is supported: no mask, no dropout, as many keys' heads as queries'")
    query, key, value = (call.activation(name) for name in ("query", "key", "value"))
    rank = len(key.shape)
    scale = call["scale"] if call["scale"] is not None else 1 / math.sqrt(int(query.shape[-1]))
    turned = Onnx("Transpose", (key.name,), {"perm": (*range(rank - 2), rank - 1, rank - 2)})
    scores = Onnx("Mul", (Onnx("MatMul", (query.name, turned)), float(scale)))
    return Onnx("MatMul", (Onnx("Softmax", (scores,), {"axis": rank - 1}), value.name))


OPERATORS: Final[Mapping[str, Converter]] = {
    "aten._native_batch_norm_legit_no_training.default": batch_norm,
    "aten.batch_norm.default": whole_batch_norm,
    "aten.bmm.default": product,
    "aten.conv1d.default": convolution,
    "aten.conv1d.padding": convolution,
    "aten.conv2d.default": convolution,
    "aten.conv2d.padding": convolution,
    "aten.conv_transpose1d.default": transposed_convolution,
    "aten.conv_transpose2d.input": transposed_convolution,
    "aten.layer_norm.default": layer_norm,
    "aten.linear.default": linear,
    "aten.matmul.default": product,
    "aten.mm.default": product,
    "aten.scaled_dot_product_attention.default": attention,
}
