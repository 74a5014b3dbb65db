"""factorize.Tucker against NumPy: higher-order singular values, and turns that only improve them."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import Tucker
from lissome.compress.factorize.tucker import best_pair, costs, tucker


def reference(weight, rank_out, rank_in):
    """HOSVD: the leading left singular vectors of both unfoldings, and the core that they leave; as a whole weight."""
    k, c = weight.shape[:2]
    out = np.linalg.svd(weight.reshape(k, -1))[0][:, :rank_out]
    into = np.linalg.svd(weight.transpose(1, 0, 2, 3).reshape(c, -1))[0][:, :rank_in]
    core = np.einsum("kcij,ka,cb->abij", weight, out, into)
    return np.einsum("abij,ka,cb->kcij", core, out, into)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 5), st.data())
def test_turns_improve_on_hosvd_and_reach_no_more_than_the_bound(k, c, data):
    """The error is at most HOSVD's, and at least the largest energy left out along one mode (De Lathauwer et al.)."""
    rank_out, rank_in = data.draw(st.integers(1, k)), data.draw(st.integers(1, c))
    weight = np.random.default_rng(k * 6 + c).normal(size=(k, c, 3, 3))
    out, core, into = tucker(torch.from_numpy(weight), rank_out, rank_in)
    found = torch.einsum("abij,ka,cb->kcij", core, out, into).numpy()
    error = ((found - weight) ** 2).sum()
    assert error <= ((reference(weight, rank_out, rank_in) - weight) ** 2).sum() + 1e-9
    left = [
        (np.linalg.svd(unfolded, compute_uv=False)[rank:] ** 2).sum()
        for unfolded, rank in (
            (weight.reshape(k, -1), rank_out),
            (weight.transpose(1, 0, 2, 3).reshape(c, -1), rank_in),
        )
    ]
    assert error >= max(left) - 1e-9
    assert np.allclose(out.T @ out, np.eye(rank_out), atol=1e-9)


def test_full_ranks_are_the_convolution():
    """Three convolutions, the middle one with the stride, dilation and padding, compute the same."""
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, 2, 1, 2, padding_mode="reflect")
    x = torch.randn(2, 3, 9, 8)
    expected = layer(x)
    compress_(layer, [Tucker(rank=4, rank_in=3)])
    assert [part.kernel_size for part in layer.factors] == [(1, 1), (3, 3), (1, 1)]
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_the_pair_within_the_budget_is_the_best_of_all():
    """Every pair of ranks looked at by hand: none within the budget keeps a larger product of energies."""
    out, into = 0.6 ** np.arange(6.0), 0.8 ** np.arange(5.0)
    cost = costs(nn.Conv2d(5, 6, 3, stride=2))
    assert cost[2, 3] == 5 * 4 * 4 + 9 * 3 * 4 + 3 * 6
    budget = 6 * 5 * 9 / 1.5
    pair = best_pair(out, into, cost, budget)
    kept = {
        (a, b): out[:a].sum() * into[:b].sum() for a in range(1, 7) for b in range(1, 6) if cost[a - 1, b - 1] <= budget
    }
    assert kept[pair] == max(kept.values())
    assert best_pair(out, into, cost, 1.0) is None


def test_bayes_finds_the_planted_ranks_of_both_modes():
    """A kernel of ranks 3 and 2 in noise is cut to these."""
    rng = np.random.default_rng(0)
    planted = np.einsum(
        "abij,ka,cb->kcij", rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(24, 3)), rng.normal(size=(16, 2))
    )
    layer = nn.Conv2d(16, 24, 3)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(planted + 0.05 * rng.normal(size=planted.shape)))
    compress_(layer, [Tucker(bayes=True)])
    assert (layer.factors[1].out_channels, layer.factors[1].in_channels) == (3, 2)
