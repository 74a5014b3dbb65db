"""Relative indices with filler zeros."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lissome.pack import deltas

positions = st.sets(st.integers(0, 3000), max_size=40).map(lambda found: np.array(sorted(found), np.int64))


def test_the_papers_example():
    """Han et al., ICLR 2016, figure 2: distances 1, 3, 11 in 3 bits are 1, 3, 8 and a filler, 3."""
    fields, filler = deltas.relative(np.array([0, 3, 14]), width=3)
    assert (fields + 1).tolist() == [1, 3, 8, 3]
    assert filler.tolist() == [False, False, True, False]
    assert doctest.testmod(deltas).failed == 0


@given(positions, st.integers(1, 16))
def test_absolute_inverts_relative(at, width):
    """Positions come back, every field fits its width, and fillers take the full distance."""
    fields, filler = deltas.relative(at, width=width)
    assert np.array_equal(deltas.absolute(fields, filler), at)
    assert ((fields >= 0) & (fields < 2**width)).all()
    assert (fields[filler] == 2**width - 1).all()
    assert filler.sum() == deltas.fillers(at, width=width)


@pytest.mark.parametrize(("gap", "width", "count"), [(8, 3, 0), (9, 3, 1), (16, 3, 1), (17, 3, 2), (1 << 20, 16, 15)])
def test_fillers_begin_just_past_the_width(gap, width, count):
    """A distance of 2^width needs no filler, one more needs one."""
    assert deltas.fillers(np.array([0, gap]), width=width) == count
