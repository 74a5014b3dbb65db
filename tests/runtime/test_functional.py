"""lissome.conv2d: one kernel by name on arrays, and errors that say what to do."""

from __future__ import annotations

import numpy as np
import pytest

import lissome as ls
from engine_problems import uniform
from lissome.errors import GraphError, UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import reference
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.runtime.kernels import instruction_sets

pytestmark = pytest.mark.native

RNG = np.random.default_rng(5)
X, W, BIAS = uniform(RNG, 2, 3, 11, 9), uniform(RNG, 7, 3, 3, 3), uniform(RNG, 7)


def _reference(x, w, bias, *rest):
    shape = ConvShape(*x.shape, w.shape[0], *w.shape[2:], *rest)
    return reference.conv(x.astype(np.float64), w.astype(np.float64), bias, shape)


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("kernel", [None, "winograd", *(a.name for a in ALGORITHMS)])
def test_every_kernel_by_name(kernel, isa):
    """Each algorithm that can do the layer gives the reference's output; the others refuse it."""
    named = [a for a in ALGORITHMS if kernel == a.name]
    if named and named[0].refuses(Layer(ConvShape(*X.shape, 7, 3, 3), 1.0, isa)):
        with pytest.raises(UnsupportedShape, match=f"{kernel} cannot do it: .*able here: .*im2col"):
            ls.conv2d(X, W, kernel=kernel, isa=isa)
        return
    got = ls.conv2d(X, W, bias=BIAS, padding=1, kernel=kernel, threads=2, isa=isa)
    want = _reference(X, W, BIAS, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_numbers_pairs_and_pads():
    """Strides, dilations and paddings are one number, two, or for paddings four in ONNX's order."""
    got = ls.conv2d(X, W, stride=(2, 1), padding=(1, 0, 2, 3), dilation=2)
    np.testing.assert_allclose(got, _reference(X, W, None, 1, 2, 1, 2, 2, 1, 0, 2, 3), rtol=1e-5, atol=1e-5)
    got = ls.conv2d(X, W, padding=(2, 1))
    np.testing.assert_allclose(got, _reference(X, W, None, 1, 1, 1, 1, 1, 2, 1, 2, 1), rtol=1e-5, atol=1e-5)
    grouped = ls.conv2d(X, W[:6, :1], groups=3)
    np.testing.assert_allclose(grouped, _reference(X, W[:6, :1], None, 3), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": "magic"}, r"no algorithm is called 'magic'; able here: .*im2col.*winograd_4x3"),
        (
            {"kernel": "winograd", "stride": 2},
            r"winograd cannot do it: its stride and dilation are 1; able here: .*mec",
        ),
        ({"kernel": "mec", "dilation": 2}, r"mec cannot do it: it has no dilation; able here: .*im2col"),
        ({"kernel": "winograd_2x5"}, r"its filters are 5x5, these 3x3"),
        ({"stride": (1, 2, 3)}, r"stride is one number or \(vertical, horizontal\)"),
        ({"padding": (1, 2, 3)}, r"padding is one number"),
        ({"threads": 0}, r"threads is a number from 1 to 256, found 0"),
        ({"isa": "mmx"}, r"instruction set 'mmx' is not available"),
    ],
)
def test_what_cannot_be_done(options, message):
    """An unknown kernel, one that cannot do the layer, and impossible options: one clear error each."""
    with pytest.raises(UnsupportedShape, match=message):
        ls.conv2d(X, W, **options)


@pytest.mark.parametrize(
    ("x", "w", "bias", "error", "message"),
    [
        (X.astype(np.float64), W, None, UnsupportedShape, r"x: expected float32 with 4 axes.*found float64"),
        (X[0], W, None, UnsupportedShape, r"x: expected float32 with 4 axes"),
        (X[:0], W, None, UnsupportedShape, r"none of them empty"),
        (X, W[0], None, UnsupportedShape, r"w: expected float32 with 4 axes"),
        (X, W[:, :2], None, GraphError, r"reads 2 channels, but x .* has 3"),
        (X, W, BIAS[:2], GraphError, r"bias has 2 values for the 7 filters"),
        (X[:, :, :2], W, None, GraphError, r"does not fit"),
    ],
)
def test_arrays_that_do_not_fit(x, w, bias, error, message):
    """Arrays of another type or with contradictory shapes are refused, naming the array."""
    with pytest.raises(error, match=message):
        ls.conv2d(x, w, bias=bias)
