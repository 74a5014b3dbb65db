"""What an entropy coder codes, and its contract.

Every coded weight comes down to the same two things: `Indices` (where the survivors are, and which code each has) and a
few real numbers (a codebook, or values that were never shared). A coder turns Indices into bytes and back; it is a
module with `encode` and `decode` (huffman.py, fast.py, small.py), listed in choose.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Indices:
    """Codes of one tensor, and their positions when it is sparse.

    shape: of the tensor, output channels first.
    positions: int64 (nnz,), strictly increasing flat row-major indices; None when every element has a code (dense).
    codes: uint8 or uint16, (nnz,) or (prod(shape),), each below `alphabet`. With alphabet 1 there is nothing to code
    (values that were never shared travel apart): codes are all zero.
    """

    shape: tuple[int, ...]
    positions: NDArray[np.int64] | None
    codes: NDArray[np.unsignedinteger]
    alphabet: int


class Coder(Protocol):
    """The contract of huffman, fast and small."""

    def encode(self, indices: Indices) -> bytes:
        """Deterministic: equal indices give equal bytes on every machine."""
        ...

    def decode(self, data: bytes, shape: tuple[int, ...], *, sparse: bool, alphabet: int, max_entries: int) -> Indices:
        """The inverse of `encode`. `shape`, `sparse` and `alphabet` come from the (untrusted) header.

        Allocates for at most `max_entries` codes, and never more than it has really decoded.
        Raises FormatError for any `data` that `encode` would not have produced, LimitError past `max_entries`.
        """
        ...
