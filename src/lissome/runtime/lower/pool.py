"""Pooling."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lissome.graph import shapes
from lissome.graph.ir import Node
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def pool(planner: Planner, node: Node) -> None:
    """MaxPool, AveragePool and GlobalAveragePool, in the layout that the input has."""
    shape = shapes.pool_shape(node, planner.shape(node.inputs[0]))
    block = planner.block(node.inputs[0])
    planner.set_block(node.outputs[0], block)
    layout = "_blocks" if block > 1 else ""
    kernel = f"pool_f32_{'max' if node.op == 'MaxPool' else 'average'}{layout}_{planner.isa}"
    why = f"{shape.r}x{shape.s} window"
    planner.add(Step((node.name,), node.op, kernel, why, node.inputs, node.outputs, shape.values()))
