"""Linear layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lissome.errors import UnsupportedShape
from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def gemm(planner: Planner, node: Node) -> None:
    """Gemm, and MatMul with a weight; sparse or dense by how many weights are left."""
    planner.require_weights(node)
    weight = planner.net.weights[node.inputs[1]]
    shape = shapes.gemm_shape(node, planner.shape(node.inputs[0]), weight.shape)
    transposed = shapes.weight_is_transposed(node)
    choice = kernels.choose_gemm(shape, planner.density(node.inputs[1]), planner.isa)
    key = (node.inputs[1], transposed, "sell" if choice.sparse else choice.kernel)
    packed = planner.packed(key, lambda: kernels.pack_gemm(weight, shape, choice, transposed=transposed))
    bias = kernels.to_vector(planner.net.weights[node.inputs[2]]) if len(node.inputs) > 2 and node.inputs[2] else None
    if bias is not None and bias.size != shape.n:
        raise UnsupportedShape(f"node {node.name!r} ({node.op}): a bias of {bias.size} values for {shape.n} outputs")
    work = int(shape.macs * planner.density(node.inputs[1])) if choice.sparse else shape.macs
    ends, values = ((planner.in_layout(node.inputs[0], 1),), node.outputs), shape.values()
    planner.add(Step((node.name,), node.op, choice.kernel, choice.why, *ends, values, (), packed, bias, work=work))
