"""Linear layers, and products of tensors that are both computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lissome.graph import attributes
from lissome.graph.conv_shape import GemmShape, Shape
from lissome.graph.ir import Node
from lissome.runtime import kernels, nest
from lissome.runtime.lower.elementwise import arithmetic
from lissome.runtime.native import native
from lissome.runtime.step import Step
from lissome.weights import CodedWeight, Dense

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner


@dataclass(frozen=True)
class Weight:
    """The weight of a linear layer. transposed: it is (outputs, inputs). bias: one value an output."""

    coded: CodedWeight
    transposed: bool
    bias: NDArray[np.float32] | None = None


def gemm(planner: Planner, node: Node) -> None:
    """Gemm: a linear layer where its second input is a weight, with a bias where it adds one value an output."""
    x, w, addend = (*node.inputs, "")[:3]
    alpha, beta = attributes.real(node, "alpha", 1.0), attributes.real(node, "beta", 1.0)
    turned, transposed = attributes.flag(node, "transA"), attributes.flag(node, "transB")
    (m, n), weights = planner.shape(node.outputs[0]), planner.net.weights
    layer = w in weights and x not in weights and not turned
    biased = layer and addend in weights and weights[addend].shape in ((n,), (1, n), (1, 1), (1,), ())
    y = node.outputs[0] if biased or not addend else planner.tensor(node.name, (m, n))
    if layer:
        bias = np.broadcast_to(weights[addend].to_dense() * np.float32(beta), (1, n)) if biased else None
        vector = None if bias is None else np.ascontiguousarray(bias.reshape(-1), np.float32)
        scaled = weights[w] if alpha == 1 else Dense(weights[w].to_dense() * np.float32(alpha))
        linear(planner, node, (planner.in_layout(x, 1), y), m, Weight(scaled, transposed, vector))
    else:
        product(planner, node, (x, w, y), alpha, (turned, transposed))
    if addend and not biased:
        _add(planner, node, y, addend, beta)


def _add(planner: Planner, node: Node, y: str, addend: str, beta: float) -> None:
    """The node's output: y plus beta times a tensor."""
    if beta != 1:
        unscaled, addend = addend, planner.tensor(node.name, planner.shape(addend))
        factor = planner.constant(np.full(1, beta, np.float32))
        arithmetic(planner, node, "multiply", (unscaled, factor), addend)
    arithmetic(planner, node, "add", (y, addend))


def matmul(planner: Planner, node: Node) -> None:
    """MatMul: a linear layer where its second input is a matrix of weights, else a product for each batch element."""
    a, b = node.inputs
    weight, shape = planner.net.weights.get(b), planner.shape(a)
    if weight is not None and len(weight.shape) == 2 and a not in planner.net.weights:
        ends = (planner.in_layout(a, 1), node.outputs[0])
        linear(planner, node, ends, math.prod(shape[:-1]), Weight(weight, transposed=False))
    else:
        product(planner, node, (a, b, node.outputs[0]))


def linear(planner: Planner, node: Node, ends: tuple[str, str], rows: int, weight: Weight) -> None:
    """A layer from `ends[0]`, of so many rows, to `ends[1]`; sparse or dense by how many weights are left."""
    coded, transposed, bias = weight.coded, weight.transposed, weight.bias
    n, k = coded.shape if transposed else coded.shape[::-1]
    shape, left = GemmShape(rows, n, k), planner.density(node.inputs[1])
    choice = kernels.choose_gemm(shape, left, planner.isa, kernels.shared_values(coded), kernels.code_values(coded))
    name, scale = node.inputs[1], attributes.real(node, "alpha", 1.0)
    key = (name, transposed, scale, "sell" if "gemm_f32_sparse" in choice.kernel else choice.kernel)

    def pack(coded: CodedWeight) -> native.Packed:
        return kernels.pack_gemm(coded, shape, choice, transposed=transposed)

    packed = planner.packed_weight(name, key, pack) if scale == 1 else planner.packed(key, lambda: pack(coded))
    work = int(shape.macs * left) if choice.sparse else shape.macs
    inputs, outputs = ends[:1], ends[1:]
    step = Step((node.name,), node.op, choice.kernel, choice.why, inputs, outputs, shape.values())
    planner.add(step.of(packed, bias, work))


def product(
    planner: Planner,
    node: Node,
    names: tuple[str, str, str],
    alpha: float = 1.0,
    turned: tuple[bool, bool] = (False, False),
) -> None:
    """Alpha · a · b over the last two axes, for every element of the axes before. names: a, b and what they make."""
    a, b = (planner.in_layout(name, 1) for name in names[:2])
    left, right = planner.shape(a), planner.shape(b)
    left, right = (1, *left) if len(left) == 1 else left, (*right, 1) if len(right) == 1 else right
    batch = np.broadcast_shapes(left[:-2], right[:-2])
    (m, k), (a_row, a_column) = _matrix(left, turned[0])
    (_, n), (b_row, b_column) = _matrix(right, turned[1])
    dims, a_batch, b_batch = nest.simplify(batch, _batch_strides(left, batch), _batch_strides(right, batch))
    ints = (*dims, m, n, k, *a_batch, a_row, a_column, *b_batch, b_row, b_column)
    kernel, why = f"product_f32_{planner.isa}", f"{math.prod(batch)} of {m}x{k}x{n}"
    work = math.prod(batch) * m * n * k
    planner.add(Step((node.name,), node.op, kernel, why, (a, b), names[2:], ints, (alpha,), work=work))


def _matrix(shape: Shape, turned: bool) -> tuple[tuple[int, int], tuple[int, int]]:
    """Extents and strides of the last two axes; strides of extents of 1 are 0, so that nothing is reached past them."""
    rows, columns = shape[-2:]
    strides = (columns if rows > 1 else 0, 1 if columns > 1 else 0)
    return ((columns, rows), strides[::-1]) if turned else ((rows, columns), strides)


def _batch_strides(shape: Shape, batch: Shape) -> Shape:
    matrix = shape[-2] * shape[-1]
    return tuple(stride * matrix for stride in nest.broadcast(shape[:-2], batch))
