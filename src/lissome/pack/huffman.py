"""Coder *huffman*: the Deep Compression paper's own coding, kept as the yardstick for the other two.

A survivor's position is its distance to the one before in a field of bounded width; a longer way is bridged by filler
zeros, which carry a code of their own. Distances and codes have a canonical Huffman code each, and the encoder tries
every width. Prefer `small` for fewer bytes, `fast` for speed; this one is simple to read anywhere.

Source: Han, Mao and Dally, Deep Compression, ICLR 2016, sections 2 and 4. Bytes: docs/coders.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from lissome.pack.coder import Bytes, IndexSpec, Indices
from lissome.pack.native import decode_group, encode_group


def encode(group: Sequence[Indices]) -> bytes:
    """The group as one stream; equal indices give equal bytes. Raises WeightError for contradictory indices."""
    return encode_group("huffman", group)


def decode(data: Bytes, specs: Sequence[IndexSpec], *, max_entries: int) -> list[Indices]:
    """The inverse of `encode`; raises FormatError for damaged data, LimitError past `max_entries` codes."""
    return decode_group("huffman", data, specs, max_entries)
