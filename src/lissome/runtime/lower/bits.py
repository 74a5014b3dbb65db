"""Steps on bits: layers whose inputs are signs and whose filters are ±α each, or −α, 0 and α, by xor and popcount.

A Binarize makes no step: its tensor is known as the signs of another until something reads it as numbers. A layer that
reads it runs on bits where its weights allow and that is the fastest by the model; α and a batch normalisation behind
the layer become the scale and the bias of its sums (Rastegari et al., "XNOR-Net", ECCV 2016, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph import attributes, shapes
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Node
from lissome.runtime import kernels
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.runtime.codes import Scaled
from lissome.runtime.lower import norm
from lissome.runtime.lower.elementwise import unary
from lissome.runtime.native import native
from lissome.runtime.step import Step
from lissome.weights import CodedWeight

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

#: vectors of outputs in a panel, the fastest by bench/binary.py
VECTORS: Final = {"avx512_vpopcntdq": 2, "avx512": 2, "avx2": 2, "neon": 1, "scalar": 1}
#: channels in a word of bits (native/binary/bits.h), where they are not 32
WORD: Final = {"avx512": 16, "avx2": 16}
BLOCKS: Final = {"avx512": 4, "avx2": 4}  # of outputs in such a vector, where it is not one
#: products of ±1 in the time of one multiply-add of numbers, both in 3×3 layers (bench/binary.py, AMD Zen 4)
GAIN: Final = {"avx512_vpopcntdq": 16.0, "avx512": 8.0, "avx2": 8.0, "neon": 1.0, "scalar": 1.0}
TERNARY: Final = {"avx512": 1.8, "avx2": 1.8}  # times as long, where it is not 1.2 times
SIGNS: Final = 3.0  # multiply-adds in the time that takes a vector's signs


@dataclass(frozen=True, eq=False)
class Signs:
    """A layer's weights as −1, 0 and 1, (outputs, …), and the scale of each output's."""

    weight: NDArray[np.int8]
    scales: NDArray[np.float64]

    @property
    def kind(self) -> str:
        """What its kernels' names say."""
        return "binary" if np.all(self.weight) else "ternary"


def lower(planner: Planner, node: Node) -> bool:
    """A node that reads signs, if it can do so; says whether it was."""
    given = planner.signs.get(node.inputs[0]) if node.inputs else None
    if given is None:
        return False
    if node.op in ("Conv", "Gemm"):
        return _layer(planner, node, given)
    if node.op not in ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"):
        return False
    made = planner.tensor(node.name, planner.shape(node.outputs[0]))
    planner.view(made, planner.in_layout(given, 1))
    planner.signs[node.outputs[0]] = made
    return True


def binarize(planner: Planner, node: Node) -> None:
    """Binarize: the tensor is known as signs; settle() makes numbers of them where something reads those."""
    planner.signs[node.outputs[0]] = node.inputs[0]


def settle(planner: Planner, name: str) -> None:
    """1 and −1 as numbers."""
    unary(planner, Node("Binarize", name, (planner.signs[name],), (name,)), "binarize")


def _layer(planner: Planner, node: Node, x: str) -> bool:
    shape, weight = _shape(planner, node), planner.net.weights.get(node.inputs[1])
    if shape is None or weight is None or node.name in planner.prepared.wanted:
        return False
    axis = 0 if node.op == "Conv" or attributes.flag(node, "transB") else 1
    found, bias = signs(weight, axis), _bias(planner, node, shape.k)
    if found is None or bias is None:
        return False
    isa = kernels.extended(planner.isa, "conv_b1_binary")
    why = _why(planner, node, shape, found.kind, isa)
    if not why:
        return False
    nodes: tuple[Node, ...] = (node,)
    scale, made = found.scales, node.outputs[0]
    after = planner.reader(made)
    if after is not None and after.op == "BatchNormalization" and _known(planner, after):
        factor, shift = norm.affine(planner, after)
        scale, bias, nodes, made = scale * factor, bias * factor + shift, (node, after), after.outputs[0]
        planner.done.add(made)
    lanes, kernel = kernels.lanes(planner.isa), f"conv_b1_{found.kind}_{isa}"
    vectors = min(VECTORS[isa], -(-shape.k // (lanes * BLOCKS.get(isa, 1))))
    values, floats = replace(shape, n=1).values(), (scale.astype(np.float32), bias.astype(np.float32))
    packed = planner.packed(
        (node.inputs[1], made, kernel, values, vectors),
        lambda: native.pack_bits(kernel, found.weight.reshape(-1), values, vectors, *floats),
    )
    planner.set_block(made, lanes)
    names, ints, read = tuple(taken.name for taken in nodes), (*shape.values(), vectors), _bits(planner, x, isa)
    planner.add(Step(names, node.op, kernel, why, (read,), (made,), ints, (), packed, work=shape.macs))
    return True


def _bits(planner: Planner, x: str, isa: str) -> str:
    """The signs of a tensor as bits, made once."""
    if (x, 0) not in planner.relaid:
        shape, laid = planner.shape(x), planner.in_layout(x, kernels.lanes(planner.isa))
        area = int(np.prod(shape[2:]))
        made = planner.fresh(x, shape[0] * -(-shape[1] // WORD.get(isa, 32)) * 4 * area)
        planner.memory.narrow.add(made)
        planner.relaid[x, 0] = made
        ints, why = (shape[0], shape[1], area), "the signs of numbers, as bits"
        planner.add(Step((x,), "Binarize", f"binarize_b1_{isa}", why, (laid,), (made,), ints))
    return planner.relaid[x, 0]


def _shape(planner: Planner, node: Node) -> ConvShape | None:
    """The layer as a convolution; None where the kernels cannot do it."""
    x, weight = planner.shape(node.inputs[0]), planner.shape(node.inputs[1])
    if node.op == "Conv":
        shape = shapes.conv_shape(node, x, weight)
        return shape if shape.groups == 1 else None
    plain = not attributes.flag(node, "transA") and all(attributes.real(node, n, 1.0) == 1 for n in ("alpha", "beta"))
    (m, k), n = x, planner.shape(node.outputs[0])[1]
    return ConvShape(m, k, 1, 1, n, 1, 1) if plain else None


def _why(planner: Planner, node: Node, shape: ConvShape, kind: str, isa: str) -> str:
    """Why bits are the fastest; empty where they are not, by the model."""
    layer = Layer(shape, 1.0, planner.isa, planner.prepared.measured)
    own = shape.macs / layer.lanes / GAIN[isa] * (TERNARY.get(isa, 1.2) if kind == "ternary" else 1.0)
    own += SIGNS * shape.n * shape.c * shape.h * shape.w / layer.lanes
    name, least = "dense", shape.macs / layer.lanes
    if node.op == "Conv":
        least, name = min((a.time(layer), a.name) for a in ALGORITHMS if not a.sparse and not a.refuses(layer))
    return f"{kind} weights on signs: {least / own:.1f} times the speed of {name} by the model" if own < least else ""


def signs(weight: CodedWeight, axis: int) -> Signs | None:
    """A weight whose outputs, along `axis`, are −α, 0 and α each; None for another."""
    outputs = weight.shape[axis]
    if isinstance(weight, Scaled):
        codes, scales = weight.int8(), weight.scales(outputs, axis)
        if codes is None or scales is None or not np.all(np.abs(codes.astype(np.int16)) <= 1):
            return None
        return Signs(np.ascontiguousarray(np.moveaxis(codes, axis, 0)), scales)
    dense = np.ascontiguousarray(np.moveaxis(weight.to_dense(), axis, 0))
    rows = np.abs(dense.reshape(outputs, -1))
    most = rows.max(axis=1)
    if not np.all((rows == most[:, None]) | (rows == 0)):
        return None
    found = np.where(most[:, None] > 0, np.sign(dense.reshape(outputs, -1)), 1)  # of nothing but zeros: ±0
    return Signs(found.astype(np.int8), most.astype(np.float64))


def _bias(planner: Planner, node: Node, outputs: int) -> NDArray[np.float64] | None:
    """One bias an output; None where it is computed or another for each sample."""
    name = (*node.inputs, "")[2]
    if not name:
        return np.zeros(outputs)
    if name not in planner.net.weights:
        return None
    bias = planner.net.weights[name].to_dense().astype(np.float64)
    return np.broadcast_to(bias.reshape(-1), (outputs,)) if bias.size in (1, outputs) and bias.ndim < 3 else None


def _known(planner: Planner, node: Node) -> bool:
    return all(name in planner.net.weights for name in node.inputs[1:])
