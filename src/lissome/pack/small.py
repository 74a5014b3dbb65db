"""Coder *small*: lissome's best, for the fewest bytes.

Every element's mask bit, every survivor's sign and the bits of its magnitude are predicted from their surroundings
(rows above, pixels beside, how full the column and the row are, the layer before), the predictions are mixed by weights
that learn as they go, and a binary range coder turns what was foreseen into almost nothing. The container sorts
codebooks, so that codes tell order. Bytes: docs/coder-small.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from lissome.pack.coder import Bytes, IndexSpec, Indices
from lissome.pack.native import decode_group, encode_group


def encode(group: Sequence[Indices]) -> bytes:
    """The group as one stream; equal indices give equal bytes on every machine.

    Raises WeightError for contradictory indices and for a tensor of more than 2^34 elements.
    """
    return encode_group("small", group)


def decode(data: Bytes, specs: Sequence[IndexSpec], *, max_entries: int) -> list[Indices]:
    """The inverse of `encode`; raises FormatError for damaged data, LimitError past `max_entries` codes."""
    return decode_group("small", data, specs, max_entries)
