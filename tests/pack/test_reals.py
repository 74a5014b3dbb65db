"""The reals stream: exact for every number format, in the shortest of its three ways, and no other bytes accepted."""

from __future__ import annotations

import numpy as np
import plain_coder
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lissome.errors import FormatError
from lissome.pack import prime, split, text
from lissome.pack.coder import Indices
from lissome.pack.reals import CODED, PLAIN, TEXT, RealsSpec, decode, encode
from lissome.weights.formats import FORMATS, ITEMSIZE, from_bits, round_to
from networks import ascending


@st.composite
def tensors(draw):
    """Arrays and their specs: codebooks (ascending) and plain values, of any format, also empty ones."""
    arrays, specs = [], []
    for _ in range(draw(st.integers(0, 5))):
        fmt, book = draw(st.sampled_from(FORMATS)), draw(st.booleans())
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        count = draw(st.integers(1 if book else 0, 40))
        values = ascending(rng, count, fmt) if book else round_to(rng.normal(0, 9, count).astype(np.float32), fmt)
        arrays.append(values)
        specs.append(RealsSpec(count, fmt, book))
    return arrays, specs


@settings(deadline=None)
@given(tensors())
def test_round_trip(case):
    """Every number comes back bit for bit."""
    arrays, specs = case
    back = decode(encode(arrays, specs, plain_coder), specs, plain_coder)
    assert [a.tobytes() for a in back] == [a.tobytes() for a in arrays]


@pytest.mark.parametrize("fmt", FORMATS)
def test_every_bit_pattern_has_its_place_in_the_order(fmt):
    """ordered_bits is a bijection that increases with the value, −0.0 just below 0.0."""
    width = ITEMSIZE[fmt]
    patterns = np.arange(1 << 8 * min(width, 2), dtype=f"u{min(width, 2)}").astype(f"u{width}") << (
        8 * max(0, width - 2)
    )
    values = from_bits(patterns, fmt)
    finite = values[np.isfinite(values)]
    ordered = split.ordered_bits(finite, fmt)
    assert split.from_ordered_bits(ordered, fmt).tobytes() == finite.tobytes()
    by_order = finite[np.argsort(ordered)]
    assert (np.diff(by_order) >= 0).all()
    zeros = np.flatnonzero(by_order == 0)
    assert np.signbit(by_order[zeros]).tolist() == [True, False]


def test_the_shortest_way_is_taken():
    """Regular numbers go through a coder, noise is stored plainly, and a mode byte says which."""
    spec = [RealsSpec(100_000, "float32", ascending=False)]
    same = encode([np.ones(100_000, np.float32)], spec, plain_coder)
    assert same[0] == CODED
    noise = np.random.default_rng(0).integers(0, 0x7F800000, 100, dtype=np.uint32).view(np.float32)
    plainly = encode([noise], [RealsSpec(100, "float32", ascending=False)], plain_coder)
    assert plainly[0] == PLAIN
    assert len(plainly) == 401
    words = [RealsSpec(3000, "float32", ascending=False)]
    assert encode([np.ones(3000, np.float32)], words, _Useless)[0] == TEXT


class _Useless:
    """A coder that never pays."""

    @staticmethod
    def encode(group: list[Indices]) -> bytes:
        return bytes(100 + sum(one.codes.size for one in group))


def test_byte_planes_by_hand(monkeypatch):
    """Planes: all first bytes, most significant first, then all second bytes; narrow numbers take part in fewer."""
    monkeypatch.setattr(text, "encode_text", lambda plain, _prime: bytes(len(plain)))
    arrays = [np.array([1.0, -2.0], np.float32), np.array([1.5], np.float32)]
    specs = [RealsSpec(2, "float32", ascending=False), RealsSpec(1, "bfloat16", ascending=False)]
    stream = encode(arrays, specs, _Useless)
    assert stream == bytes([PLAIN]) + bytes.fromhex("3f c0 3f  80 00 c0  00 00  00 00")


def test_codebooks_are_differences_by_hand(monkeypatch):
    """An ascending codebook is stored as steps of its order-preserving integers."""
    monkeypatch.setattr(text, "encode_text", lambda plain, _prime: bytes(len(plain)))
    spec = [RealsSpec(3, "float8_e4m3", ascending=True)]
    stream = encode([np.array([-1.0, 0.0, 1.0], np.float32)], spec, _Useless)
    # 1.0 is 0x38: −1.0 is ~0xB8 = 0x47, 0.0 is 0x80, 1.0 is 0xB8.
    assert stream == bytes([PLAIN, 0x47, 0x80 - 0x47, 0x38])


BOOK = [RealsSpec(2, "float8_e4m3", ascending=True)]


@pytest.mark.parametrize(
    ("stream", "specs", "message"),
    [
        (b"", BOOK, "is empty, but the tensors need numbers"),
        (b"\x00", [], "holds bytes, but the tensors need no number"),
        (b"\x00\x01", BOOK, "holds 1 bytes of numbers; the tensors need 2"),
        (b"\x00\x01\x02\x03", BOOK, "holds 3 bytes of numbers; the tensors need 2"),
        (b"\x03\x01\x02", BOOK, "unknown mode 3"),
        (b"\xff", BOOK, "unknown mode 255"),
        (b"\x00\x01\x00", BOOK, "a codebook does not ascend"),
        (b"\x00\xf0\x20", BOOK, "a codebook does not ascend"),
        (b"\x01nonsense", BOOK, "not a stream of the plain coder"),
        (bytes([TEXT]) + b"\x00" * 20000, [RealsSpec(70_000, "float8_e4m3", ascending=False)], "unknown mode 2"),
    ],
)
def test_no_other_bytes(stream, specs, message):
    """Each way to be wrong is one FormatError."""
    with pytest.raises(FormatError, match=message):
        decode(stream, specs, plain_coder)


def test_text_of_the_wrong_length():
    """The text way is bounded by what the tensors need."""
    short = bytes([TEXT]) + text.encode_text(b"\x01", prime.REALS)
    with pytest.raises(FormatError, match="holds 1 bytes of numbers; the tensors need 2"):
        decode(short, BOOK, plain_coder)
