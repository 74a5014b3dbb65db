"""The same function in fewer bytes: hidden units that do nothing are dropped, and the others put beside their like.

A network with its hidden units renumbered is the same function, and a file has to say which of the many orders it
holds. So the order is free to choose: units of similar rows beside each other are what a coder foresees best.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.graph.units import Units, hidden_units
from lissome.network import Network
from lissome.pack import small
from lissome.pack.split import canonical, groups_of, take_apart
from lissome.weights.select import select

Order: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]

MAX_CHAIN: Final = 4096  # units of a layer: the chain of neighbours compares every pair of them


def arrange(net: Network, *, drop: bool = True) -> Network:
    """A network of the same function that is smaller to store: no dead hidden units, and the others reordered.

    Renumbering changes the order of sums only, so results are equal within the rounding of float32. A unit is dead
    when nothing reads it (its outgoing weights are zero) or when it is always 0 (its incoming weights and its bias are
    zero, and so is its activation at 0); a layer keeps one unit at least. drop: whether dead units go.
    Every layer takes the order that makes coder *small* smallest, and keeps its own unless another is smaller. Weights
    stay coded: the same codebooks, fewer or other positions. Deterministic; codes each layer seven times.
    Inputs and outputs, residual sums, grouped convolutions and shared parameters are left alone (graph/units.py).
    Raises what `shapes.infer` raises for a graph that cannot be run, WeightError for a weight that has no coder.
    """
    net = _without_dead_units(net) if drop else net
    for units in _units(net):
        changed = {units.weight, units.reader, *([units.bias] if units.bias else [])}
        tried = [net, *(_reorder(net, units, order) for order in orders(*_incoming_outgoing(net, units)))]
        net = min(tried, key=lambda one: index_bytes(one, changed))
    return net


def index_bytes(net: Network, names: Collection[str] | None = None) -> int:
    """Bytes by coder *small* of the index streams of `net`; with names, of those that hold one of these parameters."""
    parts = [take_apart(name, weight) for name, weight in canonical(net).weights.items()]
    groups = groups_of([part.form for part in parts])
    chosen = [group for group in groups if names is None or any(parts[i].form.name in names for i in group)]
    return sum(len(small.encode([parts[i].indices for i in group])) for group in chosen)


def orders(incoming: Mask, outgoing: Mask) -> list[Order]:
    """The orders to try. incoming, outgoing: which weights into and out of each unit are not zero, a row a unit."""
    both = np.concatenate([incoming, outgoing], axis=1)
    return [by_first(incoming), by_count(incoming), by_centre(incoming), *map(chain, (incoming, outgoing, both))]


def by_first(rows: Mask) -> Order:
    """By where the first weight is, then by where the next ones are."""
    return np.lexsort(~rows.T[::-1]).astype(np.int64)


def by_count(rows: Mask) -> Order:
    """By how many weights there are, the most first."""
    return np.argsort(-rows.sum(axis=1), kind="stable").astype(np.int64)


def by_centre(rows: Mask) -> Order:
    """By the mean place of the weights."""
    places = rows @ np.arange(rows.shape[1], dtype=np.float64)
    return np.argsort(places / np.maximum(1, rows.sum(axis=1)), kind="stable").astype(np.int64)


def chain(rows: Mask) -> Order:
    """From the fullest row on, always to the row with the largest overlap |a∩b| / |a∪b|; of equals, to the first."""
    if len(rows) > MAX_CHAIN:
        return np.arange(len(rows))
    counts = rows.sum(axis=1)
    both = rows.astype(np.float32) @ rows.astype(np.float32).T  # whole numbers below 2^24: exact
    overlap = both / np.maximum(1, counts[:, None] + counts[None, :] - both)
    order = [int(counts.argmax())]
    left = np.ones(len(rows), dtype=np.bool_)
    for _ in range(len(rows) - 1):
        left[order[-1]] = False
        order.append(int(np.where(left, overlap[order[-1]], -1.0).argmax()))
    return np.array(order, dtype=np.int64)


def _units(net: Network) -> list[Units]:
    return hidden_units(net.graph, {name: weight.shape for name, weight in net.weights.items()})


def _incoming_outgoing(net: Network, units: Units) -> tuple[Mask, Mask]:
    """Which weights are not zero: (units, weights into each) and (units, weights out of each)."""
    into = np.moveaxis(net.weights[units.weight].to_dense(), units.weight_axis, 0)
    out = np.moveaxis(net.weights[units.reader].to_dense(), units.reader_axis, 0)
    return into.reshape(units.count, -1) != 0, out.reshape(units.count, -1) != 0


def _reorder(net: Network, units: Units, order: Order) -> Network:
    """`net` with unit order[i] as the i-th of `units`, and without those that `order` lacks."""
    weights = dict(net.weights)
    places = (order[:, None] * units.block + np.arange(units.block)).ravel()
    weights[units.weight] = select(weights[units.weight], units.weight_axis, order)
    weights[units.reader] = select(weights[units.reader], units.reader_axis, places)
    if units.bias is not None:
        bias = weights[units.bias]
        weights[units.bias] = select(bias, len(bias.shape) - 1, order)
    arranged = replace(net, weights=weights)
    return replace(arranged, dropped=net.dropped + net.parameters - arranged.parameters)


def _without_dead_units(net: Network) -> Network:
    """`net` without its dead units, until there are none left but the one that a layer keeps."""
    before = None
    while before is not net:
        before = net
        for number in range(len(_units(net))):
            units = _units(net)[number]
            alive = np.flatnonzero(_alive(net, units))
            alive = alive if alive.size else np.zeros(1, dtype=np.int64)
            if alive.size < units.count:
                net = _reorder(net, units, alive)
    return net


def _alive(net: Network, units: Units) -> Mask:
    incoming, outgoing = _incoming_outgoing(net, units)
    speaks: Mask = np.asarray(incoming.any(axis=1)) if units.silent else np.ones(units.count, dtype=np.bool_)
    if units.bias is not None:
        speaks = speaks | net.weights[units.bias].to_dense().ravel().astype(np.bool_)
    alive: Mask = speaks & outgoing.any(axis=1)
    return alive
