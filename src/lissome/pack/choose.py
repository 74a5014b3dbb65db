"""The entropy coders of a .liss file, and which of them a file uses.

One explicit table: a new coder is its module and its line here. The identifiers are normative (docs/format.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

from lissome.errors import FormatError
from lissome.pack.coder import Coder


@dataclass(frozen=True, slots=True)
class Profile:
    """A coder by its name, the byte that stands for it in a file, and the module that implements it."""

    name: str
    identifier: int
    module: str

    def load(self) -> Coder:
        """The coder: a module with `encode` and `decode`. Raises NativeMissing when it needs an absent extension."""
        return cast("Coder", importlib.import_module(self.module))


# In the order of preference between equal sizes: the fastest to decode first.
PROFILES: Final = (
    Profile("fast", 2, "lissome.pack.fast"),
    Profile("huffman", 1, "lissome.pack.huffman"),
    Profile("small", 3, "lissome.pack.small"),
)
AUTO: Final = "auto"


def candidates(coder: str) -> tuple[Profile, ...]:
    """The profiles to try for `coder`: one name, or "auto" for all of them. Raises ValueError for any other."""
    if coder == AUTO:
        return PROFILES
    found = tuple(profile for profile in PROFILES if profile.name == coder)
    if not found:
        known = ", ".join(profile.name for profile in PROFILES)
        raise ValueError(f"unknown coder {coder!r}; known: {AUTO}, {known}")
    return found


def by_identifier(identifier: int) -> Profile:
    """The profile that a file names. Raises FormatError for a byte that names none."""
    for profile in PROFILES:
        if profile.identifier == identifier:
            return profile
    known = ", ".join(f"{p.identifier} ({p.name})" for p in sorted(PROFILES, key=lambda p: p.identifier))
    raise FormatError(f"unknown coder {identifier}; known: {known}")


def smallest(sizes: Mapping[str, int]) -> str:
    """Name of the profile with the fewest bytes; of equals, the one that decodes fastest."""
    return min((profile.name for profile in PROFILES if profile.name in sizes), key=lambda name: sizes[name])
