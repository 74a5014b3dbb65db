"""Batch normalisation that could not be folded, and softmax."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
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
    packed = planner.packed((node.outputs[0], "affine"), lambda: kernels.pack_affine(factor, shift))
    shape = planner.shape(node.inputs[0])
    parts = (shape[0], shape[1], math.prod(shape[2:]))
    kernel = f"affine_f32_{planner.isa}"
    ends = (node.inputs[:1], node.outputs)
    planner.add(Step((node.name,), node.op, kernel, "per channel", *ends, parts, weights=packed))


def softmax(planner: Planner, node: Node) -> None:
    """Softmax along one axis."""
    shape = planner.shape(node.inputs[0])
    axis = shapes.softmax_axis(node, shape)
    parts = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    kernel = f"softmax_f32_{planner.isa}"
    planner.add(Step((node.name,), node.op, kernel, f"axis {axis}", node.inputs, node.outputs, parts))
