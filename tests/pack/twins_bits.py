"""Bits, counts and runs as the streams of huffman and fast hold them (docs/coders.md, 1), slowly and readably."""

from __future__ import annotations


class Bits:
    """A string of '0' and '1' under construction; the first is the highest bit of the first byte."""

    def __init__(self):
        self.text = ""

    def put(self, value, count):
        self.text += format(value, f"0{count}b") if count else ""

    def put_count(self, value, order=0):
        digits = format(value + 2**order, "b")
        self.text += "0" * (len(digits) - order - 1) + digits

    def align(self):
        self.text += "0" * (-len(self.text) % 8)

    def put_bytes(self, data):
        self.align()
        for byte in data:
            self.put(byte, 8)

    def to_bytes(self):
        self.align()
        return bytes(int(self.text[i : i + 8], 2) for i in range(0, len(self.text), 8))


class Reader:
    """The inverse of Bits. Reads well-formed streams only: damage is the native decoder's business."""

    def __init__(self, data):
        self.text = "".join(format(byte, "08b") for byte in data)
        self.at = 0

    def get(self, count):
        self.at += count
        return int(self.text[self.at - count : self.at], 2) if count else 0

    def get_count(self, order=0):
        zeros = self.text.index("1", self.at) - self.at
        self.at += zeros
        return self.get(zeros + order + 1) - 2**order

    def align(self):
        assert self.get(-self.at % 8) == 0

    def at_end(self):
        self.align()
        return self.at == len(self.text)


def put_runs(out, used, alphabet):
    """The used symbols of 0 … alphabet − 1 as alternating runs of unused and used ones."""
    in_use = [symbol in set(used) for symbol in range(alphabet)]
    run, kind, first = 0, False, True
    for flag in [*in_use, None]:
        if flag == kind:
            run += 1
            continue
        out.put_count(run if first else run - 1)
        run, kind, first = 1, flag, False


def get_runs(reader, alphabet):
    used, at, kind = [], 0, False
    while at < alphabet:
        run = reader.get_count() + (at > 0 or kind)
        used += range(at, at + run) if kind else []
        at, kind = at + run, not kind
    return used


def zigzag(difference):
    """0, −1, 1, −2, 2 … as 0, 1, 2, 3, 4 …"""
    return 2 * difference if difference >= 0 else -2 * difference - 1


def unzigzag(value):
    return value // 2 if value % 2 == 0 else -(value + 1) // 2
