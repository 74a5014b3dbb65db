"""Algorithms for all convolutions of a network together, where packed weights may take only so much memory.

Winograd's filters take 1.8 to 7 times the memory of plain ones beside those, and save most time for a byte in early
layers, whose filters are few and images large.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from lissome.runtime.algorithms import ALGORITHMS, Layer, dense_bytes


@dataclass(frozen=True)
class _Way:
    """How a layer may run. grows: bytes beyond those of its dense float32 weight."""

    name: str
    cost: float
    grows: int


def within(layers: Mapping[str, Layer], wanted: Mapping[str, str], room: float) -> dict[str, str]:
    """The algorithm of each layer, by node, so that packed weights take at most `room` bytes more than dense ones.

    Greedy by the cost model: from what takes least memory on, always the change that saves most time for a byte.
    wanted: algorithms that are asked for, which stay, and whose memory counts.
    """
    ways = {node: _ways(layer, wanted.get(node)) for node, layer in layers.items()}
    chosen = {node: min(some, key=lambda way: (way.grows, way.cost)) for node, some in ways.items()}
    room -= sum(way.grows for way in chosen.values())
    while changes := [
        ((chosen[node].cost - way.cost) / max(1, way.grows - chosen[node].grows), node, way)
        for node, some in ways.items()
        for way in some
        if way.cost < chosen[node].cost and way.grows - chosen[node].grows <= room
    ]:
        _, node, way = max(changes, key=lambda change: change[:2])
        room -= way.grows - chosen[node].grows
        chosen[node] = way
    return {node: way.name for node, way in chosen.items()}


def _ways(layer: Layer, asked: str | None) -> list[_Way]:
    able = [
        algorithm
        for algorithm in ALGORITHMS
        if not algorithm.refuses(layer)
        and (asked is None or algorithm.name == asked or algorithm.name.startswith(f"{asked}_"))
    ]
    ways = [_Way(a.name, a.time(layer), a.memory(layer) - dense_bytes(layer)) for a in able]
    return [way for way in ways if math.isfinite(way.cost)] or ways
