"""Relative indices with filler zeros: how the Deep Compression paper stores where the survivors are.

The distance from one non-zero to the next (row-major; the first counts from before the tensor's start) is kept in a
field of `width` bits as distance − 1. A distance beyond 2^width is bridged by fillers: entries of value zero, each the
full 2^width further on. EIE stores its matrices so (4 bits), and so does coder *huffman*, whose native code
this module states in a few lines of NumPy.

Source: Han, Mao and Dally, Deep Compression, ICLR 2016, section 2 and figure 2.

>>> relative(np.array([0, 3, 14]), width=3)  # the paper's example: distances 1, 3, 8 (a filler), 3
(array([0, 2, 7, 2]), array([False, False,  True, False]))
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def relative(positions: NDArray[np.int64], *, width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Fields and whether each is a filler, for strictly increasing `positions` (nnz,); both (nnz + fillers,).

    Every field is below 2^width.
    """
    zeros = np.diff(positions, prepend=-1) - 1
    bridged = zeros >> width  # fillers before each survivor
    ends = np.cumsum(bridged + 1) - 1  # where each survivor's own entry stands
    filler = np.ones(int(bridged.sum()) + positions.size, dtype=np.bool_)
    filler[ends] = False
    fields = np.full(filler.size, (1 << width) - 1, dtype=np.int64)
    fields[ends] = zeros & ((1 << width) - 1)
    return fields, filler


def absolute(fields: NDArray[np.int64], filler: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The inverse of `relative`: int64 positions (nnz,)."""
    everywhere: NDArray[np.int64] = np.cumsum(fields + 1) - 1
    return everywhere[~filler]


def fillers(positions: NDArray[np.int64], *, width: int) -> int:
    """How many fillers a field of `width` bits needs."""
    return int(((np.diff(positions, prepend=-1) - 1) >> width).sum())
