"""Ranks: by energy, by the product of energies over layers, and by variational Bayes; each against its definition."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lissome.compress.factorize.bayes import bayes_rank, free_energy
from lissome.compress.factorize.ranks import by_energy, by_product

energies = st.lists(st.floats(0, 100), min_size=1, max_size=6).map(lambda values: sorted(values, reverse=True))


@given(energies, st.floats(0.01, 1))
def test_energy_is_reached_and_not_by_one_rank_less(values, share):
    """The least rank whose energies sum to the share; 1 where all are zero."""
    rank = by_energy(torch.tensor(values, dtype=torch.float64), share)
    total = sum(values)
    assert 1 <= rank <= len(values)
    assert sum(values[:rank]) >= share * total * (1 - 1e-9)
    assert rank == 1 or sum(values[: rank - 1]) < share * total


def test_the_share_of_one_keeps_all_that_is_not_zero():
    """Zhang et al. drop nothing at full energy, and lissome drops what is exactly zero only."""
    assert by_energy(torch.tensor([3.0, 2.0, 1.0]), 1.0) == 3
    assert by_energy(torch.tensor([3.0, 2.0, 0.0]), 1.0) == 2
    assert by_energy(torch.zeros(3), 1.0) == 1


def greedy(energies, units, wholes, budget):
    """The paper's greedy strategy as it is written: every layer looked at in every step, no heap."""
    ranks = [len(each) for each in energies]

    def total():
        return sum(min(rank * unit, whole) for rank, unit, whole in zip(ranks, units, wholes, strict=True))

    while total() > budget:
        prices = {
            i: (np.asarray(energies[i])[rank - 1] / max(np.cumsum(energies[i])[rank - 1], 1e-300) / units[i], i)
            for i, rank in enumerate(ranks)
            if rank > 1
        }
        if not prices:
            return None
        ranks[min(prices, key=prices.get)] -= 1
    return ranks


@settings(deadline=None)
@given(st.data())
def test_ranks_over_layers_are_the_papers_greedy_choice(data):
    """By_product gives what equations 19 to 21's strategy gives, and keeps the budget."""
    layers = data.draw(st.integers(1, 4))
    spectra = [np.array(data.draw(energies)) for _ in range(layers)]
    units = [data.draw(st.integers(1, 9)) for _ in range(layers)]
    wholes = [data.draw(st.integers(unit, 60)) for unit in units]
    budget = data.draw(st.floats(0, sum(wholes)))
    ranks = by_product(spectra, units, wholes, budget)
    assert ranks == greedy(spectra, units, wholes, budget)
    if ranks is not None:
        cost = sum(min(r * u, w) for r, u, w in zip(ranks, units, wholes, strict=True))
        assert cost <= budget


def test_product_of_energies_is_near_the_best_there_is():
    """Of all choices within the budget, the greedy one keeps at least 97 % of the best product on smooth spectra."""
    spectra = [0.5 ** np.arange(5.0), 0.9 ** np.arange(5.0), np.array([1.0, 0.01, 0.001, 0.0001, 0.00001])]
    units = [1, 2, 3]
    budget = 16
    found = by_product(spectra, units, [10**6] * 3, budget)

    def product(ranks):
        return np.prod([s[:r].sum() / s.sum() for s, r in zip(spectra, ranks, strict=True)])

    best = max(
        product(ranks)
        for ranks in itertools.product(range(1, 6), repeat=3)
        if sum(r * u for r, u in zip(ranks, units, strict=True)) <= budget
    )
    assert product(found) > 0.97 * best


@pytest.mark.parametrize(("rows", "columns", "rank"), [(40, 40, 3), (30, 200, 5), (200, 30, 5), (64, 577, 10)])
@pytest.mark.parametrize("noise", [0.01, 0.3])
def test_bayes_finds_the_planted_rank(rows, columns, rank, noise):
    """A matrix of low rank plus noise well below it: exactly the planted rank, whatever the shape and the scale."""
    rng = np.random.default_rng(rows + columns)
    planted = rng.normal(size=(rows, rank)) @ rng.normal(size=(rank, columns))
    whole = planted + noise * rng.normal(size=(rows, columns))
    for scale in (1e-6, 1.0, 1e6):
        assert bayes_rank(np.linalg.svd(scale * whole, compute_uv=False), (rows, columns)) == rank


def test_bayes_finds_nothing_in_noise_or_in_zeros():
    """White noise has rank 0, and so has a matrix of zeros."""
    noise = np.random.default_rng(0).normal(size=(50, 80))
    assert bayes_rank(np.linalg.svd(noise, compute_uv=False), (50, 80)) == 0
    assert bayes_rank(np.zeros(50), (50, 80)) == 0


def test_free_energy_term_by_term():
    """Ω is Σ ψ₀(x), and ψ₁(x) beside it where x is above the threshold (Nakajima et al., equations 25 to 29)."""
    squares, high, alpha, threshold = np.array([90.0, 30.0, 2.0, 0.5]), 10, 0.4, 3.0
    for variance in (0.1, 0.5, 2.0):
        expected = 0.0
        for x in squares / (high * variance):
            expected += x - np.log(x)
            if x > threshold:
                tau = 0.5 * (x - (1 + alpha) + np.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))
                expected += np.log(tau + 1) + alpha * np.log(tau / alpha + 1) - tau
        found = free_energy(np.array([variance]), squares, high, alpha, threshold)
        assert found == pytest.approx(expected, rel=1e-12)
