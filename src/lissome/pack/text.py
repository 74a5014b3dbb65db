"""Text coder: a short text, primed with a text that both sides know and that shows what such texts look like.

A byte is foreseen from the bytes before it (one to six of them, the word so far, what followed when the like was last
seen), by the same mixing and range coding as coder `small`. Bytes: docs/coder-small.md, section 5.
"""

from __future__ import annotations

from lissome.pack.native import native_function


def encode_text(data: bytes, prime: bytes) -> bytes:
    """`data` coded, given `prime`; `decode_text` with the same prime is the inverse. Equal texts give equal bytes."""
    coded: bytes = native_function("text_encode")(data, prime)
    return coded


def decode_text(data: bytes, prime: bytes, *, max_bytes: int) -> bytes:
    """The inverse of `encode_text`. Raises FormatError for damage, LimitError past `max_bytes`."""
    text: bytes = native_function("text_decode")(data, prime, max(0, min(max_bytes, 2**63 - 1)))
    return text
