"""Graph: nodes in topological order over named tensors. Operators, attributes and their meaning are ONNX's.

A graph holds no weights: a node names them among its inputs, and `Network` (network.py) maps the names to coded
weights. The first axis of every activation is the batch, written ``"N"``: a graph has no fixed batch size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from lissome.errors import GraphError

Attribute: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
Extent: TypeAlias = int | str

MAX_NODES = 100_000
MAX_NAME = 256


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape and dtype of a tensor that crosses the graph's edge. An extent is positive, or the batch ``"N"``."""

    name: str
    shape: tuple[Extent, ...]
    dtype: str = "float32"

    def __post_init__(self) -> None:
        _check_name(self.name)
        for extent in self.shape:
            if extent != "N" and not (isinstance(extent, int) and 0 < extent < 2**31):
                raise GraphError(f"tensor {self.name!r} has extent {extent!r}; use a positive int or 'N' for the batch")


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: ``outputs = op(inputs, **attributes)``. An empty input name: left out, as in ONNX."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.op, self.name, *self.outputs, *(i for i in self.inputs if i)):
            _check_name(name)
        object.__setattr__(self, "attributes", MappingProxyType(dict(self.attributes)))


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order.

    inputs: the activations fed at run time. outputs: names of the tensors returned. parameters: names of the weights.
    Raises GraphError for a tensor used before it is made, made twice, or never made.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.nodes) > MAX_NODES:
            raise GraphError(f"{len(self.nodes)} nodes; at most {MAX_NODES} are allowed")
        known: set[str] = set()
        for name in (*(spec.name for spec in self.inputs), *self.parameters):
            _check_name(name)
            if name in known:
                raise GraphError(f"tensor {name!r} is defined twice")
            known.add(name)
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in known:
                    raise GraphError(f"node {node.name!r} ({node.op}) reads {name!r}, which nothing before it makes")
            for name in node.outputs:
                if name in known:
                    raise GraphError(f"tensor {name!r} is defined twice, the second time by node {node.name!r}")
                known.add(name)
        if not self.inputs or not self.outputs:
            raise GraphError("a graph has at least one input and one output")
        for name in self.outputs:
            if name not in known:
                raise GraphError(f"output {name!r} is made by no node")

    def to_plain(self) -> dict[str, Any]:
        """The graph as dicts, lists, strings and numbers, for JSON. `from_plain` is the inverse."""
        return {
            "inputs": [[spec.name, list(spec.shape), spec.dtype] for spec in self.inputs],
            "parameters": list(self.parameters),
            "nodes": [
                [
                    node.op,
                    node.name,
                    list(node.inputs),
                    list(node.outputs),
                    {k: list(v) if isinstance(v, tuple) else v for k, v in sorted(node.attributes.items())},
                ]
                for node in self.nodes
            ],
            "outputs": list(self.outputs),
        }

    @classmethod
    def from_plain(cls, plain: Any) -> Graph:
        """Build a graph from untrusted plain data; raises GraphError whatever is wrong with it."""
        try:
            nodes = tuple(
                Node(
                    _text(op),
                    _text(name),
                    tuple(_text(i) for i in inputs),
                    tuple(_text(o) for o in outputs),
                    {_text(key): _attribute(value) for key, value in attributes.items()},
                )
                for op, name, inputs, outputs, attributes in plain["nodes"]
            )
            specs = tuple(
                TensorSpec(_text(name), tuple(_extent(e) for e in shape), _text(dtype))
                for name, shape, dtype in plain["inputs"]
            )
            outputs = tuple(_text(name) for name in plain["outputs"])
            parameters = tuple(_text(name) for name in plain["parameters"])
        except GraphError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GraphError(f"not the plain form of a graph: {error!r}") from error
        return cls(nodes, specs, outputs, parameters)


def _check_name(name: str) -> None:
    if not name or len(name) > MAX_NAME or not name.isprintable():
        raise GraphError(f"name {name[:40]!r} is empty, longer than {MAX_NAME} characters, or not printable")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {type(value).__name__}")
    return value


def _extent(value: Any) -> Extent:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"expected an extent, found {type(value).__name__}")
    return value


def _attribute(value: Any) -> Attribute:
    if isinstance(value, list):
        if any(isinstance(item, bool) or not isinstance(item, int | float) for item in value):
            raise TypeError("a list attribute holds numbers only")
        return tuple(value)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"attribute of type {type(value).__name__}")
    return value
