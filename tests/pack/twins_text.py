"""The text decoder in plain Python: the judge of native/codec/text.cpp, by the words of docs/coder-small.md, 5."""

from __future__ import annotations

from twins_small import STRETCH, Counter, MixedBit, RangeDecoder, Table

GOLDEN_RATIO, OTHER = 2654435761, 2246822507
WORD = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_") | frozenset(range(128, 256))
LIMIT = 255


class Reads:
    """In the place of a range decoder while the prime is read: the bits are known."""

    def __init__(self, data):
        self.bits = iter([byte >> k & 1 for byte in data for k in reversed(range(8))])

    def code(self, _p):
        return next(self.bits)


class Limited(Counter):
    def update(self, bit, limit=LIMIT):
        super().update(bit, limit)


class Counters(Table):
    def __missing__(self, key):
        return self.setdefault(key, Limited())


class Model:
    def __init__(self):
        self.bit = MixedBit(7, 19660, (1300, 400))
        self.order0, self.matches = Counters(), Counters()
        self.tables = [Counters() for _ in range(6)]
        self.hashes, self.word = [0] * 6, 0
        self.history, self.seen, self.match, self.length = bytearray(), {}, 0, 0

    def byte(self, coder):
        node = 1
        for k in reversed(range(8)):
            expected = 0
            if self.match and (256 | self.history[self.match]) >> k + 1 == node:
                expected = 2 * min(self.length, 15) + (self.history[self.match] >> k & 1)
            places = [((h ^ node * GOLDEN_RATIO % 2**32) * OTHER % 2**32) >> 16 for h in self.hashes]
            counters = [table[place] for table, place in zip(self.tables, places, strict=True)]
            counters.append(self.matches[expected])
            base, last = self.order0[node], self.history[-1] if self.history else 0
            bit = self.bit.code(coder, STRETCH[base.p], counters, expected // 2, last >> 5)
            base.update(bit)
            node = node * 2 + bit
        self.append(node - 256)

    def append(self, byte):
        self.history.append(byte)
        self.word = (self.word + byte + 1) * GOLDEN_RATIO % 2**32 if byte in WORD else 0
        h = 0
        for order in range(1, min(6, len(self.history)) + 1):
            h = (h + self.history[-order] + 1) * GOLDEN_RATIO % 2**32
            h ^= h >> 15
            if order != 5:
                self.hashes[min(order - 1, 4)] = h
            else:
                self.find(h >> 20)
        self.hashes[5] = (self.word * OTHER + byte) % 2**32

    def find(self, place):
        if self.match and self.history[self.match] == self.history[-1]:
            self.match, self.length = self.match + 1, self.length + 1
        else:
            self.match = 0
        seen, length = self.seen.get(place, 0), 0
        if not self.match and seen:
            while length < min(32, seen) and self.history[seen - 1 - length] == self.history[-1 - length]:
                length += 1
            if length >= 5:
                self.match, self.length = seen, length
        self.seen[place] = len(self.history)


def decode_text(data, prime):
    """The text that `data` holds; `data` is taken to be whole."""
    coder, model = RangeDecoder(data), Model()

    def number(bits):
        return sum(coder.code(32768) << k for k in reversed(range(bits)))

    bits = number(6)
    length = (1 << bits - 1) + number(bits - 1) if bits else 0
    known = Reads(prime)
    for _ in prime:
        model.byte(known)
    for _ in range(length):
        model.byte(coder)
    return bytes(model.history[len(prime) :])
