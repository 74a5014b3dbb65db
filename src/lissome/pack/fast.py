"""Coder *fast*: static tables and interleaved rANS, for networks so large that decoding time matters.

Each tensor has a frequency table for its gaps (exact below 16, then four buckets an octave with raw low bits) and one
for its codes (beyond 256 codes the lower bits travel raw). Thirty-two rANS lanes are decoded at once by vector
gathers; every instruction set gives the same result. Bytes come close to the entropy of single codes and gaps, a
little below *huffman*; `small` needs fewer still and is much slower.

Source: Duda, Asymmetric numeral systems, arXiv:1311.2540, 2013; Giesen, Interleaved entropy coders, arXiv:1402.3392,
2014. Bytes: docs/coders.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lissome.pack.coder import Bytes, IndexSpec, Indices
from lissome.pack.native import decode_bytes, decode_group, encode_group


def encode(group: Sequence[Indices]) -> bytes:
    """The group as one stream; equal indices give equal bytes. Raises WeightError for contradictory indices."""
    return encode_group("fast", group)


def decode(data: Bytes, specs: Sequence[IndexSpec], *, max_entries: int) -> list[Indices]:
    """The inverse of `encode`; raises FormatError for damaged data, LimitError past `max_entries` codes."""
    return decode_group("fast", data, specs, max_entries)


def decode_bytes_into(data: Bytes, columns: Sequence[NDArray[np.uint8]]) -> int:
    """The next tensor of a group of dense tensors of 256 codes, written to these arrays one after another without ever
    being a whole; returns how many bytes of `data` it takes.
    """
    return decode_bytes("fast", data, columns)
