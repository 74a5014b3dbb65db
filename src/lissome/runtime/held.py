"""A network as an engine holds it: each dense weight goes when it has been packed, and comes back from its packed form.

So compiling needs the memory of one weight beside the packed ones, and an engine holds no weight twice, if nobody else
keeps the network.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph.ir import Graph
from lissome.network import Network
from lissome.runtime.native import native
from lissome.weights import CodedWeight, Dense

Pack: TypeAlias = Callable[[CodedWeight], native.Packed]

DIGIT: Final = 1 << 12  # places are told in two digits, which float32 has exactly


@dataclass
class Held:
    """A graph and its weights, which a planner may replace by equal ones. dense_bytes: as Network has it."""

    graph: Graph
    weights: dict[str, CodedWeight]
    dense_bytes: int = 0

    @classmethod
    def of(cls, net: Network) -> Held:
        """All of a network."""
        return cls(net.graph, dict(net.weights), net.dense_bytes)

    def let_go(self, name: str, packed: native.Packed, pack: Pack) -> None:
        """Keep a dense weight in its packed form only, which `pack` made of it."""
        weight = self.weights[name]
        if isinstance(weight, Dense) and packed.plain.size >= weight.nnz:
            self.weights[name] = PackedWeight(weight.shape, packed, pack)


@dataclass(frozen=True, eq=False)
class PackedWeight:
    """A dense weight of which only the packed form is left. pack: what makes that form of a weight of this shape."""

    shape: tuple[int, ...]
    packed: native.Packed
    pack: Pack

    @property
    def nnz(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return 4 * self.nnz

    def to_dense(self) -> NDArray[np.float32]:
        """The weight, bit by bit: packing the numbers of its elements tells where each went."""
        numbers = np.arange(self.nnz, dtype=np.int64)
        low, high = (self._packed(digits) for digits in (numbers % DIGIT + 1, numbers // DIGIT))
        filled = low > 0
        dense = np.empty(self.nnz, np.float32)
        dense[high[filled] * DIGIT + low[filled] - 1] = self.packed.plain[filled]
        return dense.reshape(self.shape)

    def _packed(self, digits: NDArray[np.int64]) -> NDArray[np.int64]:
        weight = Dense(digits.astype(np.float32).reshape(self.shape), owned=True)
        return self.pack(weight).plain.astype(np.int64)

    def describe(self) -> str:
        return "float32, packed"
