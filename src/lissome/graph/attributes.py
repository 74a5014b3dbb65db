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


def axes(node: Node, name: str, rank: int) -> tuple[int, ...] | None:
    """The attribute `name` as distinct axes of `rank`, counted from the front; None when it is left out."""
    if name not in node.attributes:
        return None
    given = int_list(node, name)
    if not all(-rank <= axis < rank for axis in given) or len({axis % rank for axis in given}) != len(given):
        raise GraphError(f"node {node.name!r} ({node.op}): {name} {given} are not distinct axes of {rank}")
    return tuple(axis % rank for axis in given)


def int_list(node: Node, name: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
    """The attribute `name`: ints, however many."""
    value = node.attributes.get(name, default)
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise GraphError(f"node {node.name!r} ({node.op}): attribute {name!r} is {value!r}, not a list of ints")
    return tuple(int(item) for item in value)


def real_list(node: Node, name: str, count: int) -> tuple[float, ...]:
    """The attribute `name`: `count` numbers."""
    value = node.attributes.get(name)
    if not isinstance(value, tuple) or len(value) != count:
        raise GraphError(f"node {node.name!r} ({node.op}): attribute {name} is {value!r}, not {count} numbers")
    return tuple(float(item) for item in value)


def word(node: Node, name: str, known: tuple[str, ...]) -> str:
    """The attribute `name`: one of `known`, the first when it is left out."""
    value = node.attributes.get(name, known[0])
    if value not in known:
        raise GraphError(f"node {node.name!r} ({node.op}): {name} is {str(value)[:40]!r}; known: {', '.join(known)}")
    return str(value)


def flag(node: Node, name: str, default: int = 0) -> bool:
    """The attribute `name`: 0 or 1."""
    value = integer(node, name, default)
    if value not in (0, 1):
        raise GraphError(f"node {node.name!r} ({node.op}): {name} is {value}; it is 0 or 1")
    return bool(value)
