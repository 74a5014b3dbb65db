"""Reading a node's attributes: each by the type that it must have, else GraphError naming node and attribute."""

from __future__ import annotations

from lissome.errors import GraphError
from lissome.graph.ir import Node


def ints(node: Node, name: str, count: int, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The attribute `name`: `count` ints."""
    value = node.attributes.get(name, default)
    if not isinstance(value, tuple) or len(value) != count or not all(isinstance(item, int) for item in value):
        raise GraphError(f"node {node.name!r} ({node.op}): attribute {name} is {value!r}, not {count} ints")
    return tuple(int(item) for item in value)


def integer(node: Node, name: str, default: int) -> int:
    """The attribute `name`: one int."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise GraphError(f"node {node.name!r} ({node.op}): attribute {name} is {value!r}, not an int")
    return value


def real(node: Node, name: str, default: float) -> float:
    """The attribute `name`: a number."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int | float):
        raise GraphError(f"node {node.name!r} ({node.op}): attribute {name} is {value!r}, not a number")
    return float(value)


def axis(node: Node, name: str, default: int, rank: int) -> int:
    """The attribute `name` as an axis of `rank`, counted from the front."""
    found = integer(node, name, default)
    if not -rank <= found < rank:
        raise GraphError(f"node {node.name!r} ({node.op}): axis {found} of {rank} axes")
    return found % rank
