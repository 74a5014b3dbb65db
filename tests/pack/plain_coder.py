"""A coder for tests: the contract of a coder in the plainest way, so that the container is tested alone."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from lissome.errors import FormatError, LimitError
from lissome.pack.coder import IndexSpec, Indices


def encode(group: Sequence[Indices]) -> bytes:
    out = bytearray()
    for one in group:
        out += len(one.codes).to_bytes(6, "little")
        if one.positions is not None:
            out += np.diff(one.positions, prepend=-1).astype("<u8").tobytes()
        out += one.codes.tobytes()
    return zlib.compress(bytes(out), 9)


def decode(data: bytes, specs: Sequence[IndexSpec], *, max_entries: int) -> list[Indices]:
    bound = sum(6 + 10 * min(spec.size, max_entries) for spec in specs)
    try:
        decoder = zlib.decompressobj()
        plain = decoder.decompress(data, bound + 1)
    except zlib.error as error:
        raise FormatError(f"not a stream of the plain coder ({error})") from None
    if len(plain) > bound:
        raise LimitError(f"more than {max_entries} entries")
    if not decoder.eof or decoder.unused_data:
        raise FormatError("the stream does not end where it should")
    found, at = [], 0
    for spec in specs:
        count = int.from_bytes(plain[at : at + 6], "little")
        at += 6
        if count > max_entries:
            raise LimitError(f"{count} entries, more than {max_entries}")
        max_entries -= count
        positions = None
        if spec.sparse:
            gaps = np.frombuffer(plain[at : at + 8 * count], "<u8")
            at += 8 * count
            if gaps.size and (gaps.min() < 1 or gaps.max() > spec.size or int(gaps.sum()) > spec.size):
                raise FormatError("a position outside its tensor")
            positions = np.cumsum(gaps.astype(np.int64)) - 1
        width = 1 if spec.alphabet <= 256 else 2
        codes = np.frombuffer(plain[at : at + width * count], f"<u{width}")
        at += width * count
        wrong = spec.sparse and positions.size != count
        if codes.size != count or wrong or (not spec.sparse and count != spec.size):
            raise FormatError("too few entries")
        if codes.size and int(codes.max()) >= spec.alphabet:
            raise FormatError(f"code {int(codes.max())} outside an alphabet of {spec.alphabet}")
        found.append(Indices(spec, positions, codes))
    if at != len(plain):
        raise FormatError("bytes after the last entry")
    return found
