"""Pooling kernels on every instruction set against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_kernel import names, pool

from engine_problems import assert_close, uniform
from lissome.errors import GraphError
from lissome.graph.conv_shape import PoolShape
from lissome.runtime import reference

pytestmark = pytest.mark.native

KERNELS = names("pool_f32_")


def _check(kernel, shape, x):
    with np.errstate(all="ignore"):
        if "max" in kernel:
            want = reference.max_pool(x.astype(np.float64), shape)
            np.testing.assert_array_equal(pool(kernel, x, shape), want.astype(np.float32), err_msg=f"{kernel} {shape}")
        else:
            want = reference.average_pool(x.astype(np.float64), shape)
            magnitude = reference.average_pool(np.abs(x.astype(np.float64)), shape)
            assert_close(pool(kernel, x, shape), want, magnitude, shape.r * shape.s + 1, f"{kernel} {shape}")


@st.composite
def pool_shapes(draw):
    """Any window that exists, small, padding smaller than the window."""
    values = [draw(st.integers(1, most)) for most in (2, 3, 13, 37, 4, 4, 4, 4, 3, 3)]
    values += [draw(st.integers(0, most)) for most in (2, 2, 2, 2, 1, 1)]
    try:
        shape = PoolShape(*values)
    except GraphError:  # the window does not fit
        assume(False)
    reach = ((shape.r - 1) * shape.dilation_h + 1, (shape.s - 1) * shape.dilation_w + 1)
    assume(max(shape.pad_top, shape.pad_bottom) < reach[0] and max(shape.pad_left, shape.pad_right) < reach[1])
    return shape


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=60, deadline=None)
@given(pool_shapes(), st.integers(0, 2**31))
def test_any_window(kernel, shape, seed):
    """Any window, stride, padding, dilation, ceil_mode: maxima are exact, averages within rounding."""
    _check(kernel, shape, uniform(np.random.default_rng(seed), shape.n, shape.c, shape.h, shape.w))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_where_numpy_lets_it(kernel, bad):
    """A NaN is the maximum and the average of every window that holds it."""
    x = uniform(np.random.default_rng(1), 2, 3, 9, 21)
    x[0, 1, 4, 5] = x[1, 2, 8, 20] = x[1, 0, 0, 0] = bad
    for values in ((2, 2, 2, 2), (3, 3, 2, 2, 1, 1, 1, 1, 1, 1), (3, 2, 1, 1), (9, 21)):
        _check(kernel, PoolShape(*x.shape, *values), x)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_number_of_workers_changes_no_bit(kernel):
    """One or three workers: the same bits."""
    x = uniform(np.random.default_rng(2), 3, 5, 12, 19)
    shape = PoolShape(*x.shape, 3, 3, 2, 2)
    assert pool(kernel, x, shape, workers=3).tobytes() == pool(kernel, x, shape).tobytes()
