"""Where tensors live: one arena, shared by lifetimes; views are parts of others; outputs go straight to the caller."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lissome.runtime.native import native
from lissome.runtime.step import Step

ALIGNMENT: Final = 64


@dataclass
class Memory:
    """Names of tensors in memory: how many elements each has, and which lie within another.

    elements: of each, padding of blocked layouts included. narrow: the tensors of uint8 codes, and their views; all
    others are float32. views: name → (the tensor it is a run of elements of, how many elements in). A view may lie
    within a view.
    """

    elements: dict[str, int] = field(default_factory=dict)
    views: dict[str, tuple[str, int]] = field(default_factory=dict)
    narrow: set[str] = field(default_factory=set)

    def width(self, name: str) -> int:
        """Bytes of an element."""
        return 1 if name in self.narrow else 4

    def root(self, name: str) -> str:
        """The tensor that owns the memory of `name`."""
        while name in self.views:
            name = self.views[name][0]
        return name

    def offset(self, name: str) -> int:
        """How many elements into its root's memory a tensor begins."""
        skip = 0
        while name in self.views:
            name, into = self.views[name]
            skip += into
        return skip

    def place(
        self,
        builder: native.Builder,
        steps: Sequence[Step],
        fixed: Mapping[str, int],
    ) -> dict[str, int]:
        """Give every tensor that a step names a place; returns the builder's number of each.

        fixed: numbers of the tensors that are inputs, outputs or constants already.
        """
        places = dict(fixed)
        lifetimes: dict[str, list[int]] = {}
        for i, step in enumerate(steps):
            for name in (*step.inputs, *step.outputs):
                root = self.root(name)
                if name and root not in places:
                    lifetimes.setdefault(root, [i, i])[1] = i
        sizes = {name: self.elements[name] * self.width(name) for name in lifetimes}
        for name, offset in arrange(lifetimes, sizes).items():
            places[name] = builder.arena(self.elements[name], offset, self.width(name))
        for step in steps:
            for name in (*step.inputs, *step.outputs):
                self._place_view(builder, name, places)
        return places

    def _place_view(self, builder: native.Builder, name: str, places: dict[str, int]) -> None:
        chain = [name]
        while chain[-1] not in places:
            chain.append(self.views[chain[-1]][0])
        for part in reversed(chain[:-1]):
            whole, skip = self.views[part]
            places[part] = builder.part(places[whole], self.elements[part], skip)


def arrange(lifetimes: Mapping[str, Sequence[int]], sizes: Mapping[str, int]) -> dict[str, int]:
    """Byte offsets such that tensors alive at the same step never overlap.

    lifetimes: first and last step of each. Greedy by size (Pisarchyk and Lee, "Efficient memory management for deep
    neural net inference", 2020): the largest first, each at the lowest offset that is free for its whole life.
    """
    offsets: dict[str, int] = {}
    for name in sorted(sizes, key=lambda n: (-sizes[n], n)):
        first, last = lifetimes[name]
        busy = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if lifetimes[other][0] <= last and first <= lifetimes[other][1]
        )
        at = 0
        for begin, end in busy:
            if begin - at >= sizes[name]:
                break
            at = max(at, -(-end // ALIGNMENT) * ALIGNMENT)
        offsets[name] = at
    return offsets
