"""Text coder: a short text, primed with a dictionary of what such texts look like."""

from __future__ import annotations

import zlib

from lissome.errors import FormatError, LimitError


def encode_text(data: bytes, prime: bytes) -> bytes:
    """`data` coded, given `prime`; `decode_text` with the same prime is the inverse."""
    coder = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=prime) if prime else zlib.compressobj(9, wbits=-15)
    return coder.compress(data) + coder.flush()


def decode_text(data: bytes, prime: bytes, *, max_bytes: int) -> bytes:
    """The inverse of `encode_text`. Raises FormatError for damage, LimitError past `max_bytes`."""
    coder = zlib.decompressobj(-15, zdict=prime) if prime else zlib.decompressobj(-15)
    try:
        out = coder.decompress(data, max_bytes + 1)
    except zlib.error as error:
        raise FormatError(f"not a coded text ({error})") from None
    if len(out) > max_bytes:
        raise LimitError(f"text of more than {max_bytes} bytes")
    if not coder.eof or coder.unused_data:
        raise FormatError("the coded text does not end where its stream does")
    return out
