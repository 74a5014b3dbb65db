"""Coded weights: what each kind promises, for any shape, format and nesting."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lissome.errors import WeightError
from lissome.weights import Codebook, CodedWeight, Dense, Sparse
from lissome.weights.codebook import MAX_ENTRIES
from lissome.weights.formats import FORMATS, ITEMSIZE, round_to
from problems import codebooks, coded_weights, dense, reals, shapes, sparse


def arrays_of(weight):
    """Every array that a coded weight holds, nested ones included."""
    if isinstance(weight, Dense):
        return [weight.values]
    if isinstance(weight, Codebook):
        return [weight.codes, weight.codebook]
    return [weight.positions, *arrays_of(weight.values)]


@given(coded_weights())
def test_every_kind_fulfils_the_contract(weight):
    """shape, nnz, nbytes and to_dense agree with each other, whatever the kind."""
    tensor = weight.to_dense()
    assert isinstance(weight, CodedWeight)
    assert isinstance(tensor, np.ndarray)
    assert tensor.dtype == np.float32
    assert tensor.shape == weight.shape
    assert np.isfinite(tensor).all()
    assert np.count_nonzero(tensor) <= weight.nnz <= math.prod(weight.shape)
    assert weight.nbytes >= 0
    assert weight.describe()


@given(coded_weights())
def test_a_coded_weight_cannot_be_changed(weight):
    """Fields cannot be rebound and arrays cannot be written to: a network may share its weights freely."""
    with pytest.raises(AttributeError):
        weight.format = "float32"
    for array in arrays_of(weight):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0


@given(coded_weights())
def test_equality_is_by_content_and_hash_follows(weight):
    """A copy made from the same content is equal and hashes equally; a pickled one too."""
    for twin in (copy.deepcopy(weight), pickle.loads(pickle.dumps(weight))):  # noqa: S301, made here
        assert twin == weight
        assert hash(twin) == hash(weight)
    assert weight != "weight"


@given(st.data())
def test_one_changed_element_makes_a_different_weight(data):
    """Equality sees a single changed value or code."""
    weight = data.draw(st.one_of(dense(), codebooks()).filter(lambda w: w.nnz > 0))
    if isinstance(weight, Dense):
        values = weight.values.copy()
        values.flat[data.draw(st.integers(0, values.size - 1))] += 32
        other = Dense(round_to(np.clip(values, -448, 448), weight.format), weight.format)
        changed = not np.array_equal(other.values, weight.values)
    else:
        codes = weight.codes.astype(np.int64)
        at = data.draw(st.integers(0, codes.size - 1))
        codes.flat[at] = (codes.flat[at] + 1) % weight.codebook.size
        other = Codebook(codes, weight.codebook, weight.format)
        changed = weight.codebook.size > 1
    assert (other != weight) == changed


def test_kind_format_and_shape_are_part_of_equality():
    """The same numbers in another format, shape or kind are another weight."""
    values = np.array([0.0, 1.0, 1.0, 0.0], np.float32)
    ones = Dense(np.ones(2, np.float32))
    weights = [
        Dense(values),
        Dense(values, "float16"),
        Dense(values.reshape(2, 2)),
        Codebook(np.array([0, 1, 1, 0]), np.array([0, 1], np.float32)),
        Codebook(np.array([0, 1, 1, 0]), np.array([0, 1], np.float32), "bfloat16"),
        Codebook(np.array([0, 1, 1, 0]), np.array([0, 1, 2], np.float32)),
        Sparse((4,), np.array([1, 2]), ones),
        Sparse((2, 2), np.array([1, 2]), ones),
        Sparse((4,), np.array([1, 3]), ones),
        Sparse((4,), np.array([1, 2]), Codebook(np.array([0, 0]), np.array([1], np.float32))),
    ]
    for i, left in enumerate(weights):
        for j, right in enumerate(weights):
            assert (left == right) == (i == j)


def test_the_sign_of_zero_is_content():
    """−0.0 equals 0.0 as a number but not as bytes, and a file is bytes."""
    assert Dense(np.array([0.0], np.float32)) != Dense(np.array([-0.0], np.float32))


@given(dense())
def test_dense_keeps_every_bit(weight):
    """to_dense is the values given; nbytes counts them in their format."""
    assert weight.to_dense().tobytes() == weight.values.tobytes()
    assert weight.nbytes == weight.values.size * ITEMSIZE[weight.format]


@given(codebooks())
def test_codebook_looks_every_code_up(weight):
    """Element i of to_dense is codebook[codes[i]]; codes take a byte up to 256 entries and two above."""
    for code, value in zip(weight.codes.flat, weight.to_dense().flat, strict=True):
        assert weight.codebook[code].tobytes() == value.tobytes()
    assert weight.codes.dtype == (np.uint8 if weight.codebook.size <= 256 else np.uint16)
    assert 2 ** (weight.bits - 1) < max(2, weight.codebook.size) <= 2**weight.bits
    assert weight.nbytes == weight.codes.nbytes + weight.codebook.size * ITEMSIZE[weight.format]


@given(sparse())
def test_sparse_is_zero_except_at_its_positions(weight):
    """to_dense holds values[j] at positions[j] and zero at all others."""
    flat = weight.to_dense().reshape(-1)
    assert np.array_equal(flat[weight.positions], weight.values.to_dense())
    flat[weight.positions] = 0
    assert not flat.any()
    assert weight.nnz == weight.positions.size


@given(shape=shapes, fmt=st.sampled_from(FORMATS), value=reals)
def test_a_weight_does_not_follow_the_array_it_was_made_from(shape, fmt, value):
    """The arrays given are copied: writing to them afterwards changes nothing."""
    source = round_to(np.full(shape, value, np.float32), fmt)
    codes = np.zeros(shape, np.uint8)
    weight, shared = Dense(source, fmt), Codebook(codes, np.array([1.0, 2.0], np.float32))
    before = weight.to_dense().tobytes()
    source[...] = 7
    codes[...] = 1
    assert weight.to_dense().tobytes() == before
    assert not shared.codes.any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused_with_its_place(bad):
    """NaN and infinity never enter a network; the error counts them and says where the first one is."""
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = bad
    with pytest.raises(WeightError, match=r"a dense weight holds 1 NaN or .*, the first at index \(1, 2\)"):
        Dense(values)
    with pytest.raises(WeightError, match=r"a codebook holds 1 NaN or infinite value\(s\), the first at index \(0,\)"):
        Codebook(np.zeros(3, np.uint8), np.array([bad], np.float32))


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f != "float32"])
def test_a_value_that_the_format_cannot_hold_is_refused(fmt):
    """Rounding is never silent: a third is refused, and so is its codebook; rounded first it is taken."""
    third = np.array([1 / 3], np.float32)
    with pytest.raises(WeightError, match=f"holds values that {fmt} cannot represent; round them first"):
        Dense(third, fmt)
    with pytest.raises(WeightError, match=f"a codebook holds values that {fmt} cannot represent"):
        Codebook(np.zeros(1, np.uint8), third, fmt)
    assert Dense(round_to(third, fmt), fmt).format == fmt


@pytest.mark.parametrize("make", [Dense, lambda v, f: Codebook(np.zeros(1, np.uint8), v, f)])
def test_an_unknown_format_is_refused(make):
    """Every kind with a format checks its name."""
    with pytest.raises(WeightError, match="unknown number format 'int4'; known: float32"):
        make(np.ones(1, np.float32), "int4")


@pytest.mark.parametrize(
    ("codes", "codebook", "message"),
    [
        (np.array([0, 2]), np.ones(2), "code 2 points outside a codebook of 2 entries"),
        (np.array([-1, 0]), np.ones(2), "code -1 points outside"),
        (np.array([0.0, 1.0]), np.ones(2), "codes are integers, not float64"),
        (np.array([True, False]), np.ones(2), "codes are integers, not bool"),
        (np.array([0]), np.ones(0), "a codebook has 1 to 65536 entries in one dimension"),
        (np.array([0]), np.ones((2, 2)), r"not shape \(2, 2\)"),
        (np.array([0]), np.ones(MAX_ENTRIES + 1), "a codebook has 1 to 65536 entries"),
        (np.zeros((1,) * 9, np.uint8), np.ones(1), "impossible shape"),
    ],
)
def test_codes_and_codebook_must_fit_each_other(codes, codebook, message):
    """Codes are integers from 0 to the last entry of a codebook of 1 to 65,536 entries."""
    with pytest.raises(WeightError, match=message):
        Codebook(codes, codebook.astype(np.float32))


@pytest.mark.parametrize("entries", [1, 2, 255, 256, 257, MAX_ENTRIES])
def test_codebooks_of_every_width_reach_their_last_entry(entries):
    """The last code of the smallest, the widest and the byte-edge codebooks is looked up, not wrapped."""
    codebook = np.arange(entries, dtype=np.float32)
    weight = Codebook(np.array([entries - 1]), codebook)
    assert weight.to_dense() == [entries - 1]
    assert weight.bits == max(1, math.ceil(math.log2(entries)))


@pytest.mark.parametrize(
    ("shape", "positions", "count", "message"),
    [
        ((4,), [1, 1], 2, r"positions must increase strictly within shape \(4,\)"),
        ((4,), [2, 1], 2, "positions must increase strictly"),
        ((4,), [-1, 1], 2, "positions must increase strictly"),
        ((2, 2), [1, 4], 2, r"within shape \(2, 2\)"),
        ((0, 2), [0], 1, r"within shape \(0, 2\)"),
        ((4,), [1, 2], 3, r"\(2,\) positions but values of shape \(3,\)"),
        ((4,), [[1, 2]], 2, r"\(1, 2\) positions"),
        ((-1, 4), [0], 1, r"a sparse weight has impossible shape \(-1, 4\)"),
        ((2**24, 2**24), [0], 1, "impossible shape"),
        ((1,) * 9, [0], 1, "impossible shape"),
    ],
)
def test_positions_must_lie_in_order_inside_the_shape(shape, positions, count, message):
    """Positions are strictly increasing, inside the shape, and as many as there are values."""
    with pytest.raises(WeightError, match=message):
        Sparse(shape, np.array(positions), Dense(np.ones(count, np.float32)))


def test_a_layer_pruned_to_nothing_is_a_weight():
    """No survivor at all is a valid value that costs nothing."""
    weight = Sparse((3, 2), np.zeros(0, np.int64), Dense(np.zeros(0, np.float32)))
    assert weight.nnz == weight.nbytes == 0
    assert not weight.to_dense().any()
    assert weight.describe() == "sparse(float32)"
