"""The decoder of coder small in plain Python: the judge of native/codec/small*, by the words of docs/coder-small.md."""

from __future__ import annotations

import math

import numpy as np

from index_groups import make

TOP = 2815
LN2 = 45426


def _tables():
    half, decayed = [], 1 << 32
    for _ in range(TOP + 1):
        whole = (1 << 32) + decayed
        half.append(min(65535, ((1 << 48) + whole // 2) // whole))
        decayed = decayed * 4278222805 >> 32
    squash = [65536 - p for p in reversed(half[1:])] + half
    squash[TOP] = 65536 - half[0]
    stretch, logit = [], -TOP
    for p in range(65536):
        while logit < TOP and squash[logit + 1 + TOP] <= p:
            logit += 1
        stretch.append(logit)
    logarithms = []
    for m in range(2048):
        y, log2 = (2048 + m) << 20, 0
        for _ in range(24):
            y = y * y >> 31
            log2 = log2 * 2 + (y >> 32)
            y >>= y >> 32
        logarithms.append(log2 * LN2 >> 24)
    return squash, stretch, logarithms


SQUASH, STRETCH, LN = _tables()


def squash(logit):
    return SQUASH[logit + TOP]


def clamp(logit):
    return max(-TOP, min(TOP, logit))


def ln(x):
    shift = x.bit_length() - 1
    return LN[(x >> shift - 11 if shift >= 11 else x << 11 - shift) - 2048] + shift * LN2


def quotient(a, b):
    """Division that rounds towards zero."""
    return abs(a) // b * (1 if a >= 0 else -1)


class RangeDecoder:
    def __init__(self, data):
        self.data, self.next, self.offset, self.range = data, 4, int.from_bytes((data + bytes(4))[:4], "big"), 2**32 - 1

    def code(self, p):
        bound = self.range * p >> 16
        bit = self.offset < bound
        if bit:
            self.range = bound
        else:
            self.offset -= bound
            self.range -= bound
        while self.range < 1 << 24:
            byte = self.data[self.next] if self.next < len(self.data) else 0
            self.offset, self.range, self.next = self.offset << 8 | byte, self.range << 8, self.next + 1
        return int(bit)


class Counter:
    def __init__(self, p22=1 << 21, seen=0):
        self.p22, self.seen = p22, seen

    @property
    def p(self):
        return self.p22 >> 6

    def update(self, bit, limit=1023):
        target = (1 << 22) - 1 if bit else 0
        self.p22 += (target - self.p22) * (131072 // (2 * self.seen + 3)) >> 16
        self.seen += self.seen < limit


class Table(dict):
    """Counters that begin when they are first asked for."""

    def __missing__(self, key):
        return self.setdefault(key, Counter())


class Mixer:
    def __init__(self, inputs, weight, rates):
        self.first, self.last = rates
        self.start = [65536] + [weight] * (inputs - 2) + [0]
        self.sets = {}

    def mix(self, inputs, which):
        weights, _ = self.sets.setdefault(which, (list(self.start), [0]))
        return clamp(sum(w * x for w, x in zip(weights, inputs, strict=True)) >> 16)

    def learn(self, inputs, which, logit, bit):
        weights, steps = self.sets[which]
        step = max(self.first * 16 // (16 + steps[0]), self.last) * ((bit << 16) - squash(logit))
        steps[0] = min(steps[0] + 1, 4095)
        for i, x in enumerate(inputs):
            weights[i] += (step * x + (1 << 23)) >> 24


class MixedBit:
    def __init__(self, contexts, weight, rates):
        self.a, self.b = Mixer(contexts + 2, weight, rates), Mixer(contexts + 2, weight, rates)

    def code(self, coder, base, counters, set_a, set_b):
        inputs = [base]
        for counter in counters:
            if counter.seen == 0:
                counter.p22 = squash(base) << 6
            inputs.append((STRETCH[counter.p] - base) * (256 * counter.seen // (counter.seen + 2)) >> 8)
        inputs.append(64)
        a, b = self.a.mix(inputs, set_a), self.b.mix(inputs, set_b)
        bit = coder.code(squash((a + b) >> 1))
        self.a.learn(inputs, set_a, a, bit)
        self.b.learn(inputs, set_b, b, bit)
        for counter in counters:
            counter.update(bit)
        return bit


HEAT = {
    (dy, dx): round(64 * math.exp(-(math.hypot(dy, dx) - 1) * 0.6))
    for dy in range(6)
    for dx in range(-5, 6)
    if dy > 0 or dx > 0
}


def _sign(z):
    return (z > 0) - (z < 0)


def _ternary(z):
    return 2 if z > 0 else int(z < 0)


class Decoder:
    """Decodes one group; `tensor` is called for each spec in order."""

    def __init__(self, data):
        self.coder = RangeDecoder(data)
        self.mask_bit = MixedBit(7, 16384, (3932, 655))
        self.sign_bit = MixedBit(6, 13107, (2621, 655))
        self.magnitude_bit = MixedBit(7, 13107, (2621, 655))
        self.kept = [Table() for _ in range(16)]  # mask 0-4, sign 5-7, magnitude 8-15
        self.any_sign = Counter()
        self.earlier = []  # survivors of each row of each tensor

    def number(self, bits):
        return sum(self.coder.code(32768) << k for k in reversed(range(bits)))

    def layout(self, spec):
        size, shape = spec.size, spec.shape
        rows = shape[0] if shape else 1
        columns = size // rows
        pixels = self.number(2) if len(shape) == 2 and 16 <= columns <= 65536 else 0
        if columns > 65536:
            return -(-size // 65536), 65536, 1, 1
        if len(shape) > 2:
            return rows, shape[1], columns // (shape[1] * shape[-1]), shape[-1]
        linked = [len(e) for e in self.earlier if 1 < len(e) < columns and columns % len(e) == 0]
        channels = {0: columns, 1: 1, 2: linked[-1] if linked else 0, 3: 3}[pixels]
        side = math.isqrt(columns // channels)
        return rows, channels, side, side

    def tensor(self, spec):
        self.sparse, self.alphabet = spec.sparse, spec.alphabet
        if spec.size == 0:
            return make(spec.shape, [] if spec.sparse else None, [], spec.alphabet)
        self.rows, self.channels, self.height, self.width = self.layout(spec)
        self.pixels = self.height * self.width
        self.columns = self.channels * self.pixels
        self.large = not spec.sparse and spec.size > 1 << 16
        self.split = (self.alphabet + 1) // 2 if self.alphabet > 1 else 0
        if self.alphabet > 1 and self.coder.code(16384):
            self.split = self.number(self.alphabet.bit_length())
        self.begin()
        flat = []
        while len(flat) < spec.size:
            flat += self.row(min(self.columns, spec.size - len(flat)))
        self.earlier.append(self.survivors)
        positions = [i for i, symbol in enumerate(flat) if symbol] if spec.sparse else None
        return make(spec.shape, positions, [symbol - 1 for symbol in flat if symbol], spec.alphabet)

    def begin(self):
        for table in self.kept:
            for counter in table.values():
                counter.seen = min(counter.seen, 8)
        self.top = max(self.split, self.alphabet - self.split) - 1
        self.density = Counter(8192 << 6, 2)
        self.alive, self.was_alive, self.live_rows = Table(), [0, 0], 0
        self.pixel, self.pixel_sign = Table(), Table()
        self.large_tables = Table(), Table(), Table()
        self.hits, self.around = np.zeros(self.columns, int), np.zeros(self.columns, int)
        self.sizes, self.balance = np.zeros(self.columns, int), np.zeros(self.columns, int)
        self.above = [[0] * self.columns for _ in range(4)]
        self.survivors = []
        links = [e for e in self.earlier if self.columns > 1 and len(e) > 1 and self.columns % len(e) == 0]
        self.column_link = links[-1] if links else None
        links = [e for e in self.earlier if self.columns == 1 and len(e) == self.rows]
        self.row_link = links[-1] if links else None

    def row(self, length):
        if self.sparse and self.columns >= 8:
            which = (2 if not self.survivors else self.was_alive[0]) * 2 + self.was_alive[1]
            counter = self.alive[which]
            alive = self.coder.code(squash(STRETCH[counter.p]))
            counter.update(alive, 60)
            self.was_alive = [alive, self.was_alive[0]]
            if not alive:
                self.survivors.append(0)
                return [0] * length
        self.above = [[0] * self.columns, *self.above[:3]]
        self.heat = np.zeros(self.columns, int)
        self.row_sign, self.count, self.row_sizes, self.expected, self.last, self.last_z = Counter(), 0, 0, 0, 0, 0
        symbols = []
        for j in range(length):
            self.j, (self.channel, pixel) = j, divmod(j, self.pixels)
            self.y, self.x = divmod(pixel, self.width)
            if pixel == 0:
                self.slice, self.slice_sign = Counter(), Counter()
            near = self.look_around()
            symbols.append(1 + self.code(near) if not self.sparse or self.mask(near) else 0)
        self.survivors.append(self.count)
        self.live_rows += 1
        return symbols

    def look_around(self):
        def at(up, right):
            inside = up <= self.y and 0 <= self.x + right < self.width
            return self.above[0][self.j - up * self.width + right] if inside else 0

        def before(channels):
            return self.above[0][self.j - channels * self.pixels] if self.channel >= channels else 0

        return [*(at(*p) for p in [(0, -1), (1, 0), (1, -1), (1, 1), (0, -2), (2, 0)]), before(1), before(2)]

    def link(self, links, index):
        return 0 if links is None else 1 + min(int(links[index]).bit_length(), 14)

    def mask(self, near):
        j = self.j
        beside_y = 1 + (self.y > 0) + (self.y + 1 < self.height)
        around = beside_y * (1 + (self.x > 0) + (self.x + 1 < self.width)) - 1
        hits = (3 * int(self.hits[j]) + int(self.around[j]) << 16) + 2 * (3 + around) * self.density.p
        misses = max(1, ((3 + around) * (self.live_rows + 2) << 16) - hits)
        column_logit = clamp(ln(hits + 1) - ln(misses) >> 8)
        excess = clamp(ln(self.count + 1 << 16) - ln(self.expected + 65536) >> 8)
        self.expected += squash(column_logit)
        heat = int(self.heat[j])
        heat_logit = clamp(ln(heat + 16) - ln(24) >> 8)
        h = min(7, 2 * (ln(heat + 4) - ln(4)) // ln(2))
        d = max(0, min(11, quotient(column_logit + 1500, 150)))
        e = max(0, min(7, quotient(excess + 500, 120)))
        w, n, nw, ne, ww, nn, b, bb = (int(z != 0) for z in near)
        beside = w + 2 * n + 4 * nw + 8 * ne + 16 * b + 32 * (ww | nn)
        one, two, three = (row for row in self.above[1:])
        above = (one[j] != 0) + 2 * (two[j] != 0) + 4 * (three[j] != 0)
        above += 8 * (j > 0 and one[j - 1] != 0) + 16 * (j + 1 < self.columns and one[j + 1] != 0)
        per = self.columns // len(self.column_link) if self.column_link else 1
        links = self.link(self.column_link, j // per) * 16 + self.link(self.row_link, len(self.survivors))
        gap = min((j - self.last + 2).bit_length() if self.last else 0, 7)
        counters = [
            self.slice,
            self.pixel[j % self.pixels],
            self.kept[0][d * 64 + beside],
            self.kept[1][above + 32 * min(int(self.hits[j]).bit_length(), 7)],
            self.kept[2][links * 8 + e],
            self.kept[3][gap * 32 + b * 2 + bb + 4 * min(self.count.bit_length(), 7)],
            self.kept[4][(d * 8 + h) * 8 + e],
        ]
        base = clamp(column_logit + (excess * 179 >> 8) + (heat_logit >> 1 if self.pixels > 1 else 0))
        bit = self.mask_bit.code(self.coder, base, counters, h, e)
        self.density.update(bit)
        return bit

    def code(self, near):
        sign = int(self.split == 0)
        if 0 < self.split < self.alphabet:
            sign = self.sign(near)
        largest = self.alphabet - 1 - self.split if sign else self.split - 1
        magnitude = self.large_magnitude(near, sign, largest) if self.large else self.magnitude(near, sign, largest)
        self.note(sign, magnitude)
        return self.split + magnitude if sign else self.split - 1 - magnitude

    def direct(self, counter):
        return self.coder.code(max(counter.p, 1))

    def sign(self, near):
        w, n, nw, ne, ww, nn, b, bb = near
        pull = 2 * (_sign(w) + _sign(n)) + sum(map(_sign, (nw, ne, ww, nn)))
        balance = int(self.balance[self.j])
        leaning = 2 + _sign(balance) * (1 + (abs(balance) > 2))
        if self.large:
            counter = self.large_tables[0][leaning, _sign(w), _sign(n)]
            bit = self.direct(counter)
            counter.update(bit)
            return bit
        counters = [
            self.row_sign,
            self.slice_sign,
            self.pixel_sign[self.j % self.pixels],
            self.kept[5][((_ternary(w) * 3 + _ternary(n)) * 3 + _ternary(nw)) * 3 + _ternary(ne)],
            self.kept[6][(pull + 8) * 8 + leaning],
            self.kept[7][_ternary(b) * 9 + _ternary(bb) * 3 + _ternary(self.last_z)],
        ]
        bit = self.sign_bit.code(self.coder, STRETCH[self.any_sign.p], counters, min(abs(pull), 7), 0)
        self.any_sign.update(bit)
        return bit

    def coarse(self, total, count, levels=8):
        return 1 + min(total * levels // count // (self.top + 1), levels - 2) if count else 0

    def large_magnitude(self, near, sign, largest):
        _, nodes, specials = self.large_tables
        around = sum(map(abs, near)), sum(z != 0 for z in near)
        beside = self.coarse(*(around if self.pixels > 1 else (self.row_sizes, self.count)), 16)
        column = self.coarse(int(self.sizes[self.j]), int(self.hits[self.j]), 16)
        value, node = 0, 1
        for k in reversed(range(self.top.bit_length())):
            if value + (1 << k) > largest:
                node *= 2
                continue
            n = node if node < 256 else 256 + k
            general, special = nodes[n, sign], specials[n, sign, column, beside]
            if special.seen == 0:
                special.p22, special.seen = general.p << 6, 8
            bit = self.direct(special)
            general.update(bit)
            special.update(bit)
            node, value = node * 2 + bit, value + (bit << k)
        return value

    def magnitude(self, near, sign, largest):
        def eighths(z):
            return min(abs(z) * 8 // (self.top + 1), 7)

        near_size = self.coarse(sum(map(abs, near)), sum(z != 0 for z in near))
        hits, j = int(self.hits[self.j]), self.j
        contexts = [
            (2, sign),
            (8, near_size),
            (16, self.coarse(int(self.sizes[j]), hits) * 2 + sign),
            (16, self.coarse(self.row_sizes, self.count) * 2 + sign),
            (64, eighths(self.last_z) * 8 + eighths(near[0])),
            (32, j % self.pixels if 1 < self.pixels <= 32 else 0),
            (16, min(self.count + 1 >> 2, 3) * 4 + min(hits + 1, 3)),
        ]
        value, node = 0, 1
        for k in reversed(range(self.top.bit_length())):
            if value + (1 << k) > largest:
                node *= 2
                continue
            n = node if node < 256 else 256 + k
            base = self.kept[15][n]
            counters = [self.kept[8 + i][n * many + one] for i, (many, one) in enumerate(contexts)]
            bit = self.magnitude_bit.code(self.coder, STRETCH[base.p], counters, min(node, 255), near_size)
            base.update(bit)
            node, value = node * 2 + bit, value + (bit << k)
        return value

    def note(self, sign, magnitude):
        j = self.j
        z = magnitude + 1 if sign else -magnitude - 1
        self.hits[j] += 1
        self.sizes[j] += magnitude
        self.balance[j] += _sign(z)
        self.count, self.row_sizes, self.last, self.last_z = self.count + 1, self.row_sizes + magnitude, j + 1, z
        self.above[0][j] = z
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if (dy or dx) and 0 <= self.y + dy < self.height and 0 <= self.x + dx < self.width:
                    self.around[j + dy * self.width + dx] += 1
        for (dy, dx), heat in HEAT.items():
            if self.y + dy < self.height and 0 <= self.x + dx < self.width:
                self.heat[j + dy * self.width + dx] += heat


def decode(data, specs):
    """The group that `data` holds; `data` is taken to be whole."""
    decoder = Decoder(data)
    return [decoder.tensor(spec) for spec in specs]
