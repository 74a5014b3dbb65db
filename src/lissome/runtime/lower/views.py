"""Operators that only change how memory is read: their output is a view of their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lissome.graph.ir import Node

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def identity(planner: Planner, node: Node) -> None:
    """Identity: the same tensor in the same layout."""
    planner.set_block(node.outputs[0], planner.block(node.inputs[0]))
    planner.view(node.outputs[0], node.inputs[0])


def reshape(planner: Planner, node: Node) -> None:
    """Flatten, Reshape, Squeeze and Unsqueeze: the same elements in the same order."""
    planner.view(node.outputs[0], planner.in_layout(node.inputs[0], 1))
