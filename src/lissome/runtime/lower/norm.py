"""Batch normalisation that could not be folded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def batch_norm(planner: Planner, node: Node) -> None:
    """BatchNormalization: one scale and one shift a channel, in the layout that the input has."""
    planner.require_weights(node)
    factor, shift = affine(planner, node)
    packed = planner.packed((node.outputs[0], "affine"), lambda: kernels.pack_affine(factor, shift))
    shape, block = planner.shape(node.inputs[0]), planner.block(node.inputs[0])
    planner.set_block(node.outputs[0], block)
    parts = (shape[0], shape[1], math.prod(shape[2:]))
    kernel = f"affine_f32{'_blocked' if block > 1 else ''}_{planner.isa}"
    ends = (node.inputs[:1], node.outputs)
    planner.add(Step((node.name,), node.op, kernel, "per channel", *ends, parts, weights=packed))


def affine(planner: Planner, node: Node) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scale and shift of each channel that a BatchNormalization comes to."""
    scale, offset, mean, variance = (
        planner.net.weights[name].to_dense().astype(np.float64) for name in node.inputs[1:]
    )
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + shapes.epsilon(node))
        return factor, offset - mean * factor
