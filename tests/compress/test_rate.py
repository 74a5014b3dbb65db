"""The estimate of what codes cost: a distribution in every class, near the entropy, and near what the packer needs."""

import numpy as np
import pytest
import torch

from lissome.compress.quantize.rate import prices
from lissome.pack import small
from lissome.pack.coder import IndexSpec, Indices


def laplacian(shape, scale, seed=0):
    """Codes whose magnitudes differ by row and by column, as those of trained layers do."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.uniform(0.3, 2, (shape[0], 1)), rng.uniform(0.3, 2, (1, shape[1]))
    return torch.from_numpy(np.round(rng.laplace(size=shape) * scale * rows * columns).clip(-127, 127)).long()


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 50)])
def test_prices_are_those_of_a_distribution(shape):
    """Σ 2^−bits is 1 in every class, whatever was counted."""
    table = prices(laplacian(shape, 2.0), 127).table
    np.testing.assert_allclose(np.exp2(-table.numpy().astype(np.float64)).sum(1), 1, rtol=1e-5)


def test_codes_alike_everywhere_cost_their_entropy():
    """For independent codes of one distribution no class helps: the total is n times the entropy, within 3 %."""
    rng = np.random.default_rng(0)
    codes = torch.from_numpy(np.round(rng.laplace(size=(100, 100)) * 2)).long()
    shares = np.bincount(codes.numpy().ravel() + 127) / codes.numel()
    entropy = -(shares[shares > 0] * np.log2(shares[shares > 0])).sum()
    assert prices(codes, 127).total(codes) == pytest.approx(codes.numel() * entropy, rel=0.03)


@pytest.mark.parametrize("scale", [0.4, 1.5, 5.0])
def test_total_is_near_what_the_packer_writes(scale):
    """Coder small needs within 8 % of the estimated bits, for sparse codes and for dense ones."""
    codes = laplacian((96, 144), scale)
    positions = np.flatnonzero(codes.numpy())
    used, ranks = np.unique(codes.numpy().ravel()[positions], return_inverse=True)
    spec = IndexSpec(tuple(codes.shape), sparse=True, alphabet=len(used))
    packed = small.encode([Indices(spec, positions, ranks.astype(np.uint8))])
    assert prices(codes, 127).total(codes) == pytest.approx(8 * len(packed), rel=0.08)


def test_nothing_but_zeros_costs_next_to_nothing():
    """An empty layer has finite prices, and its zeros cost under a hundredth of a bit."""
    codes = torch.zeros(30, 40, dtype=torch.int64)
    found = prices(codes, 127)
    assert torch.isfinite(found.table).all()
    assert found.total(codes) < 0.01 * codes.numel()
