"""What an entropy coder codes, and its contract.

Every coded weight comes down to the same two things: `Indices` (where the survivors are, and which code each has) and a
few real numbers (a codebook, or values that were never shared; those travel apart, see reals.py). A coder turns the
Indices of a group of tensors into bytes and back; it is a module with `encode` and `decode` (huffman.py, fast.py,
small.py), listed in choose.py. A group is coded as one stream, so that an adaptive coder may carry over what it learnt.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bytes: TypeAlias = bytes | memoryview


@dataclass(frozen=True)
class IndexSpec:
    """What the (untrusted) header says of one tensor's indices before a byte of them is decoded.

    shape: of the tensor, output channels first. sparse: whether positions are coded. alphabet: codes are below it, 1 to
    65,536; with 1 there is nothing to code (values that were never shared travel apart).
    """

    shape: tuple[int, ...]
    sparse: bool
    alphabet: int

    @property
    def size(self) -> int:
        """Number of elements of the dense tensor."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Indices:
    """Codes of one tensor, and their positions when it is sparse.

    positions: int64 (nnz,), strictly increasing flat row-major indices; None when every element has a code.
    codes: uint8 (alphabet up to 256) or uint16, shape (nnz,) or (size,), each below the alphabet.
    """

    spec: IndexSpec
    positions: NDArray[np.int64] | None
    codes: NDArray[np.unsignedinteger]


class Coder(Protocol):
    """The contract of huffman, fast and small."""

    def encode(self, group: Sequence[Indices]) -> bytes:
        """Deterministic: equal indices give equal bytes on every machine."""
        ...

    def decode(self, data: Bytes, specs: Sequence[IndexSpec], *, max_entries: int) -> list[Indices]:
        """The inverse of `encode`; consumes all of `data`.

        Allocates memory only in proportion to entries really decoded, at most `max_entries` codes over the group.
        Raises FormatError for `data` that `encode` would not have produced, LimitError past `max_entries`.
        """
        ...
