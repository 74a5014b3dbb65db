"""A second reader of .liss files: plain Python, slow, written from docs/format.md and docs/coders.md alone.

It shares no code with lissome but the text coder, which is handed in. It reads files of the profile *huffman*, and
those of the others that have no index streams.
"""

from __future__ import annotations

import binascii
import json
import math
import struct
from collections.abc import Callable
from typing import Any

Decoder = Callable[[bytes, bytes], bytes]


def read(data: bytes, text: Decoder, header_prime: bytes, reals_prime: bytes) -> dict[str, Any]:
    """Graph in plain form, recipe, dropped, and each weight as shape and flat list of floats, row-major."""
    profile, streams = _frame(data)
    line, _, recipe = text(streams[0], header_prime).decode().partition("\n")
    plain = json.loads(line)
    dropped = plain.pop() if isinstance(plain[-1], int) else 0
    graph, tensors = _graph(plain)
    found: dict[str, tuple[list[int] | None, list[int]]] = {}
    groups = _groups(tensors)
    assert len(streams) == 2 + len(groups)
    assert profile == 1 or not groups
    for group, stream in zip(groups, streams[2:], strict=True):
        bits = _Bits(stream)
        for name, shape, sparse, entries, _ in group:
            found[name] = _huffman(bits, math.prod(shape), sparse, entries or 1)
        bits.end()
    counts = [
        entries or (len(found[name][1]) if name in found else math.prod(shape))
        for name, shape, _, entries, _ in tensors
    ]
    numbers = _reals(streams[1], tensors, counts, text, reals_prime)
    weights = {}
    for (name, shape, sparse, entries, _), values in zip(tensors, numbers, strict=True):
        size = math.prod(shape)
        positions, codes = found.get(name, (None, [0] * size))
        stored = values if entries is None else [values[code] for code in codes]
        flat = [0.0] * size if sparse else stored
        if sparse:
            for position, value in zip(positions or [], stored, strict=True):
                flat[position] = value
        weights[name] = {"shape": shape, "values": flat}
    return {"graph": graph, "recipe": recipe, "dropped": dropped, "weights": weights}


def _frame(data: bytes) -> tuple[int, list[bytes]]:
    assert data[:5] == b"\x8cls\n\x01"
    streams, begin, at = [], 0, 6
    while at < len(data):
        size = shift = 0
        more = True
        while more:
            size |= (data[at] & 0x7F) << shift
            more, at, shift = data[at] >= 0x80, at + 1, shift + 7
        streams.append(data[at : at + size])
        at += size
        assert data[at : at + 4] == struct.pack("<I", binascii.crc32(data[begin:at]))
        begin = at = at + 4
    return data[5], streams


def _graph(plain: list[Any]) -> tuple[dict[str, Any], list[tuple[str, list[int], bool, int | None, str]]]:
    inputs, nodes, rows = plain[:3]
    inputs = [[*each, "float32"][:3] for each in inputs]
    made = [each[0] for each in inputs]
    known, first_read, whole = set(made), [], []
    for operator, name, reads, *rest in nodes:
        names = []
        for token in reads:
            if isinstance(token, int):
                names.append(made[len(made) - token])
            elif isinstance(token, list):
                names.append(token[0])
            else:
                names.append(name + token if token[:1] == "." else token)
        for each in names:
            if each and each not in known and each not in first_read:
                first_read.append(each)
        outputs = rest[1] if len(rest) > 1 else [name]
        made += outputs
        known |= set(outputs)
        whole.append([operator, name, names, outputs, rest[0] if rest else {}])
    outputs = plain[3] if len(plain) > 3 else [made[-1]]
    parameters = plain[4] if len(plain) > 4 else first_read
    tensors = []
    for name, (*shape, form) in zip(parameters, rows, strict=True):
        sparse = form[0] == "s"
        digits = form[int(sparse) : -1]
        tensors.append((name, shape, sparse, int(digits) if digits else None, form[-1]))
    return {"inputs": inputs, "parameters": parameters, "nodes": whole, "outputs": outputs}, tensors


def _groups(tensors: list[Any]) -> list[list[Any]]:
    groups: list[list[Any]] = []
    elements = 2**20
    for tensor in tensors:
        _, shape, sparse, entries, _ = tensor
        if sparse or (entries or 1) > 1:
            if elements >= 2**20:
                groups.append([])
                elements = 0
            groups[-1].append(tensor)
            elements += math.prod(shape)
    return groups


def _reals(stream: bytes, tensors: list[Any], counts: list[int], text: Decoder, prime: bytes) -> list[list[float]]:
    widths = [{"f": 4, "b": 2, "h": 2, "e": 1, "w": 1}[letter] for *_, letter in tensors]
    sizes = [sum(n for n, width in zip(counts, widths, strict=True) if width > plane) for plane in range(4)]
    if not stream:
        planes = b""
    elif stream[0] == 0:
        planes = stream[1:]
    elif stream[0] == 1:
        bits = _Bits(stream[1:])
        planes = b"".join(bytes(_huffman(bits, size, sparse=False, alphabet=256)[1]) for size in sizes if size)
        bits.end()
    else:
        planes = text(stream[1:], prime)
    assert len(planes) == sum(sizes)
    patterns = [[0] * count for count in counts]
    at = 0
    for plane in range(4):
        for numbers, width in zip(patterns, widths, strict=True):
            if width > plane:
                for i in range(len(numbers)):
                    numbers[i] = numbers[i] << 8 | planes[at]
                    at += 1
    return [_values(p, width, *tensor[3:]) for p, width, tensor in zip(patterns, widths, tensors, strict=True)]


def _values(patterns: list[int], width: int, entries: int | None, letter: str) -> list[float]:
    if entries is not None:
        sign, total, book = 1 << (8 * width - 1), 0, []
        for step in patterns:
            total += step
            book.append(total ^ sign if total & sign else total ^ (2 * sign - 1))
        patterns = book
    return [_value(pattern, letter) for pattern in patterns]


def _value(pattern: int, letter: str) -> float:
    if letter == "f":
        return float(struct.unpack("<f", struct.pack("<I", pattern))[0])
    if letter == "b":
        return float(struct.unpack("<f", struct.pack("<I", pattern << 16))[0])
    if letter == "w":  # the upper byte of a float16
        pattern <<= 8
    if letter in "hw":
        return float(struct.unpack("<e", struct.pack("<H", pattern))[0])
    sign, exponent, mantissa = -1.0 if pattern & 0x80 else 1.0, pattern >> 3 & 15, pattern & 7
    return sign * (mantissa / 8 * 2.0**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7))


class _Bits:
    """Bits from the highest of each byte down."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.at = 0

    def number(self, width: int) -> int:
        self.at += width
        return int(self.bits[self.at - width : self.at] or "0", 2)

    def count(self) -> int:
        zeros = 0
        while self.number(1) == 0:
            zeros += 1
        return (1 << zeros | self.number(zeros)) - 1

    def end(self) -> None:
        rest = self.bits[self.at :]
        assert len(rest) < 8
        assert "1" not in rest


def _huffman(bits: _Bits, size: int, sparse: bool, alphabet: int) -> tuple[list[int] | None, list[int]]:
    if not sparse:
        table = _table(bits, alphabet) if size else {}
        return None, [_symbol(bits, table) for _ in range(size)]
    survivors = bits.count()
    if not survivors:
        return [], []
    width = bits.number(4) + 1
    gaps, codes = _table(bits, 2**width), _table(bits, alphabet + 1)
    position, positions, found = -1, [], []
    while len(found) < survivors:
        position += _symbol(bits, gaps) + 1
        code = _symbol(bits, codes)
        if code < alphabet:
            positions.append(position)
            found.append(code)
    return positions, found


def _table(bits: _Bits, symbols: int) -> dict[str, int]:
    used, at, on, run = [], 0, False, bits.count()
    while at + run < symbols:
        used += range(at, at + run) if on else []
        at, on, run = at + run, not on, bits.count() + 1
    used += range(at, symbols) if on else []
    if len(used) == 1:
        return {"": used[0]}
    lengths, last = [], 0
    for _ in used:
        step = bits.count()
        last += step // 2 if step % 2 == 0 else -(step + 1) // 2
        lengths.append(last)
    table, code, before = {}, -1, 0
    for length, symbol in sorted(zip(lengths, used, strict=True)):
        code = (code + 1) << (length - before)
        before = length
        table[f"{code:0{length}b}"] = symbol
    return table


def _symbol(bits: _Bits, table: dict[str, int]) -> int:
    word = ""
    while word not in table:
        word += str(bits.number(1))
    return table[word]
