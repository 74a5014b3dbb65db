"""Coder fast beyond the contract: equal to its plain Python twin, on every instruction set, near the entropy."""

from __future__ import annotations

import tracemalloc
from collections import Counter

import numpy as np
import pytest
import twins_fast
from hypothesis import given, settings
from twins_bits import Bits, put_runs

from index_groups import groups, make, plain
from lissome.errors import FormatError
from lissome.pack import container, fast, huffman
from lissome.pack.coder import IndexSpec
from lissome.pack.container import load, save
from lissome.weights import Dense
from networks import network_of

native = pytest.importorskip("lissome._native")
pytestmark = pytest.mark.native


def _isas():
    wider = {"scalar": [], "neon": ["neon"], "avx2": ["avx2"], "avx512": ["avx2", "avx512"]}
    return ["scalar", *wider[native.best_isa()]]


def _weighs_little(group):
    return sum(i.codes.size for i in group) <= 3000


@given(groups.filter(_weighs_little))
@settings(deadline=None, max_examples=60)
def test_native_and_plain_python_agree(group):
    """The native encoder writes the twin's bytes, and the twin reads them."""
    data = fast.encode(group)
    assert data == twins_fast.encode(group)
    assert plain(twins_fast.decode(data, [i.spec for i in group])) == plain(group)


def _weights(count, alphabet, seed):
    rng = np.random.default_rng(seed)
    return np.clip(np.rint(rng.normal(alphabet / 2, alphabet / 8, count)), 0, alphabet - 1).astype(np.int64)


@pytest.mark.parametrize("count", [2**14 - 1, 2**14, 2**14 + 1, 2**14 + 31, 20_000])
def test_lanes_agree_with_plain_python(count):
    """From 2^14 tokens on there are 32 lanes; the twin gives the same bytes on both sides of the edge."""
    tensor = make((count,), None, _weights(count, 16, count), 16)
    data = fast.encode([tensor])
    assert data == twins_fast.encode([tensor])
    assert plain(twins_fast.decode(data, [tensor.spec])) == plain([tensor])


@pytest.mark.parametrize("isa", _isas())
@pytest.mark.parametrize("alphabet", [2, 3, 16, 256, 257, 65536])
def test_every_instruction_set_gives_the_same(isa, alphabet):
    """Scalar, AVX2, AVX-512 and NEON decode the same stream to the same indices, damaged or whole."""
    rng = np.random.default_rng(3)
    positions = np.flatnonzero(rng.random(150_000) < 0.3)
    group = [
        make((150_000,), positions, _weights(positions.size, alphabet, 1), alphabet),
        make((100_003,), None, _weights(100_003, alphabet, 2), alphabet),
    ]
    data = fast.encode(group)
    specs = [(i.spec.shape, i.spec.sparse, i.spec.alphabet) for i in group]
    for tensor, (at, codes) in zip(group, _decode(isa, data, specs), strict=True):
        assert np.array_equal(codes, tensor.codes)
        assert at is None if tensor.positions is None else np.array_equal(at, tensor.positions)
    for byte in rng.integers(0, len(data), 12):
        damaged = bytearray(data)
        damaged[byte] ^= 0x10
        outcomes = [_outcome(one, bytes(damaged), specs) for one in {isa, "scalar"}]
        assert all(outcome == outcomes[0] for outcome in outcomes)


def _decode(isa, data, specs):
    return native.fast_decode_with(isa, np.frombuffer(data, np.uint8), specs, 1 << 20)


def _outcome(isa, data, specs):
    try:
        return [codes.tobytes() for _, codes in _decode(isa, data, specs)]
    except FormatError as error:
        return str(error)


@pytest.mark.parametrize("sizes", [(1,), (5, 0, 3), (2**14, 1), (40_000, 100, 3), (100_003,)])
def test_codes_are_written_apart_as_they_are_decoded(sizes):
    """Columns of any distance get what decoding as a whole gives, and what follows the tensor is left."""
    whole = _weights(sum(sizes), 256, 5).astype(np.uint8)
    data = fast.encode([make(whole.shape, None, whole, 256)])
    rows = [np.zeros((size, 4), np.uint8) for size in sizes]
    taken = fast.decode_bytes_into(data + b"more", [row[:, 2] for row in rows])
    assert taken == len(data)
    np.testing.assert_array_equal(np.concatenate([row[:, 2] for row in rows]), whole)
    assert not any(row[:, [0, 1, 3]].any() for row in rows)
    backwards = np.zeros(sum(sizes), np.uint8)
    fast.decode_bytes_into(data, [backwards[::-1]])
    np.testing.assert_array_equal(backwards[::-1], whole)


def test_damaged_codes_are_refused_wherever_they_are_written():
    """Cut off or changed: the error of decoding as a whole, for one lane and for all."""
    for count in (1000, 40_000):
        data = fast.encode([make((count,), None, _weights(count, 256, 6), 256)])
        column = np.zeros(count, np.uint8)
        for length in (0, 1, 40, len(data) // 2, len(data) - 1):
            with pytest.raises(FormatError):
                fast.decode_bytes_into(data[:length], [column])
        damaged = bytearray(data)
        damaged[-3] ^= 0x40
        with pytest.raises(FormatError, match="states that do not end"):
            fast.decode_bytes_into(bytes(damaged), [column])


def test_columns_that_cannot_be_written_are_refused():
    """A read-only array, or one of another type, is a TypeError and not written to."""
    data = fast.encode([make((9,), None, np.arange(9), 256)])
    fixed = np.zeros(9, np.uint8)
    fixed.flags.writeable = False
    for column in (fixed, np.zeros(9, np.int16), np.zeros((3, 3), np.uint8)):
        with pytest.raises(TypeError):
            fast.decode_bytes_into(data, [column])
        assert not column.any()


def test_an_instruction_set_that_is_absent_is_refused():
    """A name that no processor has is a ValueError, not a crash."""
    with pytest.raises(ValueError, match="sse9"):
        native.fast_decode_with("sse9", np.empty(0, np.uint8), [], 0)


@pytest.mark.parametrize("gap", [0, 15, 16, 17, 255, 256, 2**20, 2**33 + 5, 2**47 - 3])
def test_gaps_of_any_size_come_back(gap):
    """A gap costs at most its bits, whatever its size: no fillers."""
    tensor = make((2**47,), [0, gap + 1] if gap < 2**47 - 2 else [gap], [1, 0][: 1 + (gap < 2**47 - 2)], 2)
    data = fast.encode([tensor])
    assert len(data) < 40
    assert plain(fast.decode(data, [tensor.spec], max_entries=2)) == plain([tensor])


@pytest.mark.parametrize("alphabet", [4, 16, 32, 256])
@pytest.mark.parametrize("density", [0.04, 0.1, 1.0])
def test_bytes_are_near_the_entropy_and_below_huffman(alphabet, density):
    """A million weights take at most 1 % more than their entropy, and no more than coder huffman."""
    rng = np.random.default_rng(5)
    size = 1_000_000
    positions = np.flatnonzero(rng.random(size) < density)
    codes = _weights(positions.size, alphabet, 6)
    tensor = make((size,), positions if density < 1 else None, codes, alphabet)
    share = np.array(list(Counter(codes.tolist()).values())) / codes.size
    bits = -(share * np.log2(share)).sum() * codes.size
    if density < 1:
        bits -= size * (density * np.log2(density) + (1 - density) * np.log2(1 - density))
    taken = len(fast.encode([tensor]))
    assert taken <= 1.01 * bits / 8
    assert taken <= len(huffman.encode([tensor]))


def test_a_lone_code_costs_nothing():
    """A tensor of one repeated code is its table alone, however large."""
    assert len(fast.encode([make((1 << 20,), None, np.full(1 << 20, 7), 16)])) <= 2


def _table(used, scale, order, differences, tail=b"\xff" * 200):
    out = Bits()
    put_runs(out, used, 4)
    out.put(scale, 4)
    out.put(order, 4)
    for difference in differences:
        out.put_count(difference, order)
    out.put_bytes(tail)
    return out.to_bytes()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_table([0, 1], 13, 0, [0]), r"2\^13 slots"),
        (_table([0, 1], 4, 0, [16]), r"sum to 2\^4"),
        (_table([0, 1], 4, 0, [15]), r"sum to 2\^4"),
        (_table([0, 1, 2, 3], 1, 0, [0, 0, 0]), r"sum to 2\^1"),
        (_table([0, 1], 4, 0, [0], b"\xff\xff\x00\x00"), r"below 2\^16"),
        (_table([0, 1], 4, 0, [0], b"\xff\xff\xff"), "ends early"),
        (_table([0, 1], 4, 0, [0], b"\x05\x00\x01\x00\x00\x00"), "where an encoder begins"),
        (_table([0, 1], 12, 4, [2 * 2047], b""), "tokens in"),
    ],
)
def test_tables_and_states_that_lie_are_refused(data, message):
    """Each way a table or a state may contradict itself is a FormatError that says which."""
    with pytest.raises(FormatError, match=message):
        fast.decode(data, [IndexSpec((9,), False, 4)], max_entries=100)


def test_codes_past_the_alphabet_are_refused():
    """With raw low bits the last token can name codes that do not exist."""
    data = fast.encode([make((3,), None, [0, 299, 257], 300)])
    with pytest.raises(FormatError, match="code 299 in an alphabet of 299"):
        fast.decode(data, [IndexSpec((3,), False, 299)], max_entries=3)


def test_dense_weights_are_decoded_into_place(tmp_path, monkeypatch):
    """Beside the weights of a mapped file, loading makes nothing of their size."""
    values = np.random.default_rng(0).standard_normal((1000, 1000)).astype(np.float32)
    path = tmp_path / "net.liss"
    save(network_of(Dense(values)), path, "fast")
    monkeypatch.setattr(container, "MAPPED", 0)
    load(path)
    tracemalloc.start()
    net = load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * net.dense_bytes
    np.testing.assert_array_equal(net.weights["w0"].to_dense(), values)
    assert not net.weights["w0"].to_dense().flags.writeable
