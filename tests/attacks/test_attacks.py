"""Every file of the corpus of hostile files gives the error that the index says, in little time and memory."""

from __future__ import annotations

import csv
import time
import tracemalloc
from pathlib import Path

import pytest

from lissome import errors
from lissome.pack.container import load
from lissome.pack.inspect import inspect

HERE = Path(__file__).parent
with (HERE / "index.tsv").open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))

# A file may make the header text of a file its size (a decompression bomb has to be unpacked to be seen), and no more.
MEMORY_BYTES = 4 << 20
SECONDS = 2.0  # of processor time, so that a busy machine is no attack


def test_the_index_lists_the_corpus():
    """At least 300 files, each in the index once, each small."""
    files = {path.name: path.stat().st_size for path in (HERE / "corpus").iterdir()}
    assert len(ROWS) >= 300
    assert sorted(row["file"] for row in ROWS) == sorted(files)
    assert max(files.values()) < 4096


@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_the_error_is_the_one_in_the_index(row):
    """The exact type, the message's part, the file's name in front; within bounds of time and memory."""
    path = HERE / "corpus" / row["file"]
    data = path.read_bytes()
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(getattr(errors, row["error"])) as caught:
        load(data)
    seconds, peak = time.process_time() - begin, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert type(caught.value).__name__ == row["error"]
    assert str(caught.value).startswith("<bytes>: ")
    assert row["message contains"] in str(caught.value)
    assert peak < MEMORY_BYTES
    assert seconds < SECONDS
    with pytest.raises(getattr(errors, row["error"])) as again:
        inspect(path)
    assert str(again.value).startswith(f"{path}: ")
