"""The annotated listing of a .liss file that docs/format.md shows: python tests/pack/annotate.py FILE."""

from __future__ import annotations

import sys
from pathlib import Path

from lissome.pack import prime, text
from lissome.pack.choose import by_identifier
from lissome.pack.container import open_contents
from lissome.pack.framing import varint

WIDTH = 16


def listing(data: bytes) -> str:
    """Offset, bytes and meaning, field by field."""
    contents = open_contents(data)
    frame, lines, at = contents.frame, [], 0

    def field(size: int, meaning: str) -> None:
        nonlocal at
        for i in range(0, size, WIDTH):
            part = data[at + i : at + min(size, i + WIDTH)]
            lines.append(f"{at + i:04x}  {part.hex(' '):<{3 * WIDTH - 1}}  {'' if i else meaning}".rstrip())
        at += size

    field(4, "magic")
    field(1, "version 1")
    field(1, f"profile {data[5]}, {by_identifier(data[5]).name}")
    names = ["header", "reals", *(f"index stream {i}" for i in range(len(frame.groups)))]
    for name, stream in zip(names, (frame.header, frame.reals, *frame.groups), strict=True):
        field(len(varint(len(stream))), f"{name}: {len(stream)} bytes")
        field(len(stream), name)
        field(4, "CRC-32")
    head = text.decode_text(bytes(frame.header), prime.HEADER, max_bytes=1 << 16).decode()
    return "\n".join([*lines, "", "The header's text:", "", head.rstrip("\n")])


if __name__ == "__main__":
    sys.stdout.write(listing(Path(sys.argv[1]).read_bytes()) + "\n")
