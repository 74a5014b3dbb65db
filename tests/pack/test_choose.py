"""The table of coders and the choice among them."""

from __future__ import annotations

import pytest

from lissome.errors import FormatError
from lissome.pack import choose


def test_identifiers_are_as_documented():
    """The byte that stands for a coder never changes."""
    assert {p.name: p.identifier for p in choose.PROFILES} == {"huffman": 1, "fast": 2, "small": 3}


@pytest.mark.parametrize("profile", choose.PROFILES)
def test_each_profile_is_found_by_name_and_by_identifier(profile):
    """Name and identifier lead to the same line of the table, and its module keeps the contract."""
    assert choose.candidates(profile.name) == (profile,)
    assert choose.by_identifier(profile.identifier) is profile
    coder = profile.load()
    assert callable(coder.encode)
    assert callable(coder.decode)


def test_unknown_names_and_identifiers_list_the_known():
    """A wrong name or byte is one error that says what there is."""
    with pytest.raises(ValueError, match="unknown coder 'zip'; known: auto, fast, huffman, small"):
        choose.candidates("zip")
    with pytest.raises(FormatError, match=r"unknown coder 7; known: 1 \(huffman\), 2 \(fast\), 3 \(small\)"):
        choose.by_identifier(7)


def test_smallest_is_a_pure_function_of_sizes():
    """Fewest bytes win; between equals the one that decodes fastest, whatever the order given."""
    assert choose.smallest({"huffman": 10, "fast": 11, "small": 9}) == "small"
    assert choose.smallest({"small": 9, "huffman": 9, "fast": 9}) == "fast"
    assert choose.smallest({"small": 9, "huffman": 9}) == "huffman"
