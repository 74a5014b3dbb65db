"""Convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def conv(planner: Planner, node: Node) -> None:
    """Conv, sparse or dense by how many weights are left."""
    planner.require_weights(node)
    weight = planner.net.weights[node.inputs[1]]
    shape = shapes.conv_shape(node, planner.shape(node.inputs[0]), weight.shape)
    choice = kernels.choose_conv(shape, planner.density(node.inputs[1]), planner.isa)
    key = (node.inputs[1], choice.kernel, replace(shape, n=1))
    packed = planner.packed(key, lambda: kernels.pack_conv(weight, shape, choice))
    bias = kernels.to_vector(planner.net.weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
    work = int(shape.macs * planner.density(node.inputs[1])) if choice.sparse else shape.macs
    ends, values = ((node.inputs[0],), node.outputs), shape.values()
    planner.add(Step((node.name,), node.op, choice.kernel, choice.why, *ends, values, (), packed, bias, work=work))
