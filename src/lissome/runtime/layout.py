"""Layouts of activations: plain (n, c, h, w); blocked (n, ⌈c / block⌉, h, w, block), zeros behind the last channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def to_blocked(x: NDArray[np.float32], block: int) -> NDArray[np.float32]:
    """`x`, plain, with its channels in blocks; block 1 is plain."""
    if block == 1:
        return x
    n, c, h, w = x.shape
    blocks = -(-c // block)
    padded = np.zeros((n, blocks * block, h, w), np.float32)
    padded[:, :c] = x
    return np.ascontiguousarray(padded.reshape(n, blocks, block, h, w).transpose(0, 1, 3, 4, 2))


def to_plain(y: NDArray[np.float32], channels: int, block: int) -> NDArray[np.float32]:
    """`y`, whose channels lie in blocks of `block`, as (n, channels, h, w)."""
    if block == 1:
        return y
    n, blocks, h, w, _ = y.shape
    return np.ascontiguousarray(y.transpose(0, 1, 4, 2, 3).reshape(n, blocks * block, h, w)[:, :channels])


def extents(n: int, c: int, h: int, w: int, block: int) -> tuple[int, ...]:
    """The shape of a tensor in this layout."""
    return blocked((n, c, h, w), block)


def blocked(shape: Sequence[int], block: int) -> tuple[int, ...]:
    """Extents in memory of a tensor of this shape, (n, channels, …), with channels in whole blocks; 1: plain."""
    if block == 1:
        return tuple(shape)
    return (shape[0], -(-shape[1] // block), *shape[2:], block)
