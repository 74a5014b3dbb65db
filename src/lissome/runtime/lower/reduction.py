"""Operators that make one value of many: reductions, global pooling, softmax, normalisations over axes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from lissome.graph import attributes, shapes
from lissome.graph.ir import Node
from lissome.graph.rules.reduction import reduced_axes
from lissome.graph.rules.windows import lrn_size
from lissome.runtime import kernels
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

REDUCTIONS: Final = {
    "GlobalAveragePool": "mean",
    "GlobalMaxPool": "max",
    "ReduceMax": "max",
    "ReduceMean": "mean",
    "ReduceMin": "min",
    "ReduceProd": "product",
    "ReduceSum": "sum",
}


def reduce(planner: Planner, node: Node) -> None:
    """A reduction over some axes: neighbouring ones at once, the last ones first."""
    shape = planner.shape(node.inputs[0])
    axes = tuple(range(2, len(shape))) if node.op.startswith("Global") else reduced_axes(node, shape)
    axes = tuple(axis for axis in axes if shape[axis] > 1)
    x, y, block = node.inputs[0], node.outputs[0], planner.block(node.inputs[0])
    if block > 1 and (1 in axes or 0 in axes or len(planner.shape(y)) < 2):
        x, block = planner.in_layout(x, 1), 1
    same_bytes = math.prod(planner.shape(y)[2:]) == 1 and shape[1] % block == 0 if block > 1 else True
    planner.set_block(y, 1 if same_bytes else block)
    extents = planner.memory_extents(x)
    runs = _runs(axes)
    if not runs:
        planner.view(y, x)
    for number, (first, last) in enumerate(reversed(runs)):
        parts = math.prod(extents[:first]), math.prod(extents[first:last]), math.prod(extents[last:])
        made = y if number == len(runs) - 1 else planner.fresh(node.name, parts[0] * parts[2])
        kernel, why = f"reduce_f32_{REDUCTIONS[node.op]}_{planner.isa}", f"{parts[1]} at once"
        planner.add(Step((node.name,), node.op, kernel, why, (x,), (made,), parts))
        x, extents = made, (*extents[:first], *(1,) * (last - first), *extents[last:])


def _runs(axes: tuple[int, ...]) -> list[tuple[int, int]]:
    """Neighbouring axes as (first, last + 1)."""
    runs: list[tuple[int, int]] = []
    for axis in sorted(axes):
        if runs and runs[-1][1] == axis:
            runs[-1] = (runs[-1][0], axis + 1)
        else:
            runs.append((axis, axis + 1))
    return runs


def softmax(planner: Planner, node: Node) -> None:
    """Softmax and LogSoftmax along one axis."""
    shape = planner.shape(node.inputs[0])
    axis = shapes.softmax_axis(node, shape)
    parts = (math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :]))
    kernel = f"{'log_' if node.op == 'LogSoftmax' else ''}softmax_f32_{planner.isa}"
    x = (planner.in_layout(node.inputs[0], 1),)
    planner.add(Step((node.name,), node.op, kernel, f"axis {axis}", x, node.outputs, parts))


def layer_norm(planner: Planner, node: Node) -> None:
    """LayerNormalization over the last axes."""
    planner.require_weights(node)
    shape = planner.shape(node.inputs[0])
    axis = attributes.axis(node, "axis", -1, len(shape))
    given = [planner.net.weights[name].to_dense().astype(np.float64) for name in node.inputs[1:] if name]
    scale, offset = (np.broadcast_to(value, shape[axis:]).reshape(-1) for value in [*given, np.zeros(1)][:2])
    packed = planner.packed((node.outputs[0], "layer norm"), lambda: kernels.pack_affine(scale, offset))
    ints = (math.prod(shape[:axis]), math.prod(shape[axis:]))
    kernel, why = f"layer_norm_f32_{planner.isa}", f"rows of {ints[1]}"
    x = (planner.in_layout(node.inputs[0], 1),)
    planner.add(Step((node.name,), node.op, kernel, why, x, node.outputs, ints, (shapes.epsilon(node),), packed))


def lrn(planner: Planner, node: Node) -> None:
    """LRN across channels, in the layout that the input has."""
    shape, x = planner.shape(node.inputs[0]), node.inputs[0]
    blocked = planner.block(x) > 1
    planner.set_block(node.outputs[0], planner.block(x))
    ints = (shape[0], shape[1], math.prod(shape[2:]), lrn_size(node))
    given = (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    floats = tuple(attributes.real(node, name, default) for name, default in given)
    kernel, why = f"lrn_f32{'_blocked' if blocked else ''}_{planner.isa}", f"{ints[3]} channels"
    planner.add(Step((node.name,), node.op, kernel, why, (x,), node.outputs, ints, floats))
