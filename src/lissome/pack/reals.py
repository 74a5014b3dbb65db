"""The reals stream: every codebook and every value that is not shared, of all tensors (docs/format.md, "Reals").

Codebooks ascend, so they are stored as differences of order-preserving integers. All numbers are then laid out by byte
planes, most significant first, over the whole network; the planes are stored in whichever of three ways is shortest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import FormatError
from lissome.pack import prime, text
from lissome.pack.coder import Coder, IndexSpec, Indices
from lissome.pack.split import from_ordered_bits, ordered_bits
from lissome.weights.formats import ITEMSIZE, from_bits, to_bits

PLAIN, CODED, TEXT = range(3)
TEXT_LIMIT: Final = 1 << 16  # the text coder is slow, and gains nothing on more


@dataclass(frozen=True, slots=True)
class RealsSpec:
    """How many numbers a tensor has in the stream, in what format, and whether they are an (ascending) codebook."""

    count: int
    format: str
    ascending: bool


def encode(arrays: Sequence[NDArray[np.float32]], specs: Sequence[RealsSpec], coder: Coder) -> bytes:
    """The stream of `arrays`: empty for no numbers, else a mode byte and the planes in that mode."""
    plain = _to_planes([_to_integers(array, spec) for array, spec in zip(arrays, specs, strict=True)])
    if not plain:
        return b""
    planes = _plane_specs(specs)
    pieces = np.split(np.frombuffer(plain, dtype=np.uint8), np.cumsum([plane.size for plane in planes])[:-1])
    group = [Indices(plane, None, piece) for plane, piece in zip(planes, pieces, strict=True)]
    ways = [bytes([PLAIN]) + plain, bytes([CODED]) + coder.encode(group)]
    if len(plain) <= TEXT_LIMIT:
        ways.append(bytes([TEXT]) + text.encode_text(plain, prime.REALS))
    return min(ways, key=len)


def decode(data: bytes, specs: Sequence[RealsSpec], coder: Coder) -> list[NDArray[np.float32]]:
    """The inverse of `encode`. Raises FormatError for anything that `encode` would not have written.

    The caller has bounded the counts in `specs` before; memory is in proportion to them.
    """
    planes = _plane_specs(specs)
    size = sum(plane.size for plane in planes)
    plain = _plain(data, planes, size, coder)
    if len(plain) != size:
        raise FormatError(f"holds {len(plain)} bytes of numbers; the tensors need {size}")
    return [_from_integers(each, spec) for each, spec in zip(_from_planes(plain, specs), specs, strict=True)]


def _plain(data: bytes, planes: Sequence[IndexSpec], size: int, coder: Coder) -> bytes:
    if not size:
        if data:
            raise FormatError("holds bytes, but the tensors need no number")
        return b""
    if not data:
        raise FormatError("is empty, but the tensors need numbers")
    mode, rest = data[0], data[1:]
    if mode == PLAIN:
        return rest
    if mode == CODED:
        return b"".join(piece.codes.tobytes() for piece in coder.decode(rest, planes, max_entries=size))
    if mode == TEXT and size <= TEXT_LIMIT:
        return text.decode_text(rest, prime.REALS, max_bytes=size)
    raise FormatError(f"unknown mode {mode} for {size} bytes of numbers")


def _plane_specs(specs: Sequence[RealsSpec]) -> list[IndexSpec]:
    """One spec a plane: plane p has the p-th most significant byte of every number that has more than p bytes."""
    sizes = [sum(spec.count for spec in specs if ITEMSIZE[spec.format] > plane) for plane in range(4)]
    return [IndexSpec((size,), sparse=False, alphabet=256) for size in sizes if size]


def _to_integers(values: NDArray[np.float32], spec: RealsSpec) -> NDArray[np.unsignedinteger]:
    if not spec.ascending:
        return to_bits(values, spec.format)
    ordered = ordered_bits(values, spec.format)
    return np.diff(ordered, prepend=ordered.dtype.type(0))


def _from_integers(integers: NDArray[np.unsignedinteger], spec: RealsSpec) -> NDArray[np.float32]:
    if not spec.ascending:
        return from_bits(integers, spec.format)
    total = np.cumsum(integers, dtype=np.uint64)
    if (integers[1:] == 0).any() or int(total[-1]) >> (8 * integers.itemsize):
        raise FormatError("a codebook does not ascend")
    return from_ordered_bits(total.astype(integers.dtype), spec.format)


def _to_planes(arrays: Sequence[NDArray[np.unsignedinteger]]) -> bytes:
    """Most significant bytes of all numbers, then the next, and so on; narrower numbers take part in fewer planes."""
    rows = [array.astype(array.dtype.newbyteorder(">")).view(np.uint8).reshape(-1, array.itemsize) for array in arrays]
    return b"".join(row[:, plane].tobytes() for plane in range(4) for row in rows if row.shape[1] > plane)


def _from_planes(plain: bytes, specs: Sequence[RealsSpec]) -> list[NDArray[np.unsignedinteger]]:
    source = np.frombuffer(plain, dtype=np.uint8)
    rows = [np.empty((spec.count, ITEMSIZE[spec.format]), dtype=np.uint8) for spec in specs]
    at = 0
    for plane in range(4):
        for row in rows:
            if row.shape[1] > plane:
                row[:, plane] = source[at : at + len(row)]
                at += len(row)
    return [row.view(f">u{row.shape[1]}").ravel().astype(f"u{row.shape[1]}") for row in rows]
