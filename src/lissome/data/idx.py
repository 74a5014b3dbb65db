"""Reader of IDX files, the format of MNIST and its relatives (raw, or gzip when the name ends in .gz).

Big-endian: two zero bytes, a type code (8: uint8, the only one accepted here), the number of dimensions, one uint32 per
dimension, then the values, last dimension fastest; nothing after them. Source: LeCun's MNIST page.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import IO, Final, cast

import numpy as np
from numpy.typing import NDArray

from lissome.errors import DataError

MAX_BYTES: Final = 1 << 30
_CHUNK: Final = 1 << 20
_UINT8: Final = 8


def read(path: Path, dimensions: int, *, max_bytes: int = MAX_BYTES) -> NDArray[np.uint8]:
    """The uint8 array of an IDX file with this number of dimensions.

    Memory follows the bytes really present, never the header's claim, and stays below `max_bytes`.
    Raises DataError for anything but exactly one well-formed array.
    """
    try:
        with cast("IO[bytes]", gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as stream:
            shape = _shape(stream.read(4 + 4 * dimensions), dimensions, path)
            size = math.prod(shape)
            if size > max_bytes:
                raise DataError(f"{path}: {shape} values are claimed; at most {max_bytes:,} bytes are read")
            values = _read_exactly(stream, size, path)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); fetch the file again") from error
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _shape(header: bytes, dimensions: int, path: Path) -> tuple[int, ...]:
    if len(header) < 4 + 4 * dimensions or header[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file of {dimensions} dimension(s); it begins with {header[:4].hex(' ')}")
    if header[2] != _UINT8 or header[3] != dimensions:
        raise DataError(
            f"{path}: type {header[2]:#04x} and {header[3]} dimension(s); uint8 (0x08) and {dimensions} are needed"
        )
    return struct.unpack(f">{dimensions}I", header[4:])


def _read_exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    """`size` bytes in small steps, and then the end of the file."""
    parts: list[bytes] = []
    missing = size
    while missing and (part := stream.read(min(missing, _CHUNK))):
        parts.append(part)
        missing -= len(part)
    if missing or stream.read(1):
        found = "more" if not missing else f"{size - missing:,}"
        raise DataError(f"{path}: the header promises {size:,} values but there are {found}; fetch the file again")
    return b"".join(parts)
