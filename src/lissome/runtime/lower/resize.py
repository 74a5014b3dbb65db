"""Resize, one axis after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lissome.graph import attributes
from lissome.graph.ir import Node
from lissome.graph.rules import resize as rules
from lissome.runtime.lower.movement import Axis, select_along
from lissome.runtime.native import native
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def resize(planner: Planner, node: Node) -> None:
    """Resize: a selection along each axis where one element makes each output, else a weighted sum of neighbours."""
    x, shape = planner.in_layout(node.inputs[0], 1), planner.shape(node.inputs[0])
    sampled = [(along.axis, rules.taps(node, along)) for along in rules.sampled(node, shape)]
    sampled = [(axis, taps) for axis, taps in sampled if not _same(taps, shape[axis])]
    if not sampled:
        planner.view(node.outputs[0], x)
    for number, (axis, taps) in enumerate(sampled):
        made = (*shape[:axis], len(taps.inside), *shape[axis + 1 :])
        y = node.outputs[0] if number == len(sampled) - 1 else planner.tensor(node.name, made)
        _sample(planner, node, (x, y), Axis(shape, axis, attributes.real(node, "extrapolation_value", 0.0)), taps)
        x, shape = y, made


def _same(taps: rules.Taps, extent: int) -> bool:
    """Whether an axis stays as it is."""
    used = taps.weights != 0
    one = (used.sum(1) == 1).all() and (taps.weights[used] == 1).all() and taps.inside.all()
    return bool(one) and np.array_equal(taps.indices[used], np.arange(extent))


def _sample(planner: Planner, node: Node, ends: tuple[str, str], where: Axis, taps: rules.Taps) -> None:
    indices = np.where(taps.inside[:, None], taps.indices, -1)
    made, count = indices.shape
    if count == 1:
        select_along(planner, node, ends, where, indices[:, 0])
        return
    weights = taps.weights.T.astype(np.float32).reshape(-1)
    packed = native.pack_weighted(np.ascontiguousarray(indices.T).reshape(-1), weights, count, where.extent)
    ints = (*where.around, made, count, where.extent)
    kernel, why = f"resample_f32_{planner.isa}", f"{count} neighbours along axis {where.axis}"
    planner.add(Step((node.name,), node.op, kernel, why, ends[:1], ends[1:], ints, (where.outside,), packed))
