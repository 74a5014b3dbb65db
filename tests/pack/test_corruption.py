"""Golden files: what they hold is what comes out, for ever; and no damage to them goes unseen."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from lissome.errors import FormatError
from lissome.pack.choose import by_identifier
from lissome.pack.container import load, pack

GOLDEN = sorted((Path(__file__).parent.parent / "golden").glob("*.liss"))


@pytest.fixture(params=GOLDEN, ids=[path.stem for path in GOLDEN])
def golden(request):
    """Path of a golden file."""
    return request.param


def test_there_are_golden_files_of_each_coder():
    """Each coder has its golden files."""
    assert {by_identifier(path.read_bytes()[5]).name for path in GOLDEN} == {"huffman", "fast", "small"}


def test_content(golden):
    """Graph, recipe, shapes, kinds and every bit of every weight are what the file beside it says."""
    net, wanted = load(golden), json.loads(golden.with_suffix(".json").read_text(encoding="utf-8"))
    assert net.graph.to_plain() == wanted["graph"]
    assert net.recipe == wanted["recipe"]
    assert list(net.weights) == list(wanted["bits"])
    for name, weight in net.weights.items():
        assert list(weight.shape) == wanted["shapes"][name]
        assert weight.describe() == wanted["kinds"][name]
        assert weight.to_dense().view(np.uint32).ravel().tolist() == wanted["bits"][name]


def test_the_writer_has_not_got_worse(golden):
    """Packing the network again gives the golden bytes, or fewer (an encoder may improve within a version)."""
    data = golden.read_bytes()
    again = pack(load(data), by_identifier(data[5]).name)
    assert again == data or len(again) < len(data)
    assert load(again) == load(data)


def test_every_bit_flipped(golden):
    """Each single bit flipped is found, without exception of any other kind."""
    data = bytearray(golden.read_bytes())
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            with pytest.raises(FormatError, match=r"^<bytes>: "):
                load(data)
            data[at] ^= 1 << bit


def test_bits_flipped_behind_good_checksums(golden):
    """A bit of each byte, with checksums mended: refused as FormatError, or another network; never anything else."""
    data = golden.read_bytes()
    ends, at = [], 6
    while at < len(data):
        size, shift = 0, 0
        while True:
            byte = data[at]
            size |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        ends.append((at, at + size))
        at += size + 4
    begin = 0
    for first, last in ends:
        for place in range(first, last):
            hurt = bytearray(data)
            hurt[place] ^= 1 << place % 8
            hurt[last : last + 4] = zlib.crc32(hurt[begin:last]).to_bytes(4, "little")
            try:
                load(bytes(hurt))
            except FormatError as error:
                assert str(error).startswith("<bytes>: ")  # noqa: PT017
        begin = last + 4


def test_every_length_cut_off(golden):
    """Cut off after any number of bytes, the file is refused; so it is with any byte appended."""
    data = golden.read_bytes()
    for size in range(len(data)):
        with pytest.raises(FormatError, match=r"^<bytes>: "):
            load(data[:size])
    for byte in range(256):
        with pytest.raises(FormatError, match=r"^<bytes>: "):
            load(data + bytes([byte]))
