"""Coder huffman beyond the contract: equal to its plain Python twin, optimal, strict about its tables."""

from __future__ import annotations

import heapq
from collections import Counter

import numpy as np
import pytest
import twins_huffman
from hypothesis import assume, given, settings
from twins_bits import Bits

from index_groups import groups, indices, make, plain
from lissome.errors import FormatError
from lissome.pack import huffman
from lissome.pack.coder import IndexSpec

pytestmark = pytest.mark.native


def _weighs_little(group):
    return sum(i.codes.size for i in group) <= 3000


@given(groups.filter(_weighs_little))
@settings(deadline=None, max_examples=60)
def test_native_and_plain_python_agree(group):
    """The native encoder writes the twin's bytes, and the twin reads them."""
    data = huffman.encode(group)
    assert data == twins_huffman.encode(group)
    assert plain(twins_huffman.decode(data, [i.spec for i in group])) == plain(group)


def _huffman_cost(counts):
    """Bits of an optimal prefix code without any limit on lengths, by the textbook's heap."""
    heap, cost = sorted(counts), 0
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        heapq.heappush(heap, both)
        cost += both
    return cost


@given(indices())
@settings(deadline=None)
def test_dense_payload_is_optimal(tensor):
    """Codes take as many bits as Huffman's own algorithm needs; no limit of 20 bits is felt by so few weights."""
    assume(tensor.positions is None and 0 < tensor.spec.size <= 3000)
    counts = Counter(tensor.codes.tolist())
    table = Bits()
    twins_huffman.put_table(table, twins_huffman.code_lengths(counts), tensor.spec.alphabet)
    assert len(huffman.encode([tensor])) == -(-(len(table.text) + _huffman_cost(counts.values())) // 8)


def test_lengths_are_limited():
    """Fibonacci counts would need codes of 25 bits; the limit of 20 holds and the stream still decodes."""
    fibonacci = [1, 1]
    while len(fibonacci) < 26:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    assert max(twins_huffman.code_lengths(dict(enumerate(fibonacci))).values()) == 20
    tensor = make((sum(fibonacci),), None, np.repeat(np.arange(26), fibonacci), 26)
    decoded = huffman.decode(huffman.encode([tensor]), [tensor.spec], max_entries=tensor.spec.size)
    assert np.array_equal(decoded[0].codes, tensor.codes)


def test_a_gap_beyond_every_width_takes_fillers():
    """2^20 zeros between two survivors are bridged by fillers of the widest field or a narrower one."""
    tensor = make((1 << 21,), [3, 3 + (1 << 20), (1 << 21) - 1], [1, 2, 0], 3)
    data = huffman.encode([tensor])
    assert plain(huffman.decode(data, [tensor.spec], max_entries=3)) == plain([tensor])
    assert plain(twins_huffman.decode(data, [tensor.spec])) == plain([tensor])


def test_a_lone_code_costs_nothing():
    """A tensor of one repeated code is its table alone, however large."""
    assert len(huffman.encode([make((1 << 20,), None, np.full(1 << 20, 7), 16)])) <= 2


def _stream(fill):
    out = Bits()
    fill(out)
    return out.to_bytes()


def _dense_table(out, lengths, alphabet=4):
    twins_huffman.put_table(out, dict(enumerate(lengths)), alphabet)
    out.put(0, 8)


def _sparse(out, width, gap, code, payload):
    out.put_count(1)
    out.put(width - 1, 4)
    twins_huffman.put_table(out, gap, 2**width)
    twins_huffman.put_table(out, code, 5)
    out.text += payload


@pytest.mark.parametrize(
    ("fill", "sparse", "message"),
    [
        (lambda out: _dense_table(out, [1, 1, 1, 1]), False, "fill the code space"),
        (lambda out: _dense_table(out, [3, 3, 3, 3]), False, "fill the code space"),
        (lambda out: _dense_table(out, [1, 2, 21, 21]), False, "21 bits"),
        (lambda out: _dense_table(out, [0, 1, 2, 2]), False, "0 bits"),
        (lambda out: out.put_count(4), False, "without symbols"),
        (lambda out: out.put_count(5), False, "alphabet of 4"),
        (lambda out: out.put_count(2**48), False, r"2\^48"),
        (lambda out: out.put_count(10), True, "10 weights in a tensor of 9"),
        (lambda out: _sparse(out, 1, {1: 0}, {4: 0}, ""), True, "only the filler"),
        (lambda out: _sparse(out, 1, {0: 0}, {0: 1, 4: 1}, "10"), True, "needs none"),
        (lambda out: _sparse(out, 4, {9: 0}, {0: 0}, ""), True, "beyond the 9 elements"),
        (lambda out: _sparse(out, 1, {1: 0}, {0: 1, 4: 1}, "111111"), True, "beyond the 9 elements|ends early"),
        (lambda out: (_dense_table(out, [1, 1, 2]), out.put(0, 8)), False, "fill the code space"),
    ],
)
def test_tables_that_lie_are_refused(fill, sparse, message):
    """Each way a table or an entry may contradict itself is a FormatError that says which."""
    with pytest.raises(FormatError, match=message):
        huffman.decode(_stream(fill), [IndexSpec((9,), sparse, 4)], max_entries=100)


@pytest.mark.parametrize("bit", range(7))
def test_filling_bits_are_zero(bit):
    """The bits after the last code are zero, so that one stream has one form."""
    tensor = make((9,), None, [0, 1, 0, 1, 0, 1, 0, 0, 1], 2)
    data = bytearray(huffman.encode([tensor]))
    assert data == bytes.fromhex("a7 54 80")  # 17 bits: a table of 8, nine codes of 1
    data[-1] |= 1 << bit
    with pytest.raises(FormatError, match="not zero"):
        huffman.decode(bytes(data), [tensor.spec], max_entries=9)
