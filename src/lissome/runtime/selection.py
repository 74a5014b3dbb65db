"""Tensors that are elements of others along one axis, before anything needs them in memory.

Concat, Split, Slice and Gather along one axis make none of their own: each is a list of elements of other tensors, and
lists of lists are lists. Only where another operator reads one does it get memory, and then mostly without a copy: a
part of one tensor is a view, and the parts of a concatenation are written straight into its memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from lissome.runtime.native import native
from lissome.runtime.step import Step

if TYPE_CHECKING:
    from lissome.runtime.plan import Planner

MOST_SOURCES: Final = 8  # inputs of a kernel


@dataclass(frozen=True, eq=False)
class Selection:
    """y[…, k, …] = sources[owner[k]][…, index[k], …] along `axis`; what is selected for is the node called `node`."""

    node: str
    axis: int
    sources: tuple[str, ...]
    owner: NDArray[np.int64]
    index: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64], node: str) -> Selection:
        """The elements of these numbers."""
        return Selection(node, self.axis, self.sources, self.owner[indices], self.index[indices])


def of(planner: Planner, name: str, axis: int, node: str) -> Selection:
    """All of a tensor, as a selection along `axis`."""
    pending = planner.pending.get(name)
    if pending is not None and pending.axis == axis:
        return pending
    planner.settle(name)
    extent = planner.shape(name)[axis]
    return Selection(node, axis, (name,), np.zeros(extent, np.int64), np.arange(extent))


def join(parts: Sequence[Selection], node: str) -> Selection:
    """One selection after the other."""
    owners, start = [], 0
    for part in parts:
        owners.append(part.owner + start)
        start += len(part.sources)
    sources = tuple(name for part in parts for name in part.sources)
    index = np.concatenate([part.index for part in parts])
    return _compact(Selection(node, parts[0].axis, sources, np.concatenate(owners), index))


def _compact(selection: Selection) -> Selection:
    """Without sources that nothing is taken from, each source once, in the order of their first element."""
    names = [selection.sources[owner] for owner in selection.owner]
    sources = tuple(dict.fromkeys(names))
    number = {name: i for i, name in enumerate(sources)}
    owner = np.array([number[name] for name in names], np.int64)
    return Selection(selection.node, selection.axis, sources, owner, selection.index)


def settle(planner: Planner, name: str, selection: Selection) -> None:
    """Give the tensor `name`, which is this selection, its memory: a view, the memory of its parts, or a copy."""
    s = _compact(selection)
    block = max(planner.block(source) for source in s.sources) if s.axis == 1 else 1
    s = Selection(s.node, s.axis, tuple(planner.in_layout(source, block) for source in s.sources), s.owner, s.index)
    shape = planner.shape(name)
    planner.set_block(name, block)
    alone = math.prod(shape[: s.axis]) == 1
    if alone and _is_view(planner, name, s, block):
        return
    if alone and _is_whole(planner, s) and all(_extent(planner, part, s.axis) % block == 0 for part in s.sources[:-1]):
        gather(planner, name, s)
        return
    select(planner, name, s, block)


def _extent(planner: Planner, name: str, axis: int) -> int:
    return planner.shape(name)[axis]


def _is_view(planner: Planner, name: str, s: Selection, block: int) -> bool:
    """Make `name` a view if it is one run of one tensor; says whether it was."""
    first, count = int(s.index[0]), s.index.size
    if len(s.sources) > 1 or not np.array_equal(s.index, np.arange(first, first + count)):
        return False
    ends = first + count == _extent(planner, s.sources[0], s.axis)
    if first % block or (count % block and not ends):
        return False
    planner.view(name, s.sources[0], first * math.prod(planner.shape(name)[s.axis + 1 :]))
    return True


def _is_whole(planner: Planner, s: Selection) -> bool:
    """Whether this is its sources, whole, one after the other."""
    whole = [np.arange(_extent(planner, source, s.axis)) for source in s.sources]
    owner = np.repeat(np.arange(len(whole)), [part.size for part in whole])
    return np.array_equal(s.owner, owner) and np.array_equal(s.index, np.concatenate(whole))


def gather(planner: Planner, name: str, s: Selection) -> None:
    """Let the parts of a concatenation be parts of its memory; what cannot be is copied there.

    Where some parts are another concatenation's, whole (DenseNet's layers read all layers before them), that one
    becomes a part of this: it grows in place.
    """
    skip, at = 0, 0
    while at < len(s.sources):
        root, count = _group(planner, s.sources[at:])
        part = root or s.sources[at]
        if root is None:
            part = planner.fresh(part, planner.memory.elements[part])
            planner.copy_to(s.sources[at], part, s.node)
        planner.view(part, name, skip)
        skip += planner.memory.elements[part]
        at += count
    planner.maker[name] = len(planner.steps) - 1


def _group(planner: Planner, sources: Sequence[str]) -> tuple[str | None, int]:
    """The tensor whose memory is exactly the first of these sources, in order, and how many; None if it cannot move."""
    root, filled = planner.memory.root(sources[0]), 0
    for count, source in enumerate(sources, 1):
        if planner.memory.root(source) != root or planner.memory.offset(source) != filled:
            break
        filled += planner.memory.elements[source]
        if filled == planner.memory.elements[root]:
            return (root if planner.movable(root) else None), count
    return None, 1


def select(planner: Planner, name: str, s: Selection, block: int) -> None:
    """Copy a selection's elements, each once, whatever their order."""
    while len(s.sources) > MOST_SOURCES:
        s = _fewer(planner, s, block)
    shape = planner.shape(name)
    counts = tuple(_extent(planner, source, s.axis) for source in s.sources)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    kernel = f"select_f32{'_blocked' if block > 1 else ''}_{planner.isa}"
    packed = native.pack_indices(starts[s.owner] + s.index, sum(counts))
    ints = (math.prod(shape[: s.axis]), math.prod(shape[s.axis + 1 :]), s.index.size, *counts)
    why = f"{s.index.size} of axis {s.axis}, from {len(counts)} tensor{'s' if len(counts) > 1 else ''}"
    planner.add(Step((s.node,), "Gather", kernel, why, s.sources, (name,), ints, (0.0,), packed))


def _fewer(planner: Planner, s: Selection, block: int) -> Selection:
    """The same selection of fewer sources: what it takes of the first ones is one tensor."""
    taken = np.flatnonzero(s.owner < MOST_SOURCES)
    extents = list(planner.shape(s.sources[0]))
    extents[s.axis] = taken.size
    some = planner.tensor(s.node, tuple(extents), block)
    select(planner, some, _compact(s.take(taken, s.node)), block)
    owner, index = s.owner - MOST_SOURCES + 1, s.index.copy()
    owner[taken], index[taken] = 0, np.arange(taken.size)
    return Selection(s.node, s.axis, (some, *s.sources[MOST_SOURCES:]), owner, index)
