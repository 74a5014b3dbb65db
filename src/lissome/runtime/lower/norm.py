"""Batch normalisation that could not be folded, and softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.native import native
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def batch_norm(planner: Planner, node: Node) -> None:
    """BatchNormalization: one scale and one shift a channel."""
    planner.require_weights(node)
    scale, offset, mean, variance = (
        planner.net.weights[name].to_dense().astype(np.float64) for name in node.inputs[1:]
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + shapes.epsilon(node))
    shift = offset - mean * factor
    shape, block = planner.shape(node.inputs[0]), planner.block(node.inputs[0])
    if block > 1:
        _by_depthwise(planner, node, factor.astype(np.float32), shift.astype(np.float32))
        return
    packed = planner.packed((node.outputs[0], "affine"), lambda: kernels.pack_affine(factor, shift))
    parts = (shape[0], shape[1], math.prod(shape[2:]))
    kernel = f"affine_f32_{planner.isa}"
    ends = (node.inputs[:1], node.outputs)
    planner.add(Step((node.name,), node.op, kernel, "per channel", *ends, parts, weights=packed))


def _by_depthwise(planner: Planner, node: Node, factor: NDArray[np.float32], shift: NDArray[np.float32]) -> None:
    """On blocks of channels, a scale and a shift a channel are a depthwise convolution of one weight."""
    n, c, *image = planner.shape(node.inputs[0])
    shape, block = ConvShape(n, c, 1, math.prod(image), c, 1, 1, c), planner.block(node.inputs[0])
    packed = planner.packed(
        (node.outputs[0], "depthwise"), lambda: native.pack_blocks(factor, shape.values(), block, block, 1, True)
    )
    planner.set_block(node.outputs[0], block)
    kernel, ends = f"conv_f32_depthwise_{planner.isa}", (node.inputs[:1], node.outputs)
    planner.add(Step((node.name,), node.op, kernel, "per channel", *ends, shape.values(), weights=packed, bias=shift))


def softmax(planner: Planner, node: Node) -> None:
    """Softmax along one axis."""
    shape = planner.shape(node.inputs[0])
    axis = shapes.softmax_axis(node, shape)
    parts = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    kernel = f"softmax_f32_{planner.isa}"
    x = planner.in_layout(node.inputs[0], 1)
    planner.add(Step((node.name,), node.op, kernel, f"axis {axis}", (x,), node.outputs, parts))
