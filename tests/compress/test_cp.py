"""factorize.CP against the definition: a sum of products of four vectors, found by alternating least squares."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import CP
from lissome.compress.factorize.cp import cp, product


@settings(deadline=None, max_examples=8)
@given(st.integers(2, 5), st.integers(2, 5), st.integers(1, 2))
def test_a_planted_sum_is_found(k, c, rank):
    """A kernel that is a sum of one or two products of vectors comes back with an error of the ridge's size."""
    rng = np.random.default_rng(k * 10 + c)
    vectors = [np.linalg.qr(rng.normal(size=(extent, extent)))[0][:, :rank] for extent in (k, c, 3, 3)]
    weight = sum(np.einsum("k,c,i,j->kcij", *(v[:, r] for v in vectors)) * (r + 1) for r in range(rank))
    found = product(cp(torch.from_numpy(weight), rank)).numpy()
    assert np.abs(found - weight).max() < 1e-4


def test_the_product_is_the_sum_of_outer_products():
    """Product against NumPy, term by term."""
    rng = np.random.default_rng(0)
    factors = [rng.normal(size=(extent, 3)) for extent in (4, 2, 3, 5)]
    expected = np.zeros((4, 2, 3, 5))
    for r in range(3):
        expected += np.multiply.outer(
            np.multiply.outer(np.multiply.outer(factors[0][:, r], factors[1][:, r]), factors[2][:, r]), factors[3][:, r]
        )
    assert np.allclose(product([torch.from_numpy(f) for f in factors]).numpy(), expected)


def test_more_terms_never_fit_worse():
    """On one kernel the error falls with the rank, and rank R is far ahead of none."""
    weight = torch.randn(6, 5, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    errors = [float((product(cp(weight, rank)) - weight).square().sum()) for rank in (1, 4, 12, 45)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-3 * float(weight.square().sum())


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1}, {"dilation": 2, "padding": 2, "padding_mode": "circular"}]
)
def test_the_four_layers_compute_their_product(options):
    """Pointwise, vertical, horizontal, pointwise: as one convolution with the product for a weight."""
    torch.manual_seed(0)
    layer, whole = nn.Conv2d(3, 4, 3, **options), nn.Conv2d(3, 4, 3, **options)
    compress_(layer, [CP(rank=5)])
    into, down, across, out = (part.weight.detach() for part in layer.factors)
    with torch.no_grad():
        factors = [out[:, :, 0, 0], into[:, :, 0, 0].T, down[:, 0, :, 0].T, across[:, 0, 0].T]
        whole.weight.copy_(product(factors))
        whole.bias.copy_(layer.factors[3].bias)
    x = torch.randn(2, 3, 9, 8)
    assert torch.allclose(layer(x), whole(x), atol=1e-5)


def test_the_same_seed_gives_the_same_factors():
    """Starting values beyond the singular vectors are drawn from the seed alone."""
    weight = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert all(torch.equal(a, b) for a, b in zip(cp(weight, 6, 1), cp(weight, 6, 1), strict=True))
    assert not torch.equal(cp(weight, 6, 1)[0], cp(weight, 6, 2)[0])
