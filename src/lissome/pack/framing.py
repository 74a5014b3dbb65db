"""Framing of a .liss file: magic, version, profile, and streams with lengths and checksums (docs/format.md).

Every byte of a file lies under exactly one CRC-32, that of the section it belongs to: the first section runs from the
magic to the end of the header stream, each later one from the length of its stream to the stream's end.
"""

from __future__ import annotations

import mmap
import zlib
from dataclasses import dataclass
from typing import Final

from lissome.errors import FormatError

# Not UTF-8 and not 7-bit from the first byte on, and a line feed at the end: any text-mode transfer damages it visibly.
MAGIC: Final = b"\x8cls\n"
VERSION: Final = 1
CRC_BYTES: Final = 4
MAX_VARINT_BYTES: Final = 7  # lengths below 2**49


class ForeignFileError(FormatError):
    """A file that is not damaged, but of another kind or version."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The streams of a file, as views into it: nothing is copied. profile: identifier of the coder (choose.py)."""

    profile: int
    header: memoryview
    reals: memoryview
    groups: tuple[memoryview, ...]
    total: int

    @property
    def overhead(self) -> int:
        """Bytes of the file that lie in no stream: magic, version, profile, lengths and checksums."""
        return self.total - len(self.header) - len(self.reals) - sum(map(len, self.groups))


def varint(value: int) -> bytes:
    """Little-endian base 128, seven bits a byte, the top bit set on all bytes but the last; the shortest form."""
    out = bytearray()
    while value > 0x7F:
        out.append(0x80 | (value & 0x7F))
        value >>= 7
    out.append(value)
    return bytes(out)


def _section(preamble: bytes, stream: bytes) -> bytes:
    body = preamble + varint(len(stream)) + stream
    return body + zlib.crc32(body).to_bytes(CRC_BYTES, "little")


def join(profile: int, header: bytes, reals: bytes, groups: list[bytes]) -> bytes:
    """The bytes of a whole file."""
    sections = [_section(MAGIC + bytes([VERSION, profile]), header)]
    sections += [_section(b"", stream) for stream in (reals, *groups)]
    return b"".join(sections)


def split(data: bytes | mmap.mmap) -> Frame:
    """The inverse of `join`; checks every length and every checksum, and that the file ends where its streams do.

    Raises FormatError that names the stream at fault.
    """
    if not data:
        raise FormatError("the file is empty (0 bytes); copy it again")
    if data[: len(MAGIC)] != MAGIC[: len(data)]:
        raise ForeignFileError(f"begins with {data[:4].hex(' ')}, not {MAGIC.hex(' ')}: this is not a .liss file")
    if len(data) < len(MAGIC) + 2:
        raise FormatError(f"the file ends after {len(data)} bytes, inside its preamble")
    version, profile = data[4], data[5]
    if version != VERSION:
        raise ForeignFileError(f"is of version {version}, and this lissome reads {VERSION}: install a newer one")
    view = memoryview(data)
    header, at = _take(view, 0, len(MAGIC) + 2, "header")
    reals, at = _take(view, at, at, "reals")
    groups: list[memoryview] = []
    while at < len(data):
        group, at = _take(view, at, at, f"index stream {len(groups)}")
        groups.append(group)
    return Frame(profile, header, reals, tuple(groups), len(data))


def _take(view: memoryview, start: int, at: int, what: str) -> tuple[memoryview, int]:
    """The stream whose section begins at `start` and whose length stands at `at`, and where the next section begins."""
    length, at = _read_varint(view, at, what)
    end = at + length
    if end + CRC_BYTES > len(view):
        raise FormatError(
            f"{what}: claims {length} bytes and a checksum at offset {at}, but the file ends at {len(view)}"
        )
    stored, found = int.from_bytes(view[end : end + CRC_BYTES], "little"), zlib.crc32(view[start:end])
    if stored != found:
        raise FormatError(f"{what}: checksum {found:08x} does not match the stored {stored:08x}")
    return view[at:end], end + CRC_BYTES


def _read_varint(view: memoryview, at: int, what: str) -> tuple[int, int]:
    value = 0
    for i in range(MAX_VARINT_BYTES):
        if at + i >= len(view):
            raise FormatError(f"{what}: the file ends at {len(view)}, inside the length of this stream")
        byte = view[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            if byte == 0 and i > 0:
                raise FormatError(f"{what}: its length at offset {at} is not in the shortest form")
            return value, at + i + 1
    raise FormatError(f"{what}: its length at offset {at} is longer than {MAX_VARINT_BYTES} bytes")
