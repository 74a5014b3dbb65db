"""Graph: nodes in topological order over named tensors. Operators, attributes and their meaning are ONNX's.

A graph holds no weights: a node names them among its inputs, and `Network` (network.py) maps the names to coded
weights. The first axis of every activation is the batch, written ``"N"``: a graph has no fixed batch size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from lissome.errors import GraphError

Attribute: TypeAlias = int | float | str | tuple[int, ...] | tuple[float, ...]
Extent: TypeAlias = int | str

DTYPES = ("float32", "float16", "int8", "uint8", "int32", "int64", "bool")
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
        if self.dtype not in DTYPES:
            raise GraphError(f"tensor {self.name!r} has dtype {self.dtype[:40]!r}; known: {', '.join(DTYPES)}")


@dataclass(frozen=True, slots=True)
class Node:
    """One operator: ``outputs = op(inputs, **attributes)``. An empty input name: left out, as in ONNX."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.op, self.name, *self.outputs, *(i for i in self.inputs if i), *self.attributes):
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
            if set(plain) != {"nodes", "inputs", "outputs", "parameters"}:
                raise ValueError("its keys are not nodes, inputs, outputs and parameters")
            nodes = tuple(
                Node(
                    _text(op),
                    _text(name),
                    tuple(_text(i) for i in _list(inputs)),
                    tuple(_text(o) for o in _list(outputs)),
                    {_text(key): _attribute(value) for key, value in attributes.items()},
                )
                for op, name, inputs, outputs, attributes in _list(plain["nodes"])
            )
            specs = tuple(
                TensorSpec(_text(name), tuple(_extent(e) for e in _list(shape)), _text(dtype))
                for name, shape, dtype in _list(plain["inputs"])
            )
            outputs = tuple(_text(name) for name in _list(plain["outputs"]))
            parameters = tuple(_text(name) for name in _list(plain["parameters"]))
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


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"expected a list, found {type(value).__name__}")
    return value


def _attribute(value: Any) -> Attribute:
    if isinstance(value, list):
        return tuple(_number(item) for item in value)
    return value if isinstance(value, str) else _number(value)


def _number(value: Any) -> int | float:
    """An attribute's number: what an ONNX attribute holds, that is an int64 or a finite float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, found {type(value).__name__}")
    if not (-(2**63) <= value < 2**63 if isinstance(value, int) else math.isfinite(value)):
        raise ValueError("an attribute is neither a 64-bit integer nor a finite number")
    return value
