"""Names that nothing else has yet."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """Hands out names: the one that is wanted, or it with _2, _3, … behind it when it is taken."""

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self.taken = set(taken)
        self._next: dict[str, int] = {}  # so that a name wanted a thousand times is not searched from the start

    def fresh(self, stem: str) -> str:
        """A name like `stem` that was not taken, and now is."""
        name, number = stem, self._next.get(stem, 2)
        while name in self.taken:
            name = f"{stem}_{number}"
            number += 1
        self._next[stem] = number
        self.taken.add(name)
        return name
