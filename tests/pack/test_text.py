"""The text coder: exact, small for what its prime shows, and safe with bytes that nobody encoded."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twins_text import decode_text as decode_plainly

from lissome.errors import FormatError, LimitError
from lissome.pack import prime
from lissome.pack.text import decode_text, encode_text

PLENTY = 1 << 20
PRIME = b'{"kernel_shape":[3,3],"pads":[1,1,1,1],"strides":[2,2]}'
TEXT = b'{"kernel_shape":[5,5],"pads":[2,2,2,2],"strides":[1,1]}'

pytestmark = pytest.mark.native


@given(st.binary(max_size=400), st.binary(max_size=100))
@settings(deadline=None)
def test_decode_inverts_encode(data, start):
    """Any bytes come back, whatever the prime."""
    assert decode_text(encode_text(data, start), start, max_bytes=len(data)) == data


@given(st.one_of(st.binary(max_size=80), st.text("abc:,", max_size=80).map(str.encode)), st.just(PRIME[:30]))
@settings(deadline=None, max_examples=25)
def test_the_twin_reads_every_text(data, start):
    """A second decoder, in plain Python and written from the document, finds the same text."""
    assert decode_plainly(encode_text(data, start), start) == data


def test_the_twin_reads_with_a_long_prime():
    """The second decoder follows matches, words and learnt weights over a real text."""
    assert decode_plainly(encode_text(TEXT + TEXT, PRIME * 3), PRIME * 3) == TEXT + TEXT


def test_bytes_that_never_change():
    """What one version writes every later one writes and reads."""
    assert encode_text(TEXT, PRIME).hex() == "e501e0e2c7a26c2dd600d36b332b62caed"


@pytest.mark.parametrize("data", [b"", b"\0" * 5000, bytes(range(256)) * 40, b"ab" * 3000, b"\xff" * 70_000])
def test_runs_and_ramps_come_back(data):
    """Texts that lead the matching of earlier text to its bounds come back."""
    assert decode_text(encode_text(data, b""), b"", max_bytes=PLENTY) == data
    assert decode_text(encode_text(data, data), data, max_bytes=PLENTY) == data


def test_a_text_like_the_prime_takes_next_to_nothing():
    """A kilobyte that differs from the prime's own example in a few numbers takes at most 64 bytes."""
    example = prime.HEADER[prime.HEADER.rindex(b'[[["x"') :]
    text = example.replace(b"0.98 ", b"0.985 ").replace(b"s15h", b"s12e").replace(b"0.75", b"0.8")
    assert len(text) > 1000
    assert len(encode_text(text, prime.HEADER)) <= 64


def test_every_flipped_bit_is_refused_or_another_text():
    """A damaged stream is an error or other bytes within the limit, never a crash."""
    data = encode_text(TEXT, PRIME)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert decode_text(bytes(damaged), PRIME, max_bytes=500) != TEXT
        except (FormatError, LimitError):
            continue


def test_what_is_cut_or_continued_is_not_the_text():
    """A stream cut anywhere, or with bytes after its end, does not give the text."""
    data = encode_text(TEXT, PRIME)
    for damaged in [data[:length] for length in range(len(data))] + [data + b"\0", data + b"\1"]:
        try:
            assert decode_text(damaged, PRIME, max_bytes=500) != TEXT
        except (FormatError, LimitError):
            continue
    with pytest.raises(FormatError, match="end"):
        decode_text(data + b"\0", PRIME, max_bytes=500)


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_or_bounded(data):
    """Bytes that nobody encoded give an error or at most max_bytes."""
    with contextlib.suppress(FormatError, LimitError):
        assert len(decode_text(data, PRIME, max_bytes=3000)) <= 3000


def test_the_limit_is_exact():
    """max_bytes bounds the text, and one less refuses it."""
    data = encode_text(TEXT, PRIME)
    assert decode_text(data, PRIME, max_bytes=len(TEXT)) == TEXT
    with pytest.raises(LimitError, match="limit"):
        decode_text(data, PRIME, max_bytes=len(TEXT) - 1)


def test_a_wrong_prime_does_not_give_the_text():
    """The prime is part of the code."""
    data = encode_text(TEXT, PRIME)
    with contextlib.suppress(FormatError, LimitError):
        assert decode_text(data, PRIME[1:], max_bytes=500) != TEXT
