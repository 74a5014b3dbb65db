"""What the Coder contract promises, of every coder; a new coder adds its name to CODERS."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index_groups import groups, make, plain
from lissome.errors import FormatError, LimitError, WeightError
from lissome.pack.coder import IndexSpec, Indices

CODERS = ["fast", "huffman", "small"]
PLENTY = 1 << 22

pytestmark = pytest.mark.native


@pytest.fixture(params=CODERS, scope="module")
def coder(request):
    return importlib.import_module(f"lissome.pack.{request.param}")


def _specs(group):
    return [indices.spec for indices in group]


def _small_group():
    """A stream of a few dozen bytes with both kinds of tensor in it."""
    rng = np.random.default_rng(7)
    positions = np.flatnonzero(rng.random(300) < 0.15)
    return [
        make((20, 15), positions, rng.integers(0, 6, positions.size), 16),
        make((5, 9), None, np.minimum(rng.geometric(0.4, 45) - 1, 14), 15),
        make((4,), None, [300, 4, 299, 65535], 65536),
    ]


@given(groups)
@settings(deadline=None)
def test_decode_inverts_encode(coder, group):
    """Every group comes back equal, in values and dtypes, whatever is in it."""
    data = coder.encode(group)
    assert plain(coder.decode(data, _specs(group), max_entries=PLENTY)) == plain(group)


@given(groups)
@settings(deadline=None, max_examples=20)
def test_same_indices_same_bytes(coder, group):
    """Encoding is deterministic."""
    assert coder.encode(group) == coder.encode(group)


@pytest.mark.parametrize("alphabet", [1, 2, 15, 16, 256, 257, 65536])
@pytest.mark.parametrize("density", [0.0, 0.01, 0.5, 1.0])
def test_large_tensors_come_back(coder, alphabet, density):
    """Tensors long enough for every fast path and its remainder come back, at any alphabet and density."""
    rng = np.random.default_rng(alphabet)
    positions = np.flatnonzero(rng.random(70_003) < density)
    codes = np.clip(np.rint(rng.normal(alphabet / 2, alphabet / 8, 70_003)), 0, alphabet - 1)
    group = [make((70_003,), positions, codes[positions], alphabet), make((70_003,), None, codes, alphabet)]
    assert plain(coder.decode(coder.encode(group), _specs(group), max_entries=PLENTY)) == plain(group)


def test_nothing_is_no_bytes(coder):
    """A group without tensors, or of tensors without elements, takes no byte when dense."""
    assert coder.encode([]) == b""
    assert coder.encode([make((3, 0), None, [], 16)]) == b""


def _decodes_or_refuses(coder, data, specs):
    try:
        group = coder.decode(data, specs, max_entries=PLENTY)
    except FormatError:
        return
    for spec, indices in zip(specs, group, strict=True):
        assert indices.spec == spec
        assert indices.codes.size == (indices.positions.size if spec.sparse else spec.size)
        assert (indices.codes < spec.alphabet).all()
        if spec.sparse:
            within = np.concatenate(([-1], indices.positions, [spec.size]))
            assert (np.diff(within) > 0).all()


def test_every_flipped_bit_is_refused_or_harmless(coder):
    """A damaged stream is a FormatError or other valid indices, never a crash or indices out of range."""
    group = _small_group()
    data = coder.encode(group)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        _decodes_or_refuses(coder, bytes(damaged), _specs(group))


def test_every_truncation_is_noticed(coder):
    """A stream cut anywhere is a FormatError, or (few bytes of an arithmetic code are no code) other valid indices."""
    group = _small_group()
    data = coder.encode(group)
    refused = 0
    for length in range(len(data)):
        try:
            other = coder.decode(data[:length], _specs(group), max_entries=PLENTY)
        except FormatError:
            refused += 1
        else:
            assert plain(other) != plain(group)
    assert refused >= len(data) - 3


def test_bytes_after_the_end_are_refused(coder):
    """The stream is consumed exactly."""
    group = _small_group()
    for tail in (b"\0", b"\1", b"\0" * 40):
        with pytest.raises(FormatError):
            coder.decode(coder.encode(group) + tail, _specs(group), max_entries=PLENTY)


@given(st.binary(max_size=64), groups)
@settings(deadline=None)
def test_arbitrary_bytes_are_refused_or_harmless(coder, data, group):
    """Bytes that nobody encoded never crash, hang or give indices out of range."""
    _decodes_or_refuses(coder, data, [spec for spec in _specs(group) if spec.size <= PLENTY // 8])


def test_entries_past_the_limit_are_refused(coder):
    """max_entries bounds the codes of the whole group, exactly."""
    group = _small_group()
    data = coder.encode(group)
    entries = sum(indices.codes.size for indices in group)
    assert plain(coder.decode(data, _specs(group), max_entries=entries)) == plain(group)
    with pytest.raises(LimitError, match="limit"):
        coder.decode(data, _specs(group), max_entries=entries - 1)


def test_an_enormous_claim_costs_nothing(coder):
    """A header's 2^47 elements with few bytes behind them are refused before memory is claimed."""
    data = coder.encode([make((64,), None, np.arange(64) % 16, 16)])
    with pytest.raises((FormatError, LimitError)):
        coder.decode(data, [IndexSpec((1 << 47,), False, 16)], max_entries=1 << 60)


@pytest.mark.parametrize("shape", [(1 << 48,), (1 << 40, 1 << 40), (-1,), (-4, -4)])
def test_impossible_shapes_are_refused(coder, shape):
    """A shape that no tensor has is a FormatError."""
    with pytest.raises(FormatError, match="shape"):
        coder.decode(b"\xff" * 40, [IndexSpec(shape, True, 16)], max_entries=PLENTY)


@pytest.mark.parametrize("alphabet", [0, -1, 65537])
def test_impossible_alphabets_are_refused(coder, alphabet):
    """An alphabet outside 1 to 65,536 is a FormatError."""
    with pytest.raises(FormatError, match="codes"):
        coder.decode(b"\xff" * 40, [IndexSpec((4,), True, alphabet)], max_entries=PLENTY)


@pytest.mark.parametrize(
    ("positions", "codes"),
    [([3, 3], [0, 1]), ([4, 2], [0, 1]), ([-1, 2], [0, 1]), ([2, 10], [0, 1]), ([1, 2], [0, 4]), ([1, 2], [0])],
)
def test_contradictory_indices_are_not_encoded(coder, positions, codes):
    """Unordered or outlying positions, codes beyond the alphabet and missing codes are WeightErrors."""
    with pytest.raises(WeightError):
        coder.encode([make((10,), positions, codes, 4)])


def test_dense_indices_with_the_wrong_count_are_not_encoded(coder):
    """A dense tensor has a code for every element; positions belong to sparse ones."""
    with pytest.raises(WeightError):
        coder.encode([make((10,), None, [1, 2, 3], 4)])
    with pytest.raises(WeightError, match="positions"):
        coder.encode([Indices(IndexSpec((2,), True, 4), None, np.zeros(2, np.uint8))])
