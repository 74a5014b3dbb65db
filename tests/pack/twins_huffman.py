"""Coder huffman in plain Python: the judge of native/codec/huffman.cpp, by the words of docs/coders.md, 2."""

from __future__ import annotations

from collections import Counter

import numpy as np
from twins_bits import Bits, Reader, get_runs, put_runs, unzigzag, zigzag

from index_groups import make
from lissome.pack import deltas

LONGEST = 20


def code_lengths(counts):
    """Optimal lengths of at most LONGEST bits, by package-merge: {symbol: length}; a lone symbol has length 0."""
    leaves = [(count, [symbol]) for count, symbol in sorted((counts[symbol], symbol) for symbol in counts)]
    if len(leaves) == 1:
        return dict.fromkeys(counts, 0)
    items = []
    for _ in range(min(LONGEST, len(leaves) - 1)):  # no optimal code is longer than that
        pairs = zip(items[::2], items[1::2], strict=False)
        packages = [(a[0] + b[0], a[1] + b[1]) for a, b in pairs]
        items = sorted(leaves + packages, key=lambda item: item[0])  # stable: leaves before packages of equal weight
    lengths = Counter(symbol for _, symbols in items[: 2 * len(leaves) - 2] for symbol in symbols)
    return dict(sorted(lengths.items()))


def canonical(lengths):
    """{symbol: code as a string of bits}: shorter codes first, then smaller symbols."""
    code, last, codes = 0, 0, {}
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        code <<= length - last
        codes[symbol] = format(code, f"0{length}b") if length else ""
        code, last = code + 1, length
    return codes


def put_table(out, lengths, alphabet):
    put_runs(out, list(lengths), alphabet)
    previous = 0
    for length in lengths.values() if len(lengths) > 1 else []:
        out.put_count(zigzag(length - previous))
        previous = length


def get_table(reader, alphabet):
    lengths, previous = {}, 0
    used = get_runs(reader, alphabet)
    for symbol in used:
        previous += unzigzag(reader.get_count()) if len(used) > 1 else 0
        lengths[symbol] = previous
    return lengths


def get_symbol(reader, symbols):
    code = ""
    while code not in symbols:
        code += str(reader.get(1))
    return symbols[code]


def encode_sparse(out, indices):
    alphabet = indices.spec.alphabet
    out.put_count(indices.positions.size)
    if indices.positions.size == 0:
        return
    best = None
    for width in range(1, 17):
        gaps, filler = deltas.relative(indices.positions, width=width)
        codes = np.full(gaps.size, alphabet)
        codes[~filler] = indices.codes
        attempt = Bits()
        attempt.put(width - 1, 4)
        tables = [code_lengths(Counter(symbols.tolist())) for symbols in (gaps, codes)]
        put_table(attempt, tables[0], 2**width)
        put_table(attempt, tables[1], alphabet + 1)
        of_gap, of_code = (canonical(table) for table in tables)
        attempt.text += "".join(of_gap[g] + of_code[c] for g, c in zip(gaps.tolist(), codes.tolist(), strict=True))
        if best is None or len(attempt.text) < len(best.text):
            best = attempt
        if not filler.any():
            break
    out.text += best.text


def encode_dense(out, indices):
    if indices.spec.size:
        lengths = code_lengths(Counter(indices.codes.tolist()))
        put_table(out, lengths, indices.spec.alphabet)
        codes = canonical(lengths)
        out.text += "".join(codes[code] for code in indices.codes.tolist())


def encode(group):
    out = Bits()
    for indices in group:
        (encode_sparse if indices.spec.sparse else encode_dense)(out, indices)
    return out.to_bytes()


def inverse(lengths):
    return {code: symbol for symbol, code in canonical(lengths).items()}


def decode_sparse(reader, spec):
    nnz = reader.get_count()
    gaps, codes = [], []
    if nnz:
        width = reader.get(4) + 1
        gap_symbols = inverse(get_table(reader, 2**width))
        code_symbols = inverse(get_table(reader, spec.alphabet + 1))
        while nnz > 0:
            gaps.append(get_symbol(reader, gap_symbols))
            codes.append(get_symbol(reader, code_symbols))
            nnz -= codes[-1] != spec.alphabet
    every = np.array(codes, dtype=np.int64)
    filler = every == spec.alphabet
    positions = deltas.absolute(np.array(gaps, dtype=np.int64), filler)
    return make(spec.shape, positions, every[~filler], spec.alphabet)


def decode(data, specs):
    reader, group = Reader(data), []
    for spec in specs:
        if spec.sparse:
            group.append(decode_sparse(reader, spec))
        else:
            symbols = inverse(get_table(reader, spec.alphabet)) if spec.size else {}
            codes = [get_symbol(reader, symbols) for _ in range(spec.size)]
            group.append(make(spec.shape, None, codes, spec.alphabet))
    assert reader.at_end()
    return group
