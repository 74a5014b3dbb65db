"""Generators of what entropy coders code: groups of Indices, from nothing at all to every element, any alphabet."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import strategies as st

from lissome.pack.coder import IndexSpec, Indices

ALPHABETS = (1, 2, 15, 16, 256, 257, 65536)
shapes = st.one_of(
    st.sampled_from([(), (0,), (1,), (3, 0), (70,), (5, 4, 3, 3), (40, 50), (1 << 20,)]),
    st.lists(st.integers(0, 12), max_size=4).map(tuple),
)


def make(shape, positions, codes, alphabet):
    """Indices of the right dtypes; positions None for a dense tensor."""
    narrow = np.uint8 if alphabet <= 256 else np.uint16
    at = None if positions is None else np.asarray(positions, dtype=np.int64)
    return Indices(IndexSpec(tuple(shape), at is not None, alphabet), at, np.asarray(codes, dtype=narrow))


@st.composite
def _positions(draw, size):
    kind = draw(st.sampled_from(["none", "all", "first", "last", "some", "few"]))
    if kind == "none" or size == 0:
        return np.empty(0, np.int64)
    if kind in ("first", "last"):
        return np.array([0 if kind == "first" else size - 1], np.int64)
    if kind == "few" or size > 5000:
        return np.array(sorted(draw(st.sets(st.integers(0, size - 1), max_size=20))), np.int64)
    density = 1.0 if kind == "all" else draw(st.floats(0.01, 0.99))
    return np.flatnonzero(np.random.default_rng(draw(st.integers(0, 99))).random(size) < density).astype(np.int64)


@st.composite
def _codes(draw, count, alphabet):
    if count <= 20:
        return draw(st.lists(st.integers(0, alphabet - 1), min_size=count, max_size=count))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    if draw(st.booleans()):
        return rng.integers(0, alphabet, count)
    peak = draw(st.integers(0, alphabet - 1))  # skewed, as trained weights are
    return (peak + rng.geometric(draw(st.floats(0.05, 0.999)), count) - 1) % alphabet


@st.composite
def indices(draw):
    """One tensor: sparse or dense, empty, full or between."""
    shape = draw(shapes)
    alphabet = draw(st.sampled_from(ALPHABETS))
    size = math.prod(shape)
    positions = draw(_positions(size)) if size > 5000 or draw(st.booleans()) else None
    count = size if positions is None else positions.size
    return make(shape, positions, draw(_codes(count, alphabet)), alphabet)


groups = st.lists(indices(), max_size=5)


def plain(group):
    """What equality of two groups means: shapes, positions, codes and their dtypes."""
    return [
        (i.spec, None if i.positions is None else i.positions.tolist(), str(i.codes.dtype), i.codes.tolist())
        for i in group
    ]
