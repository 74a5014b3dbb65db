"""docs/coders.md and the coders tell the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from index_groups import make, plain

DOCUMENT = Path(__file__).parents[2] / "docs" / "coders.md"


@pytest.mark.native
@pytest.mark.parametrize("coder", ["fast", "huffman"])
def test_the_documents_example(coder):
    """The example's bytes are what the coder writes, and it reads them back: the format has not drifted."""
    group = [
        make((4, 5), [0, 3, 14], [2, 0, 2], 3),
        make((9,), None, [0, 1, 0, 1, 0, 1, 0, 0, 1], 2),
    ]
    (listed,) = re.findall(rf"^    {coder}: ([0-9a-f ]+)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    module = importlib.import_module(f"lissome.pack.{coder}")
    assert module.encode(group) == bytes.fromhex(listed)
    assert plain(module.decode(bytes.fromhex(listed), [i.spec for i in group], max_entries=12)) == plain(group)
