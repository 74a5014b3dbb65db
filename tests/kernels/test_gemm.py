"""Every matrix-product kernel on every instruction set against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_kernel import gemm, names

from engine_problems import assert_close, uniform, weight_forms
from lissome.runtime import kernels
from lissome.weights import Codebook, Dense, Sparse

pytestmark = pytest.mark.native

KERNELS = names("gemm_f32_")

# (m, n, k): one of everything, then one less and one more than every tile, slice, block, strip and chunk.
SHAPES = [
    (1, 1, 1),
    (1, 17, 3),
    (2, 16, 5),
    (3, 15, 4),
    (4, 33, 7),
    (5, 7, 63),
    (6, 64, 64),
    (7, 31, 65),
    (11, 9, 2),
    (12, 32, 8),
    (13, 48, 9),
    (15, 1, 31),
    (16, 5, 33),
    (17, 2, 129),
    (31, 3, 16),
    (33, 6, 17),
    (47, 8, 15),
    (49, 10, 6),
    (64, 20, 40),
    (65, 4, 1),
]


def _able(kernel, weight):
    """Whether a kernel can do this form of weight."""
    if "_codes" in kernel:
        return 0 < kernels.code_values(weight) <= (16 if "_codes4_" in kernel else 32)
    return "coded" not in kernel or 0 < kernels.shared_values(weight) <= kernels.CODED_VALUES


def _check(kernel, x, weight, bias, *, relu=False):
    if not _able(kernel, weight):
        return
    dense = weight.to_dense().astype(np.float64)
    with np.errstate(all="ignore"):
        want = x.astype(np.float64) @ dense.T + (0 if bias is None else bias.astype(np.float64))
        want = np.maximum(want, 0) if relu else want
        magnitude = np.abs(x.astype(np.float64)) @ np.abs(dense).T + (0 if bias is None else np.abs(bias))
    got = gemm(kernel, x, weight, bias, relu=relu)
    assert_close(got, want, magnitude, x.shape[1], f"{kernel} {x.shape[0], *weight.shape} {weight.describe()}")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes_around_every_edge(kernel, shape):
    """One less and one more than every tile: the product and bias within derived rounding, for every form of weight."""
    m, n, k = shape
    rng = np.random.default_rng(m * 10007 + n * 101 + k)
    x, bias = uniform(rng, m, k), uniform(rng, n)
    for relu, (_, weight) in enumerate(weight_forms(rng, (n, k)).items()):
        _check(kernel, x, weight, bias if relu % 3 else None, relu=bool(relu % 2))


@pytest.mark.parametrize("kernel", names("gemm_f32_panels_"))
@pytest.mark.parametrize("m", range(1, 26))
def test_every_tile(kernel, m):
    """Each number of rows up to two tiles', by one and by two vectors of outputs and a part of one, beside NaN."""
    rng = np.random.default_rng(m)
    lanes = kernels.panel_width(kernel) // 2
    x, w = uniform(rng, m, 37), uniform(rng, 3 * lanes + 1, 37)
    x[m // 2, 5] = np.nan
    for outputs in (1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 1):
        _check(kernel, x, Dense(w[-outputs:]), uniform(rng, outputs))


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=15, deadline=None)
@given(st.tuples(st.integers(1, 70), st.integers(1, 70), st.integers(1, 150)), st.integers(0, 2**31), st.data())
def test_any_shape(kernel, shape, seed, data):
    """Any shape and form of weight gives the product."""
    m, n, k = shape
    rng = np.random.default_rng(seed)
    forms = weight_forms(rng, (n, k))
    weight = forms[data.draw(st.sampled_from(sorted(forms)))]
    _check(kernel, uniform(rng, m, k), weight, uniform(rng, n), relu=data.draw(st.booleans()))


@pytest.mark.parametrize("kernel", names("gemm_f32_coded_row_"))
@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 40), st.integers(1, 300)),
    st.sampled_from([0.0, 0.02, 0.1, 0.3, 0.8, 1.0]),
    st.integers(1, 63),
    st.integers(0, 2**31),
)
def test_slots_of_any_density(kernel, shape, density, values, seed):
    """Rows of fewer and of more weights in a segment than it has slots; one to 63 values; none and all kept."""
    (m, n, k), rng = shape, np.random.default_rng(seed)
    positions = np.flatnonzero(rng.random(n * k) < density * rng.random((n, 1)).repeat(k, 0).reshape(-1) * 2)
    weight = Sparse((n, k), positions, Codebook(rng.integers(0, values, positions.size), uniform(rng, values)))
    _check(kernel, uniform(rng, m, k), weight, uniform(rng, n))
    x = uniform(rng, m, k)
    x[m - 1, k // 2] = np.inf
    _check(kernel, x, weight, None, relu=True)


@pytest.mark.parametrize("kernel", names("gemm_f32_codes"))
@settings(max_examples=20, deadline=None)
@given(st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)), st.integers(1, 32), st.integers(0, 2**31))
def test_codes_of_all_values(kernel, shape, values, seed):
    """One value to as many as the bits name, all used; words that end within a row; rows of x past those at once."""
    (m, n, k), rng = shape, np.random.default_rng(seed)
    weight = Codebook(rng.integers(0, values, (n, k)), uniform(rng, values))
    _check(kernel, uniform(rng, m, k), weight, uniform(rng, n))
    x = uniform(rng, m, k)
    x[m - 1, k // 2] = np.inf
    _check(kernel, x, weight, None, relu=True)


@pytest.mark.parametrize("kernel", KERNELS)
def test_wide_columns(kernel):
    """More columns than a 16-bit index can name."""
    rng = np.random.default_rng(5)
    forms = weight_forms(rng, (2, 65_537))
    for name in ("dense", "sparse", "sparse, 15 shared"):
        _check(kernel, uniform(rng, 5, 65_537), forms[name], uniform(rng, 2))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("m", [1, 20])
def test_what_is_not_finite_goes_where_numpy_lets_it(kernel, bad, m):
    """NaN and infinity reach the outputs that NumPy gives them to, through pruned weights too."""
    rng = np.random.default_rng(7)
    x = uniform(rng, m, 37)
    x[0, 36], x[m // 2, 5] = bad, bad
    for weight in weight_forms(rng, (19, 37)).values():
        for relu in (False, True):
            _check(kernel, x, weight, uniform(rng, 19), relu=relu)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_number_of_workers_changes_no_bit(kernel):
    """One, two or five workers: the same bits."""
    rng = np.random.default_rng(11)
    x, bias = uniform(rng, 70, 90), uniform(rng, 100)
    for weight in filter(lambda weight: _able(kernel, weight), weight_forms(rng, (100, 90)).values()):
        alone = gemm(kernel, x, weight, bias)
        for workers in (2, 5):
            assert gemm(kernel, x, weight, bias, workers=workers).tobytes() == alone.tobytes()


def test_a_seeded_bug_exceeds_the_bound():
    """The bound is tight enough to notice one lost product of typical size among a hundred."""
    rng = np.random.default_rng(3)
    x, w = uniform(rng, 4, 100).astype(np.float64), uniform(rng, 6, 100).astype(np.float64)
    lost = x @ w.T - np.outer(x[:, 50], w[:, 50])
    with pytest.raises(AssertionError, match="elements are off"):
        assert_close(lost.astype(np.float32), x @ w.T, np.abs(x) @ np.abs(w).T, 100, "lost")
