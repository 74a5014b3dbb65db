"""Network = Graph + coded weights: frozen; what travels between compression, file, engine and hardware models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from lissome.errors import GraphError
from lissome.graph.ir import Graph
from lissome.weights import CodedWeight


@dataclass(frozen=True, eq=False)
class Network:
    """A graph, a coded weight for each of its parameters, and the recipe (TOML text) that made them, if any.

    dropped: weights and biases that the network had before dead units were taken out of it (pack/arrange.py), so that
    a compression ratio stays one to the network that was trained.
    Raises GraphError when the weights are not exactly the graph's parameters, or `dropped` is not below 2**48.
    """

    graph: Graph
    weights: Mapping[str, CodedWeight] = field(default_factory=dict)
    recipe: str = ""
    dropped: int = 0

    def __post_init__(self) -> None:
        wanted, found = set(self.graph.parameters), set(self.weights)
        if wanted != found:
            raise GraphError(
                f"weights missing: {sorted(wanted - found)}; weights nobody asked for: {sorted(found - wanted)}"
            )
        if not 0 <= self.dropped < 2**48:
            raise GraphError(f"{self.dropped} parameters were dropped; a network says 0 to 2^48 - 1")
        ordered = {name: self.weights[name] for name in self.graph.parameters}
        object.__setattr__(self, "weights", MappingProxyType(ordered))

    @property
    def parameters(self) -> int:
        """Number of weights and biases of the dense network, dropped ones included."""
        return self.dropped + sum(math.prod(weight.shape) for weight in self.weights.values())

    @property
    def dense_bytes(self) -> int:
        """Bytes of the dense float32 parameters, the numerator of every compression ratio."""
        return 4 * self.parameters

    def summary(self) -> str:
        """One line a weight: name, shape, stored entries, density, representation."""
        rows = [("weight", "shape", "stored", "density", "form")]
        for name, weight in self.weights.items():
            count = math.prod(weight.shape)
            density = f"{100 * weight.nnz / count:.2f} %" if count else "-"
            rows.append((name, "x".join(map(str, weight.shape)), str(weight.nnz), density, weight.describe()))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"{self.parameters:,} parameters, {self.dense_bytes:,} bytes as dense float32"])

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Network)
            and self.graph == other.graph
            and self.recipe == other.recipe
            and self.dropped == other.dropped
            and dict(self.weights) == dict(other.weights)
        )

    __hash__ = None  # type: ignore[assignment]
