"""What a network asks of a machine: per node the multiply-adds, non-zeros, bits of weights and elements that move.

Every hardware model reads this and nothing else, so that a cost is a cost of the file that is shipped. Nodes without a
matrix product are counted and listed too; parameters that are no weights of a product (biases, batch norm) are counted
with the node that reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.graph import costs, shapes
from lissome.graph.conv_shape import ConvShape, Shape
from lissome.graph.costs import Cost
from lissome.graph.ir import Graph, Node
from lissome.hardware.units import check_count
from lissome.network import Network
from lissome.weights import Codebook, CodedWeight, Dense, Sparse
from lissome.weights.formats import ITEMSIZE

# Operators that compute nothing: they rename or move elements.
MOVEMENT: Final = frozenset(
    {"Concat", "Dropout", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape"}
    | {"Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"}
)


@dataclass(frozen=True)
class Layer:
    """One node of a network at one batch.

    product: its matrix product as a convolution (a Gemm is one of 1×1 windows), None for a node that has none. An LSTM
    is one product of 4·hidden outputs from input and state, done `repeats` times one after another.
    operations: of all else, one for each output and each element of its window.
    weight: the product's weight, None for a product of two activations; (outputs, inputs, …), or (inputs, outputs) with
    inputs_first. parameters: elements of all its parameters.
    inputs, outputs: elements of activations read and written. input_density: share of its inputs that is not zero.
    """

    name: str
    op: str
    inputs: int
    outputs: int
    operations: int = 0
    product: ConvShape | None = None
    repeats: int = 1
    weight: CodedWeight | None = None
    parameters: int = 0
    input_density: float = 1.0
    inputs_first: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.input_density <= 1:
            raise HardwareError(
                f"layer {self.name!r}: a density of activations is from 0 to 1, not {self.input_density}"
            )

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense product, padding included."""
        return self.product.macs * self.repeats if self.product else 0

    @property
    def weights(self) -> int:
        """Weights of the product, zeros included."""
        return math.prod(self.weight.shape) if self.weight else 0

    @property
    def nonzeros(self) -> int:
        """Weights of the product that are stored."""
        return self.weight.nnz if self.weight else 0

    @property
    def density(self) -> float:
        """Share of the product's weights that is stored; 1 where there are none."""
        return self.nonzeros / self.weights if self.weights else 1.0

    @property
    def useful_macs(self) -> int:
        """Multiply-adds of stored weights with inputs that are not zero."""
        return round(self.macs * self.density * self.input_density)

    @property
    def bits(self) -> int:
        """Bits of one stored weight: of its format, or of its code."""
        return _bits(self.weight) if self.weight else 0

    @property
    def dense_bits(self) -> int:
        """Bits of the weights when each, zero or not, is kept at `bits`."""
        return self.weights * self.bits

    @property
    def coded_bits(self) -> int:
        """Bits of the stored weights, their table and, for a sparse one, their places: a bit a weight or 4-bit runs."""
        return self.coded_bits_in(self.bits)

    def coded_bits_in(self, word_bits: int) -> int:
        """`coded_bits` on a machine that keeps no weight in more than word_bits."""
        stored = self.nonzeros * min(self.bits, word_bits) + _table_bits(self.weight)
        pruned = isinstance(self.weight, Sparse) or (isinstance(self.weight, Assumed) and self.weight.density < 1)
        return stored + (min(self.weights, 4 * (self.nonzeros + self.weights // 16)) if pruned else 0)


@dataclass(frozen=True)
class Workload:
    """All layers of a network at one batch, in order; `title` for tables."""

    layers: tuple[Layer, ...]
    batch: int = 1
    title: str = "network"

    @property
    def macs(self) -> int:
        """Multiply-adds of all layers, dense."""
        return sum(layer.macs for layer in self.layers)

    @property
    def useful_macs(self) -> int:
        """Multiply-adds of all layers that a machine could not skip."""
        return sum(layer.useful_macs for layer in self.layers)


def count(
    network: Network, *, batch: int = 1, input_density: Mapping[str, float] | None = None, title: str = "network"
) -> Workload:
    """The workload of `network` at `batch`.

    input_density: share of non-zero inputs by the name of a node; 1 where none is given.
    Raises UnsupportedShape for operators that a graph does not have, HardwareError for a density of no node.
    """
    given = dict(input_density or {})
    unknown = given.keys() - {node.name for node in network.graph.nodes}
    if unknown:
        raise HardwareError(f"input_density names {sorted(unknown)}, which are no nodes of the network")
    held = {name: tuple(weight.shape) for name, weight in network.weights.items()}
    found = shapes.infer(network.graph, held, batch)
    sizes = {name: tuple(int(extent) for extent in spec.shape) for name, spec in found.items()}
    cost = costs.costs(network.graph, held, batch)
    layers = tuple(
        _layer(node, network, sizes, cost[node.name], given.get(node.name, 1.0)) for node in network.graph.nodes
    )
    return Workload(layers, batch, title)


def fully_connected(name: str, weight: CodedWeight, *, batch: int = 1, input_density: float = 1.0) -> Layer:
    """A layer of its own: y (batch, n) = x (batch, k) · wᵀ with `weight` (n, k)."""
    n, k = weight.shape
    product = ConvShape(batch, k, 1, 1, n, 1, 1)
    return Layer(name, "Gemm", batch * k, batch * n, 0, product, 1, weight, n * k, input_density)


def _layer(node: Node, network: Network, sizes: Mapping[str, Shape], cost: Cost, density: float) -> Layer:
    product, repeats = costs.product(node, sizes) or (None, 1)
    weight = _weight(node, network) if product else None
    first = node.op in ("Gemm", "MatMul") and not shapes.weight_is_transposed(node)
    operations = 0 if product or node.op in MOVEMENT else cost.activations * _window(node)
    counted = (cost.inputs, cost.activations, operations)
    return Layer(node.name, node.op, *counted, product, repeats, weight, cost.weights, density, first)


def _weight(node: Node, network: Network) -> CodedWeight | None:
    """The weight of a node's product: an LSTM's are those of input and state."""
    if node.op != "LSTM":
        return network.weights.get(node.inputs[1])
    parts = [network.weights.get(name) for name in node.inputs[1:3]]
    return _Joined(tuple(part for part in parts if part)) if all(parts) else None


@dataclass(frozen=True)
class _Joined:
    """The weights of input and state of an LSTM, counted as one: (directions · 4 · hidden, features + hidden)."""

    parts: tuple[CodedWeight, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        directions, gates, _ = self.parts[0].shape
        return directions * gates, sum(part.shape[2] for part in self.parts)

    @property
    def nnz(self) -> int:
        return sum(part.nnz for part in self.parts)

    @property
    def nbytes(self) -> int:
        return sum(part.nbytes for part in self.parts)

    def to_dense(self) -> NDArray[np.float32]:
        return np.concatenate([part.to_dense() for part in self.parts], axis=2).reshape(self.shape)

    def describe(self) -> str:
        return " and ".join(part.describe() for part in self.parts)


@dataclass(frozen=True)
class Assumed:
    """A weight of which only this is known: its shape, the share of it that is stored, and the bits of each."""

    shape: tuple[int, ...]
    density: float = 1.0
    bits: int = 32

    def __post_init__(self) -> None:
        if not 0 <= self.density <= 1:
            raise HardwareError(f"the density of an assumed weight is from 0 to 1, not {self.density}")
        check_count(self.bits, "the bits of an assumed weight")

    @property
    def nnz(self) -> int:
        return round(math.prod(self.shape) * self.density)

    @property
    def nbytes(self) -> int:
        return -(-self.nnz * self.bits // 8)

    def to_dense(self) -> NDArray[np.float32]:
        raise HardwareError(f"a weight {self.shape} is assumed: it has no values")

    def describe(self) -> str:
        return f"assumed, {self.bits} bits"


def shapes_only(graph: Graph, held: Mapping[str, Shape]) -> Network:
    """A network whose weights have shapes and no values: enough for `count`. held: the shape of each parameter."""
    return Network(graph, {name: Assumed(tuple(shape)) for name, shape in held.items()})


def _window(node: Node) -> int:
    """Elements that one output of a pooling node is made of; 1 for every other node."""
    window = node.attributes.get("kernel_shape", ())
    return math.prod(int(extent) for extent in window) if isinstance(window, tuple) else 1


def _bits(weight: CodedWeight) -> int:
    match weight:
        case Dense(format=fmt):
            return 8 * ITEMSIZE[fmt]
        case Codebook() | Assumed():
            return weight.bits
        case Sparse(values=values):
            return _bits(values)
        case _Joined(parts=parts):
            return max(_bits(part) for part in parts)
    return max(1, -(-8 * weight.nbytes // max(1, weight.nnz)))  # a kind that this file does not know: what it holds


def _table_bits(weight: CodedWeight | None) -> int:
    match weight:
        case Codebook(codebook=codebook, format=fmt):
            return codebook.size * 8 * ITEMSIZE[fmt]
        case Sparse(values=values):
            return _table_bits(values)
        case _Joined(parts=parts):
            return sum(_table_bits(part) for part in parts)
    return 0
