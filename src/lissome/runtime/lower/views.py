"""Operators that only change how memory is read: their output is a view of their input."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lissome.graph.ir import Node

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


def reshape(planner: Planner, node: Node) -> None:
    """Flatten, Identity and Reshape."""
    planner.view(node.outputs[0], planner.in_layout(node.inputs[0], 1))
