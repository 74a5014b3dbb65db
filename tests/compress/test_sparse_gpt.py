"""prune.SparseGPT: against optimal brain surgeon step by step, patterns, and what it keeps of a network."""

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.calibrate import calibrate_
from lissome.compress.prune import Magnitude, SparseGPT
from lissome.compress.quantize.second_order import inverse_factor
from lissome.errors import RecipeError


def test_the_rest_answers_as_a_least_squares_problem_says():
    """With a given mask, each row ends where removing its columns one by one, the later ones free, takes it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) @ rng.normal(size=(6, 6))
    gram, rows = x.T @ x / 300, rng.normal(size=(3, 6))
    left, kept = SparseGPT(sparsity=0.5).solve(
        torch.from_numpy(rows).unsqueeze(0), inverse_factor(torch.from_numpy(gram).unsqueeze(0))
    )
    assert int(kept.sum()) == 9
    for row, own, found in zip(rows, kept[0].numpy(), left[0].numpy(), strict=True):
        want = row.copy()
        for j in range(6):
            if not own[j]:  # fix column j at 0: the columns behind it minimise (w − ŵ)ᵀ H (w − ŵ)
                later = slice(j + 1, 6)
                want[later] += np.linalg.solve(gram[later, later], gram[later, j] * want[j])
                want[j] = 0.0
        np.testing.assert_allclose(found, want * own, atol=1e-9)


def test_it_loses_less_than_magnitude():
    """The same sparsity without training: a smaller error than by magnitude, on inputs that were not seen, too."""
    errors = {}
    for method in (Magnitude(sparsity=0.6), SparseGPT(sparsity=0.6)):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 10))
        mix = torch.randn(20, 20)
        x, others = torch.randn(300, 20) @ mix, torch.randn(100, 20) @ mix
        want = model(others).detach()
        ls.compress_(model, [method])
        if isinstance(method, SparseGPT):
            calibrate_(model, x)
        for layer in (model[0], model[2]):
            assert int((layer.weight != 0).sum()) == pytest.approx(0.4 * layer.weight.numel(), abs=1)
        errors[type(method)] = float((model(others) - want).detach().square().mean())
    assert errors[SparseGPT] < 0.5 * errors[Magnitude]


def test_patterns_of_two_in_four():
    """Of every four neighbours of a flattened filter two are left, the last group of fewer too."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 2, groups=2))
    ls.compress_(model, [SparseGPT(keep=2, of=4)])
    calibrate_(model, torch.randn(40, 3, 6, 6))
    for layer in (model[0], model[2]):
        rows = (layer.weight != 0).flatten(1)
        for start in range(0, rows.shape[1], 4):
            assert (rows[:, start : start + 4].sum(1) <= 2).all()


def test_bare_options_are_refused():
    """Shares and patterns out of range, and biases."""
    for wrong in ({"sparsity": 1.0}, {"keep": 4, "of": 4}, {"keep": 1}):
        with pytest.raises(RecipeError, match="SparseGPT"):
            SparseGPT(**wrong)
    with pytest.raises(RecipeError, match="Leave biases out"):
        ls.compress_(nn.Linear(3, 2), ls.Recipe([("bias", [SparseGPT()])]))
