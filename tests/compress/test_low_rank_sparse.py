"""factorize.LowRankSparse: each part is the best given the other, of the weights and of the responses."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import SVD, LowRankSparse
from lissome.compress.factorize.low_rank_sparse import largest, reconstructed, weights


def planted(rows=12, columns=15, rank=2, count=8, seed=0):
    """A matrix of low rank with a few large entries added."""
    rng = np.random.default_rng(seed)
    sparse = np.zeros(rows * columns)
    sparse[rng.permutation(rows * columns)[:count]] = rng.choice([-20.0, 20.0], count)
    low = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    return low, sparse.reshape(rows, columns)


def test_a_planted_sum_is_taken_apart():
    """Large entries on a matrix of rank 2 are found where they are, and the rest has rank 2."""
    low, sparse = planted()
    first, second, found = weights(torch.from_numpy(low + sparse), 2, 8)
    assert np.array_equal(found.numpy() != 0, sparse != 0)
    assert np.allclose((first @ second).numpy(), low, atol=1e-3)


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=20), st.data())
def test_largest_keeps_the_largest(values, data):
    """So many entries of largest magnitude stay, the others are zero, against a sort."""
    count = data.draw(st.integers(1, len(values)))
    found = largest(torch.tensor(values, dtype=torch.float64), count).numpy()
    assert sorted(np.abs(found)) == sorted(sorted(np.abs(values))[::-1][:count] + [0] * (len(values) - count))
    assert all(a in (0, b) for a, b in zip(found, values, strict=True))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 100))
def test_responses_are_reconstructed_better_than_by_the_parts_of_the_weights(seed):
    """tr((L+S) G (L+S)ᵀ) − 2 tr((L+S) Cᵀ) + ‖Y‖², which is ‖Y − (L+S)X‖²: below that of the weights' own parts."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(size=(80, 10)) @ rng.normal(size=(10, 10)))
    weight = torch.from_numpy(rng.normal(size=(6, 10)))
    y = x @ weight.T
    first, second, sparse = weights(weight, 2, 6)
    u, v, s = reconstructed(x.T @ x / 80, y.T @ x / 80, 2, 6, sparse)
    assert int((s != 0).sum()) <= 6
    assert torch.linalg.matrix_rank(u @ v) <= 2

    def error(whole):
        return float((y - x @ whole.T).square().sum())

    assert error(u @ v + s) < error(first @ second + sparse)


def test_ahead_of_svd_at_one_cost_where_entries_stand_out():
    """The paper's point: with a few large entries, low rank + sparse has less error than low rank of equal cost."""
    low, sparse = planted(40, 50, 3, 20)
    layer, plain = nn.Linear(50, 40), nn.Linear(50, 40)
    with torch.no_grad():
        for each in (layer, plain):
            each.weight.copy_(torch.from_numpy(low + sparse))
    whole = layer.weight.detach().clone()
    compress_(layer, [LowRankSparse(speedup=3.0, sparsity=0.99)])
    compress_(plain, [SVD(speedup=3.0)])
    parts = layer.factors
    both = parts.low[1].weight @ parts.low[0].weight + parts.sparse.weight
    cost = sum(part.weight.numel() for part in parts.low) + int((parts.sparse.weight != 0).sum())
    assert cost <= 2000 / 3
    svd = plain.factors[1].weight @ plain.factors[0].weight
    assert float((both - whole).detach().norm()) < 0.1 * float((svd - whole).detach().norm())
