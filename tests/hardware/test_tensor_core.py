"""The tensor core: exact where it can be, cut off where the V100 cuts off."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lissome.errors import HardwareError
from lissome.hardware.tensor_core import multiply_add

halves = npst.arrays(np.float16, (4, 4), elements=st.floats(-100, 100, width=16))
floats = npst.arrays(np.float32, (4, 4), elements=st.floats(-1e6, 1e6, width=32))


def dot(products, c):
    """D[0, 0] of a row of ones and a column of `products`, added to c."""
    a, b, d = np.zeros((4, 4), np.float16), np.zeros((4, 4), np.float16), np.zeros((4, 4), np.float32)
    a[0] = [x for x, _ in products]
    b[:, 0] = [y for _, y in products]
    d[0, 0] = c
    return multiply_add(a, b, d)[0, 0]


def test_integers_are_exact():
    """Products and sums of small integers are those of integer arithmetic."""
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(-50, 50, (4, 4)) for _ in range(3))
    found = multiply_add(a.astype(np.float16), b.astype(np.float16), c.astype(np.float32))
    np.testing.assert_array_equal(found, a @ b + c)


def test_what_was_measured_on_the_v100():
    """Products of subnormals are exact; four 2^-24 vanish beside 1; sums are cut off towards zero, either sign."""
    tiny = 2.0**-24  # the smallest float16
    assert dot([(tiny, tiny)] + [(0, 0)] * 3, 0.0) == np.float32(2.0**-48)
    assert dot([(2.0**-12, 2.0**-12)] * 4, 1.0) == 1.0  # exact: 1 + 2^-22
    assert dot([(1, 1), (2.0**-12, 1.5 * 2.0**-11), (0, 0), (0, 0)], 0.0) == np.float32(1 + 2.0**-23)
    assert dot([(1.5, 1), (1.5, 1), (1, 2.0**-11), (0, 0)], np.float32(1 + 2.0**-23)) == np.float32(4 + 2.0**-11)
    assert dot([(-1.5, 1), (-1.5, 1), (0, 0), (0, 0)], np.float32(-1 - 2.0**-23)) == -4.0


@settings(max_examples=15)
@given(halves, halves, floats)
def test_error_is_that_of_cutting_off(a, b, c):
    """Each of five terms, and the sum, lose less than one unit in the last of their 24 bits."""
    found = multiply_add(a, b, c)
    for i in range(2):
        for j in range(4):
            terms = [Fraction(float(a[i, k])) * Fraction(float(b[k, j])) for k in range(4)] + [Fraction(float(c[i, j]))]
            largest = max(map(abs, terms))
            unit = Fraction(2) ** max(int(np.frexp(float(largest))[1]) - 24, -149) if largest else 0
            # The sum of five terms is at most 5 < 8 times the largest: 3 more bits before the last cut.
            assert abs(Fraction(float(found[i, j])) - sum(terms)) <= (5 + 8) * unit


def test_other_matrices_are_refused():
    """A wrong shape, a wrong dtype and infinity are refused, saying which matrix."""
    good = np.ones((4, 4), np.float16)
    c = np.ones((4, 4), np.float32)
    for a, b, third, name in (
        (good[:2], good, c, "A"),
        (good, good.astype(np.float32), c, "B"),
        (good, good, c * np.float32(np.inf), "C"),
    ):
        with pytest.raises(HardwareError, match=f"{name} of a tensor core"):
            multiply_add(a, b, third)
