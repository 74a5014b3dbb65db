"""Codes in place of numbers: weights that are int8 codes with scales, and tensors of uint8 codes.

The graph says where codes are: QuantizeLinear makes them, DequantizeLinear reads them, of activations and of weights. A
weight behind its DequantizeLinear is `Scaled`, which kernels on float32 see dense. Tensors of int8 codes are run as the
uint8 ones 128 higher.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph.ir import Graph
from lissome.graph.rules.quantization import codes_of, scale_axis
from lissome.runtime.held import Held
from lissome.weights import CodedWeight

LIFT: Final = {"uint8": 0, "int8": 128}  # from a type's codes to uint8
MOST: Final = 255


@dataclass(frozen=True)
class Grid:
    """What uint8 codes mean: scale · (code − zero)."""

    scale: float
    zero: int

    def code(self, value: float) -> int:
        """The code nearest to a number."""
        with np.errstate(over="ignore"):
            steps = float(np.rint(np.float32(value) / np.float32(self.scale)))
        return int(min(max(steps + self.zero, 0), MOST))


@dataclass(frozen=True)
class Coded:
    """Where a tensor lies as codes: the name of the tensor of codes, and what they mean."""

    name: str
    grid: Grid


@dataclass(frozen=True, eq=False)
class Scaled:
    """A weight of codes, (code − zero) · scale; the scale is one number, or one for each slice along `axis`."""

    codes: CodedWeight
    scale: NDArray[np.float32]
    zero: int
    axis: int | None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def nnz(self) -> int:
        return self.codes.nnz

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scale.nbytes

    def to_dense(self) -> NDArray[np.float32]:
        spread = tuple(-1 if i == self.axis else 1 for i in range(len(self.shape))) if self.axis is not None else ()
        return (self.codes.to_dense() - np.float32(self.zero)) * self.scale.reshape(spread)

    def describe(self) -> str:
        return f"{self.codes.describe()}, scaled"

    def int8(self) -> NDArray[np.int8] | None:
        """The codes, if they are int8 with the zero at 0."""
        codes = self.codes.to_dense()
        whole = np.rint(codes)
        fits = self.zero == 0 and np.array_equal(whole, codes) and bool(np.all((whole >= -128) & (whole <= 127)))
        return whole.astype(np.int8) if fits else None

    def scales(self, outputs: int, axis: int) -> NDArray[np.float64] | None:
        """One scale for each of the outputs, which lie along `axis`; None where scales lie along another, or are 0."""
        if self.axis not in (None, axis) or not np.all(self.scale > 0):
            return None
        return np.broadcast_to(self.scale.reshape(-1).astype(np.float64), (outputs,))


def scaled(net: Held) -> Held:
    """The network with a Scaled weight in place of each DequantizeLinear of a weight."""
    weights, nodes = dict(net.weights), []
    for node in net.graph.nodes:
        if node.op != "DequantizeLinear" or len(node.inputs) != 2 or not all(name in weights for name in node.inputs):
            nodes.append(node)
            continue
        codes, scale = (weights[name] for name in node.inputs)
        axis = scale_axis(node, codes.shape, scale.shape)
        weights[node.outputs[0]] = Scaled(codes, scale.to_dense(), codes_of(node)[1], axis)
    if len(nodes) == len(net.graph.nodes):
        return net
    used = {name for node in nodes for name in node.inputs} | set(net.graph.outputs)
    kept = {name: weight for name, weight in weights.items() if name in used}
    graph = Graph(tuple(nodes), net.graph.inputs, net.graph.outputs, tuple(kept))
    return replace(net, graph=graph, weights=kept)


def panel_vectors(vectors: int, pixels: int, isa: str) -> int:
    """Vectors of outputs in a panel: the width whose register blocks waste least.

    pixels: of a row of outputs. A block of P pixels by V vectors takes P · V multiply-adds, or P + V loads where those
    are more, and a last panel or block that is not full takes as long as its own size. Between equals, weights are read
    once a block and from further away, inputs once a panel (measured on the 7×7 and 14×14 layers of ResNet-50).
    """
    widest = PIXELS[isa]

    def cost(width: int) -> float:
        blocks = math.ceil(pixels / widest[width - 1])
        panels = [width] * (vectors // width) + ([vectors % width] if vectors % width else [])
        p = pixels / blocks
        return sum(blocks * (max(p * v, 1.2 * (p + v), 4.0) + 0.15 * v + 0.05 * p) for v in panels)

    return min(range(1, min(vectors, len(widest)) + 1), key=lambda width: (round(cost(width), 6), -width))


#: pixels in a register block of 1 to 4 vectors (native/integer/block.h)
PIXELS: Final = {
    "avx512_vnni": (14, 14, 9, 6),
    "avx512": (14, 10, 7, 5),
    "avx2": (8, 4, 3, 2),
    "neon": (8, 4, 3, 2),
    "scalar": (8, 4, 3, 2),
}
