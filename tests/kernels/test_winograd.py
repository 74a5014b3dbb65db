"""Winograd's transforms: right by construction, as published, with fewer multiplications and a known error."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from one_kernel import conv, names

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import algorithms, reference, winograd
from lissome.runtime.algorithms import Layer
from lissome.runtime.native import native
from lissome.weights import Dense

pytestmark = pytest.mark.native

# Lavin and Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, sections 4.1 and 4.3.
PUBLISHED = {
    (2, 3, (0, 1, -1)): (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    (4, 3, (0, 1, -1, 2, -2)): (
        [
            [4, 0, -5, 0, 1, 0],
            [0, -4, -4, 1, 1, 0],
            [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0],
            [0, 2, -1, -2, 1, 0],
            [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0],
            [-1 / 6, -1 / 6, -1 / 6],
            [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6],
            [1 / 24, -1 / 12, 1 / 6],
            [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}


@pytest.mark.parametrize(("m", "r"), winograd.VARIANTS)
def test_matrices_compute_a_correlation_exactly(m, r):
    """At [(G g) * (B^T d)] is the correlation of d with g: over the rationals, without any rounding."""
    bt, g, at = winograd.matrices(m, r)
    edge = m + r - 1
    quotients = [[Fraction(v).limit_denominator(10**6) for v in row] for row in g.tolist()]
    for i in range(m):
        for k in range(r):
            for j in range(edge):
                total = sum(
                    Fraction(at[i, position]) * quotients[position][k] * Fraction(bt[position, j])
                    for position in range(edge)
                )
                assert total == (1 if j == i + k else 0)
    np.testing.assert_array_equal(np.array(quotients, dtype=np.float64), g)


@pytest.mark.parametrize(("case", "published"), PUBLISHED.items(), ids=["F(2,3)", "F(4,3)"])
def test_published_points_give_the_published_matrices(case, published):
    """The generator at the paper's points gives the paper's matrices, positions up to factors whose product is 1."""
    m, r, points = case
    bt, g, at = native.winograd_matrices(m, r, points)
    edge = m + r - 1
    got = np.reshape(bt, (edge, edge)), np.reshape(g, (edge, r)), np.reshape(at, (m, edge)).T
    want = np.array(published[0]), np.array(published[1]), np.array(published[2]).T
    for position in range(edge):
        factors = []
        for ours, theirs in zip(got, want, strict=True):
            at_most = int(np.argmax(np.abs(theirs[position])))
            factors.append(ours[position, at_most] / theirs[position, at_most])
            np.testing.assert_allclose(ours[position], factors[-1] * theirs[position], rtol=1e-15)
        assert np.prod(factors) == pytest.approx(1.0, rel=1e-15)


@pytest.mark.parametrize(
    ("m", "r", "saved"), [(2, 3, 2.25), (4, 3, 4.0), (6, 3, 324 / 64), (2, 5, 100 / 36)], ids=lambda v: f"{v:g}"
)
def test_multiplications(m, r, saved):
    """F(2x2, 3x3) does 2.25 times fewer multiplications than the sum does, F(4x4, 3x3) 4 times (whole tiles)."""
    shape = ConvShape(1, 64, 24, 48, 32, r, r, 1, 1, 1, 1, 1, r // 2, r // 2, r // 2, r // 2)
    assert shape.macs / winograd.multiplications(m, r, shape) == pytest.approx(saved, rel=1e-12)


@pytest.mark.parametrize("kernel", names("conv_f32_winograd"))
@pytest.mark.parametrize("channels", [16, 128])
def test_the_error_is_what_is_expected(kernel, channels):
    """For normal inputs and weights the error is below what independent roundings predict, and not far below."""
    stem = kernel.rpartition("_")[0]
    m, r = int(stem[-3]), int(stem[-1])
    rng = np.random.default_rng(channels)
    shape = ConvShape(1, channels, 24, 24, 24, r, r)
    x = rng.standard_normal((1, channels, 24, 24)).astype(np.float32)
    weight = rng.standard_normal((24, channels, r, r)).astype(np.float32)
    want = reference.conv(x.astype(np.float64), weight.astype(np.float64), None, shape)
    error = conv(kernel, x, Dense(weight), None, shape) - want
    found = float(np.sqrt((error**2).mean() / (want**2).mean()))
    assert 0.4 < found / winograd.expected_error(m, r, channels) < 1


def test_the_planner_takes_no_variant_above_the_bound(monkeypatch):
    """A variant whose expected error is above the bound costs infinitely much; below it, it costs what it does."""
    layer = Layer(ConvShape(1, 256, 28, 28, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1), 1.0, "scalar")
    assert np.isfinite([winograd.cost(m, 3, layer) for m in (2, 4, 6)]).all()
    monkeypatch.setattr(winograd, "ERROR_BOUND", winograd.expected_error(4, 3, 256) * 1.01)
    assert [np.isfinite(winograd.cost(m, 3, layer)) for m in (2, 4, 6)] == [True, True, False]


@pytest.mark.parametrize("kernel", names("conv_f32_winograd"))
def test_large_finite_values_do_not_overflow(kernel):
    """Inputs whose transform overflows, though their sum does not, give the sum."""
    r = int(kernel.rpartition("_")[0][-1])
    shape = ConvShape(1, 2, 12, 12, 3, r, r)
    x = np.full((1, 2, 12, 12), 2.0**125, np.float32)
    x[0, 0, ::2] *= -1
    weight = np.full((3, 2, r, r), 2.0**-4, np.float32)
    got = conv(kernel, x, Dense(weight), None, shape)
    want = reference.conv(x.astype(np.float64), weight.astype(np.float64), None, shape)
    assert np.isfinite(want.astype(np.float32)).all()
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=float(np.abs(want).max()) * 1e-4)


def test_refusals_say_why():
    """Each reason is named: extent of the filter, stride, dilation, groups."""
    shapes = {
        r"its filters are 3x3, these 5x3": (1, 4, 9, 9, 4, 5, 3),
        "stride and dilation": (1, 4, 9, 9, 4, 3, 3, 1, 2, 2),
        "one group": (1, 4, 9, 9, 4, 3, 3, 2),
        "": (1, 4, 9, 9, 4, 3, 3),
    }
    algorithm = algorithms.of_kernel("conv_f32_winograd_4x3_scalar")
    for reason, values in shapes.items():
        found = algorithm.refuses(Layer(ConvShape(*values), 1.0, "scalar"))
        assert reason in found
        assert bool(reason) == bool(found)
