"""The IDX reader accepts exactly one well-formed array and gives one clear error for anything else."""

import gzip
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lissome.data import idx
from lissome.errors import DataError


def encode(array):
    """IDX bytes of a uint8 array."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@given(shape=st.lists(st.integers(0, 5), min_size=1, max_size=3), packed=st.booleans())
def test_round_trip(tmp_path_factory, shape, packed):
    """What is written as IDX, raw or gzipped, is read back."""
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    path = tmp_path_factory.mktemp("idx") / ("a.gz" if packed else "a")
    path.write_bytes(gzip.compress(encode(array)) if packed else encode(array))
    found = idx.read(path, len(shape))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, array)


GOOD = encode(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an IDX file"),
        (b"PK\3\4" + bytes(40), "not an IDX file"),
        (b"\0\0\x0d\3" + GOOD[4:], "type 0x0d"),
        (b"\0\0\x08\2" + GOOD[4:], "2 dimension"),
        (GOOD[:-1], "promises 24 values but there are 23"),
        (GOOD + b"\0", "promises 24 values but there are more"),
        (GOOD[:4] + b"\xff" * 12, "at most"),
    ],
    ids=["empty", "zip", "float", "rank", "short", "long", "enormous"],
)
def test_malformed_file(tmp_path, data, message):
    """Each way to be wrong names the file and what is wrong with it."""
    path = tmp_path / "images"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message) as raised:
        idx.read(path, 3)
    assert "images" in str(raised.value)


@pytest.mark.parametrize("length", range(len(gzip.compress(GOOD))))
def test_truncated_gzip(tmp_path, length):
    """A gzip file cut at any byte is a DataError, never a traceback of another kind."""
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(GOOD)[:length])
    with pytest.raises(DataError):
        idx.read(path, 3)


def test_memory_follows_the_file_not_the_header(tmp_path):
    """A header that claims a gigabyte costs no gigabyte: memory grows with the bytes that are there."""
    path = tmp_path / "images"
    path.write_bytes(GOOD[:4] + struct.pack(">3I", 1024, 1024, 1024) + bytes(100))
    tracemalloc.start()
    with pytest.raises(DataError, match="there are 100"):
        idx.read(path, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_missing_file(tmp_path):
    """A file that is not there is a DataError naming it."""
    with pytest.raises(DataError, match="nothing"):
        idx.read(tmp_path / "nothing", 1)
