"""How each operator of a graph becomes kernel calls: one family a file, one line an operator here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from lissome.errors import UnsupportedShape
from lissome.graph import shapes
from lissome.graph.ir import Graph, Node
from lissome.runtime.lower import conv, elementwise, gemm, norm, pool, views

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

Lowering: TypeAlias = "Callable[[Planner, Node], None]"

OPERATORS: Final[Mapping[str, Lowering]] = {
    "Add": elementwise.add,
    "AveragePool": pool.pool,
    "BatchNormalization": norm.batch_norm,
    "Conv": conv.conv,
    "Flatten": views.reshape,
    "Gemm": gemm.gemm,
    "GlobalAveragePool": pool.pool,
    "Identity": views.reshape,
    "LeakyRelu": elementwise.leaky_relu,
    "MatMul": gemm.gemm,
    "MaxPool": pool.pool,
    "Mul": elementwise.multiply,
    "Relu": elementwise.relu,
    "Reshape": views.reshape,
    "Sigmoid": elementwise.function,
    "Softmax": norm.softmax,
    "Tanh": elementwise.function,
}


def refuse_unmatched(graph: Graph, wanted: Mapping[str, str]) -> None:
    """Raise UnsupportedShape for an algorithm that is asked for where there is no convolution of that name."""
    convolutions = [node.name for node in graph.nodes if node.op == "Conv"]
    if unmatched := sorted(set(wanted) - set(convolutions)):
        raise UnsupportedShape(f"kernels names {unmatched}, but the convolutions are {convolutions}")


def refuse_unknown(graph: Graph) -> None:
    """Raise one UnsupportedShape that lists every node whose operator the engine does not have."""
    shapes.refuse_unknown(graph, OPERATORS, "the engine")
