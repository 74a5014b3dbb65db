"""An ONNX file without the numbers of its initialisers, which are most of it: where each begins is noted instead, so
that a weight is read once, into the array that it will be.

Only what a protobuf message looks like is followed here, and only as far as the initialisers. Anything out of the
ordinary makes `strip` give up; what is wrong with it then is for the parser to say.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO, Final

GRAPH, INITIALISER, RAW_DATA = 7, 5, 9  # fields of ModelProto, GraphProto and TensorProto
LEAST: Final = 1 << 12  # bytes of numbers that are worth leaving out
MOST_FIELDS: Final = 1 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of fields


@dataclass(frozen=True)
class Region:
    """Bytes of a file."""

    start: int
    length: int


@dataclass(frozen=True)
class _Field:
    """A field of a message. begin: where its tag is; start, end: where its content is."""

    number: int
    kind: int
    begin: int
    start: int
    end: int


class _OddError(Exception):
    """Something out of the ordinary."""


def strip(file: BinaryIO, size: int) -> tuple[bytes, Mapping[int, Region]] | None:
    """The model's bytes without the larger initialisers' raw data, and where those are, by the initialiser's place
    among all; None for what is no ordinary model.
    """
    scan = _Scan(file)
    try:
        fields = scan.fields(0, size)
        graphs = [field for field in fields if field.number == GRAPH]
        if len(graphs) != 1 or graphs[0].kind != _BYTES:
            return None
        graph = scan.graph(graphs[0])
        pieces = (scan.copy(0, graphs[0].begin), _message(GRAPH, graph), scan.copy(graphs[0].end, size))
    except _OddError:
        return None
    return b"".join(pieces), scan.found


class _Scan:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.found: dict[int, Region] = {}
        self.seen = 0

    def copy(self, begin: int, end: int) -> bytes:
        """The bytes [begin, end) of the file."""
        self.file.seek(begin)
        data = self.file.read(end - begin)
        if len(data) != end - begin:
            raise _OddError
        return data

    def fields(self, at: int, end: int) -> list[_Field]:
        """The fields of the message that lies at [at, end)."""
        found = []
        while at < end:
            self.file.seek(at)
            head = io.BytesIO(self.file.read(20))
            tag = _varint(head)
            kind = tag & 7
            if kind == _VARINT:
                _varint(head)
            length = {_VARINT: 0, _FIXED64: 8, _FIXED32: 4}.get(kind)
            if length is None:
                if kind != _BYTES:
                    raise _OddError
                length = _varint(head)
            start = at + head.tell()
            found.append(_Field(tag >> 3, kind, at, start, start + length))
            at = start + length
            self.seen += 1
            if at > end or self.seen > MOST_FIELDS:
                raise _OddError
        return found

    def graph(self, graph: _Field) -> bytes:
        """The graph's message without its initialisers' data."""
        pieces, copied, number = [], graph.start, 0
        for field in self.fields(graph.start, graph.end):
            if field.number != INITIALISER:
                continue
            if field.kind != _BYTES:
                raise _OddError
            if field.end - field.start >= LEAST and (kept := self._tensor(field, number)) is not None:
                pieces += [self.copy(copied, field.begin), _message(INITIALISER, kept)]
                copied = field.end
            number += 1
        return b"".join([*pieces, self.copy(copied, graph.end)])

    def _tensor(self, tensor: _Field, number: int) -> bytes | None:
        """The initialiser's message without its data; None where it has not one run of them."""
        data = [field for field in self.fields(tensor.start, tensor.end) if field.number == RAW_DATA]
        if len(data) != 1 or data[0].kind != _BYTES or data[0].end - data[0].start < LEAST:
            return None
        self.found[number] = Region(data[0].start, data[0].end - data[0].start)
        return self.copy(tensor.start, data[0].begin) + self.copy(data[0].end, tensor.end)


def _varint(data: io.BytesIO) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = data.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise _OddError


def _message(number: int, content: bytes) -> bytes:
    """A field whose content is a message."""
    head, length = bytearray([number << 3 | _BYTES]), len(content)
    while length > 0x7F:
        head.append(0x80 | (length & 0x7F))
        length >>= 7
    return bytes(head) + bytes([length]) + content
