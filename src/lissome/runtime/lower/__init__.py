"""How each operator of a graph becomes kernel calls: one family a file, one line an operator here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from lissome.errors import UnsupportedShape
from lissome.graph import shapes
from lissome.graph.ir import Graph, Node
from lissome.runtime.lower import (
    bits,
    codes,
    conv,
    elementwise,
    gemm,
    movement,
    norm,
    pool,
    recurrent,
    reduction,
    resize,
    views,
)

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

Lowering: TypeAlias = "Callable[[Planner, Node], object]"

OPERATORS: Final[Mapping[str, Lowering]] = {
    "Abs": elementwise.function,
    "Add": elementwise.add,
    "AveragePool": pool.pool,
    "BatchNormalization": norm.batch_norm,
    "Binarize": bits.binarize,
    "Ceil": elementwise.function,
    "Clip": elementwise.clip,
    "Concat": movement.concat,
    "Conv": conv.conv,
    "ConvTranspose": conv.conv_transpose,
    "Cos": elementwise.function,
    "DepthToSpace": movement.depth_to_space,
    "DequantizeLinear": codes.dequantize,
    "Div": elementwise.binary,
    "Elu": elementwise.parametric,
    "Erf": elementwise.function,
    "Exp": elementwise.function,
    "Expand": movement.expand,
    "Flatten": views.reshape,
    "Floor": elementwise.function,
    "Gather": movement.gather,
    "Gelu": elementwise.gelu,
    "Gemm": gemm.gemm,
    "GlobalAveragePool": reduction.reduce,
    "GlobalMaxPool": reduction.reduce,
    "HardSigmoid": elementwise.parametric,
    "HardSwish": elementwise.function,
    "Identity": views.identity,
    "LRN": reduction.lrn,
    "LSTM": recurrent.lstm,
    "LayerNormalization": reduction.layer_norm,
    "LeakyRelu": elementwise.leaky_relu,
    "Log": elementwise.function,
    "LogSoftmax": reduction.softmax,
    "MatMul": gemm.matmul,
    "Max": elementwise.binary,
    "MaxPool": pool.pool,
    "Min": elementwise.binary,
    "Mish": elementwise.function,
    "Mul": elementwise.binary,
    "Neg": elementwise.function,
    "PRelu": elementwise.binary,
    "Pad": movement.pad,
    "Pow": elementwise.power,
    "Reciprocal": elementwise.function,
    "QuantizeLinear": codes.quantize,
    "ReduceMax": reduction.reduce,
    "ReduceMean": reduction.reduce,
    "ReduceMin": reduction.reduce,
    "ReduceProd": reduction.reduce,
    "ReduceSum": reduction.reduce,
    "Relu": elementwise.function,
    "Reshape": views.reshape,
    "Resize": resize.resize,
    "Round": elementwise.function,
    "Sigmoid": elementwise.function,
    "Sign": elementwise.function,
    "Sin": elementwise.function,
    "Slice": movement.slices,
    "Softmax": reduction.softmax,
    "Softplus": elementwise.function,
    "Softsign": elementwise.function,
    "SpaceToDepth": movement.space_to_depth,
    "Split": movement.split,
    "Sqrt": elementwise.function,
    "Squeeze": views.reshape,
    "Sub": elementwise.binary,
    "Swish": elementwise.parametric,
    "Tanh": elementwise.function,
    "Tile": movement.tile,
    "Transpose": movement.transpose,
    "Unsqueeze": views.reshape,
}
#: operators whose inputs may be selections that have no memory yet (runtime/selection.py)
SELECTING: Final = ("Concat", "Gather", "Slice", "Split")


def refuse_unmatched(graph: Graph, wanted: Mapping[str, str]) -> None:
    """Raise UnsupportedShape for an algorithm that is asked for where there is no convolution of that name."""
    convolutions = [node.name for node in graph.nodes if node.op == "Conv"]
    if unmatched := sorted(set(wanted) - set(convolutions)):
        raise UnsupportedShape(f"kernels names {unmatched}, but the convolutions are {convolutions}")


def refuse_unknown(graph: Graph) -> None:
    """Raise one UnsupportedShape that lists every node whose operator the engine does not have."""
    shapes.refuse_unknown(graph, OPERATORS, "the engine")
