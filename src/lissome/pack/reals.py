"""The reals stream: every codebook and every value that is not shared, of all tensors (docs/format.md, "Reals").

Codebooks ascend, so they are stored as differences of order-preserving integers. All numbers are then laid out by byte
planes, most significant first, over the whole network; the planes are stored in whichever of three ways is shortest.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.errors import FormatError
from lissome.files import give_back
from lissome.pack import prime, text
from lissome.pack.coder import Bytes, Coder, IndexSpec, Indices
from lissome.pack.split import from_ordered_bits, ordered_bits
from lissome.weights.formats import ITEMSIZE, from_bits, to_bits

PLAIN, CODED, TEXT = range(3)
TEXT_LIMIT: Final = 1 << 16  # the text coder is slow, and gains nothing on more

Column: TypeAlias = NDArray[np.uint8]  # a byte of each of a tensor's numbers


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


def decode(data: Bytes, specs: Sequence[RealsSpec], coder: Coder) -> list[NDArray[np.float32]]:
    """The inverse of `encode`. Raises FormatError for anything that `encode` would not have written.

    The caller has bounded the counts in `specs` before; memory is in proportion to them. Planes go straight to where
    their bytes belong, so that beside the numbers there is one plane at most; pages of a mapped file go as soon as they
    have been read. The arrays are the caller's.
    """
    size = sum(plane.size for plane in _plane_specs(specs))
    integers = [np.empty(spec.count, f"u{ITEMSIZE[spec.format]}") for spec in specs]
    if size or data:
        _read_planes(memoryview(data), [columns for columns in _columns(integers) if columns], size, coder)
    return [_from_integers(each, spec) for each, spec in zip(integers, specs, strict=True)]


def _read_planes(data: memoryview, planes: Sequence[Sequence[Column]], size: int, coder: Coder) -> None:
    """Fill the planes, of `size` bytes together."""
    if not size:
        raise FormatError("holds bytes, but the tensors need no number")
    if not data:
        raise FormatError("is empty, but the tensors need numbers")
    mode, rest = data[0], data[1:]
    if mode == TEXT and size <= TEXT_LIMIT:
        rest, mode = memoryview(text.decode_text(bytes(rest), prime.REALS, max_bytes=size)), PLAIN
    if mode == PLAIN:
        _copy(rest, planes, size)
    elif mode == CODED:
        _decode(rest, planes, size, coder)
    else:
        raise FormatError(f"unknown mode {mode} for {size} bytes of numbers")


def _copy(data: memoryview, planes: Sequence[Sequence[Column]], size: int) -> None:
    if len(data) != size:
        raise FormatError(f"holds {len(data)} bytes of numbers; the tensors need {size}")
    for columns in planes:
        plane, data = data[: _size(columns)], data[_size(columns) :]
        _scatter(np.frombuffer(plane, np.uint8), columns)
        give_back(plane)


def _decode(data: memoryview, planes: Sequence[Sequence[Column]], size: int, coder: Coder) -> None:
    decode_into = getattr(coder, "decode_bytes_into", None)
    if decode_into is None:
        specs = [IndexSpec((_size(columns),), sparse=False, alphabet=256) for columns in planes]
        for found, columns in zip(coder.decode(data, specs, max_entries=size), planes, strict=True):
            _scatter(found.codes, columns)
        return
    for columns in planes:
        taken = decode_into(data, columns)
        give_back(data[:taken])
        data = data[taken:]
    if data:
        raise FormatError("bytes follow the end of the stream")


def _size(columns: Sequence[Column]) -> int:
    return sum(column.size for column in columns)


def _scatter(plane: NDArray[np.unsignedinteger], columns: Sequence[Column]) -> None:
    at = 0
    for column in columns:
        column[:] = plane[at : at + column.size]
        at += column.size


def _columns(integers: Sequence[NDArray[np.unsignedinteger]]) -> list[list[Column]]:
    """Where the bytes of each plane belong: the most significant of all numbers, then the next, and so on."""
    rows = [each.view(np.uint8).reshape(-1, each.itemsize) for each in integers]
    rows = [row if sys.byteorder == "big" else row[:, ::-1] for row in rows]
    return [[row[:, plane] for row in rows if row.shape[1] > plane and len(row)] for plane in range(4)]


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
