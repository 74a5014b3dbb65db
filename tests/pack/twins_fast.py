"""Coder fast in plain Python: the judge of native/codec/fast.cpp and rans*.cpp, by the words of docs/coders.md, 3."""

from __future__ import annotations

from collections import Counter

import numpy as np
from twins_bits import Bits, Reader, get_runs, put_runs, unzigzag, zigzag

from index_groups import make

LOWEST = 2**16  # states stay in [2^16, 2^32)
GAP_TOKENS = 192


def lanes_for(count):
    return 1 if count < 2**14 else 32


def bucket(token):
    """First gap of a token, and how many raw bits follow it."""
    raw = 0 if token < 16 else (token - 16) // 4 + 2
    return (token if token < 16 else 4 + token % 4) << raw, raw


def gap_token(gap):
    octave = gap.bit_length() - 1
    return gap if gap < 16 else 16 + 4 * (octave - 4) + (gap >> (octave - 2)) % 4


def raw_bits(alphabet):
    return max(0, (alphabet - 1).bit_length() - 8)


def log2_q16(x):
    """log2(x) in units of 2^-16 by repeated squaring of 31-bit fractions: exact rules, equal everywhere."""
    whole = x.bit_length() - 1
    mantissa, result = (x << 31) >> whole, whole
    for _ in range(16):
        mantissa = (mantissa * mantissa) >> 31
        bit = mantissa >> 32
        mantissa >>= bit
        result = 2 * result + bit
    return result


def scale_to(counts, total):
    """Integers in proportion to counts, at least 1, that sum to total."""
    scaled = [max(1, count * total // sum(counts)) for count in counts]
    which = range(len(counts))
    while sum(scaled) < total:
        best = 0
        for i in which:
            best = i if counts[i] * scaled[best] > counts[best] * scaled[i] else best
        scaled[best] += 1
    while sum(scaled) > total:
        best = None
        for i in which:
            cheaper = best is None or counts[i] * (scaled[best] - 1) < counts[best] * (scaled[i] - 1)
            best = i if scaled[i] > 1 and cheaper else best
        scaled[best] -= 1
    return scaled


def put_frequencies(out, frequencies, scale, order):
    out.put(order, 4)
    previous = 2**scale // len(frequencies)
    for frequency in frequencies[:-1]:
        out.put_count(zigzag(frequency - previous), order)
        previous = frequency


def shortest(frequencies, scale):
    """The Golomb order that needs the fewest bits, as the bits it gives."""
    attempts = []
    for order in range(12):
        out = Bits()
        put_frequencies(out, frequencies, scale, order)
        attempts.append(out.text)
    return min(attempts, key=len)


def put_table(out, tokens, alphabet):
    """Chooses, writes and returns the table: scale and {token: frequency}."""
    counts = dict(sorted(Counter(tokens).items()))
    put_runs(out, list(counts), alphabet)
    if len(counts) == 1:
        return 0, dict.fromkeys(counts, 1)
    options = []
    for scale in range((len(counts) - 1).bit_length(), 13):
        frequencies = scale_to(list(counts.values()), 2**scale)
        payload = sum(c * ((scale << 16) - log2_q16(f)) for c, f in zip(counts.values(), frequencies, strict=True))
        options.append(((len(shortest(frequencies, scale)) << 16) + payload, scale, frequencies))
    _, scale, frequencies = min(options, key=lambda option: option[0])
    out.put(scale, 4)
    out.text += shortest(frequencies, scale)
    return scale, dict(zip(counts, frequencies, strict=True))


def get_table(reader, alphabet):
    used = get_runs(reader, alphabet)
    if len(used) == 1:
        return 0, {used[0]: 1}
    scale, order = reader.get(4), reader.get(4)
    frequencies, previous = [], 2**scale // len(used)
    for _ in used[:-1]:
        previous += unzigzag(reader.get_count(order))
        frequencies.append(previous)
    return scale, dict(zip(used, [*frequencies, 2**scale - sum(frequencies)], strict=True))


def starts(frequencies):
    return dict(zip(frequencies, np.cumsum([0, *frequencies.values()]).tolist(), strict=False))


def put_tokens(out, table, tokens):
    scale, frequencies = table
    if len(frequencies) == 1 or not tokens:
        return
    start, lanes = starts(frequencies), lanes_for(len(tokens))
    states, words = [LOWEST] * lanes, []
    for i in reversed(range(len(tokens))):
        x, f = states[i % lanes], frequencies[tokens[i]]
        if x >= f << (32 - scale):
            words.append(x % 2**16)
            x >>= 16
        states[i % lanes] = (x // f << scale) + x % f + start[tokens[i]]
    out.put_bytes(b"".join(state.to_bytes(4, "little") for state in states))
    out.put_bytes(b"".join(word.to_bytes(2, "little") for word in reversed(words)))


def get_tokens(reader, table, count):
    scale, frequencies = table
    if len(frequencies) == 1 or not count:
        return list(frequencies) * count
    start, lanes = starts(frequencies), lanes_for(count)
    slots = [token for token, frequency in frequencies.items() for _ in range(frequency)]
    states = [int.from_bytes([reader.get(8) for _ in range(4)], "little") for _ in range(lanes)]
    tokens = []
    for i in range(count):
        x = states[i % lanes]
        tokens.append(slots[x % 2**scale])
        x = frequencies[tokens[-1]] * (x >> scale) + x % 2**scale - start[tokens[-1]]
        if x < LOWEST:
            x = x << 16 | reader.get(8) | reader.get(8) << 8
        states[i % lanes] = x
    assert states == [LOWEST] * lanes
    return tokens


def encode(group):
    out = Bits()
    for indices in group:
        spec, raw = indices.spec, raw_bits(indices.spec.alphabet)
        gaps = (np.diff(indices.positions, prepend=-1) - 1).tolist() if spec.sparse else []
        codes = indices.codes.tolist()
        gap_tokens, code_tokens = [gap_token(gap) for gap in gaps], [code >> raw for code in codes]
        if spec.sparse:
            out.put_count(len(codes))
        gap_table = put_table(out, gap_tokens, GAP_TOKENS) if gaps else None
        code_table = put_table(out, code_tokens, ((spec.alphabet - 1) >> raw) + 1) if codes else None
        out.align()
        if gaps:
            put_tokens(out, gap_table, gap_tokens)
            for gap, token in zip(gaps, gap_tokens, strict=True):
                out.put(gap - bucket(token)[0], bucket(token)[1])
            out.align()
        if codes:
            put_tokens(out, code_table, code_tokens)
            for code in codes:
                out.put(code % 2**raw, raw)
            out.align()
    return out.to_bytes()


def decode(data, specs):
    reader, group = Reader(data), []
    for spec in specs:
        raw = raw_bits(spec.alphabet)
        count = reader.get_count() if spec.sparse else spec.size
        gap_table = get_table(reader, GAP_TOKENS) if spec.sparse and count else None
        code_table = get_table(reader, ((spec.alphabet - 1) >> raw) + 1) if count else None
        reader.align()
        positions, codes, at = [] if spec.sparse else None, [], -1
        if gap_table:
            for first, bits in map(bucket, get_tokens(reader, gap_table, count)):
                at += first + reader.get(bits) + 1
                positions.append(at)
            reader.align()
        if code_table:
            codes = [token << raw for token in get_tokens(reader, code_table, count)]
            codes = [code + reader.get(raw) for code in codes]
            reader.align()
        group.append(make(spec.shape, positions, codes, spec.alphabet))
    assert reader.at_end()
    return group
