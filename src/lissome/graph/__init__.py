"""The graph: what is computed, apart from the weights it is computed with."""

from lissome.graph.ir import Graph, Node, TensorSpec

__all__ = ["Graph", "Node", "TensorSpec"]
