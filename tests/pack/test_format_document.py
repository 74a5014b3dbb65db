"""docs/format.md against the code: its listing is of a real file, its tables hold, and a reader made from it reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from annotate import listing
from independent_reader import read

from lissome.pack import choose, container, framing, prime, split, text
from lissome.weights.codebook import MAX_ENTRIES

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
HUFFMAN = sorted((ROOT / "tests" / "golden").glob("*huffman.liss"))


def test_the_listing_is_of_the_golden_file():
    """The annotated bytes in the document are those of the file, field by field."""
    wanted = listing((ROOT / "tests" / "golden" / "v1-cnn-huffman.liss").read_bytes())
    assert f"```\n{wanted}\n```" in DOCUMENT


def test_constants_are_the_documents():
    """Magic, version, profiles, group size and limits in the document are those of the code."""
    assert f"`{framing.MAGIC.hex(' ')}`" in DOCUMENT
    assert f"| version | 1 | {framing.VERSION} |" in DOCUMENT
    for profile in choose.PROFILES:
        assert f"{profile.identifier} *{profile.name}*" in DOCUMENT
    assert (split.GROUP_ELEMENTS, framing.MAX_VARINT_BYTES, MAX_ENTRIES) == (2**20, 7, 65536)
    assert (container.HEADER_FLOOR, container.HEADER_RATIO, container.HEADER_LIMIT) == (2**14, 256, 2**24)
    assert "| header text | 2^14 + 256 × bytes of the header stream, and 2^24 |" in DOCUMENT
    assert (container.ELEMENTS_FLOOR, container.ELEMENTS_RATIO) == (2**22, 4096)
    assert "| elements of all tensors together | 2^22 + 4096 × bytes of the file |" in DOCUMENT


@pytest.mark.parametrize("path", HUFFMAN, ids=[path.stem for path in HUFFMAN])
def test_a_reader_made_from_the_document_reads_the_golden_files(path):
    """The second reader finds the graph, the recipe and every value that is expected."""
    found = read(path.read_bytes(), _text, prime.HEADER, prime.REALS)
    wanted = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert found["graph"] == wanted["graph"]
    assert found["recipe"] == wanted["recipe"]
    for name, weight in found["weights"].items():
        assert weight["shape"] == wanted["shapes"][name]
        assert np.array(weight["values"], np.float32).view(np.uint32).tolist() == wanted["bits"][name]


def _text(data: bytes, primed_with: bytes) -> bytes:
    return text.decode_text(data, primed_with, max_bytes=1 << 20)
