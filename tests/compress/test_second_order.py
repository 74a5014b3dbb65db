"""Codes chosen column by column, against the equations of optimal brain surgeon and of rate and distortion."""

import numpy as np
import pytest
import torch

from lissome.compress.quantize.rate import Prices, prices
from lissome.compress.quantize.second_order import Problem, _one_round, inverse_factor, solve, step_for


def moments(rng, columns):
    """Second moments of correlated inputs."""
    mixed = rng.normal(size=(4 * columns, columns)) @ rng.normal(size=(columns, columns))
    return mixed.T @ mixed / len(mixed) + 0.05 * np.eye(columns)


def problem_of(weight, gram, importance=None):
    factor = inverse_factor(torch.from_numpy(gram)[None])
    importance = np.ones(len(weight)) if importance is None else importance
    target = torch.from_numpy(weight)[None].float()
    return Problem(target, factor.float(), torch.tensor(importance)[None].float(), torch.zeros_like(target).bool())


def free(rows, columns, top=127):
    """Prices of nothing: only distortion counts."""
    return Prices(torch.zeros(rows, columns, dtype=torch.int64), torch.zeros(1, 2 * top + 1))


def brain_surgeon(weight, gram, step):
    """Each weight of a row rounded in order, the free ones answering by equation 3 of Hassibi and Stork, in float64."""
    left, inverse = weight.astype(np.float64).copy(), np.linalg.inv(gram)
    codes = np.zeros(weight.shape, dtype=np.int64)
    for j in range(weight.shape[1]):
        codes[:, j] = np.round(left[:, j] / step)
        error = (left[:, j] - codes[:, j] * step) / inverse[j, j]
        left -= error[:, None] * inverse[j]
        inverse = inverse - np.outer(inverse[:, j], inverse[j]) / inverse[j, j]
    return codes


def test_factor_is_the_upper_triangle_of_the_inverse():
    """UᵀU = gram⁻¹, and U is upper triangular."""
    gram = np.stack([moments(np.random.default_rng(seed), 6) for seed in range(3)])
    upper = inverse_factor(torch.from_numpy(gram)).numpy()
    np.testing.assert_allclose(upper.transpose(0, 2, 1) @ upper @ gram, np.stack([np.eye(6)] * 3), atol=1e-9)
    assert not np.tril(upper, -1).any()


@pytest.mark.parametrize("seed", range(5))
def test_without_prices_it_is_optimal_brain_surgeon_in_order(seed):
    """The same codes as rounding with the explicit inverse, one weight after the other."""
    rng = np.random.default_rng(seed)
    weight, gram = rng.normal(size=(5, 8)).astype(np.float32), moments(rng, 8)
    codes = _one_round(problem_of(weight, gram), 0.25, 1.0, free(5, 8))
    np.testing.assert_array_equal(codes[0].numpy(), brain_surgeon(weight, gram, 0.25))


def test_answering_the_errors_loses_less_than_rounding():
    """Tr((W − Ŵ) H (W − Ŵ)ᵀ) of correlated inputs is well below that of rounding to nearest."""
    rng = np.random.default_rng(0)
    weight, gram = rng.normal(size=(20, 30)).astype(np.float32), moments(rng, 30)
    codes = _one_round(problem_of(weight, gram), 0.5, 1.0, free(20, 30))[0].numpy()

    def loss(rounded):
        return float(np.trace((weight - rounded) @ gram @ (weight - rounded).T))

    assert loss(0.5 * codes) < 0.7 * loss(0.5 * np.round(weight / 0.5))


@pytest.mark.parametrize("rate", [1e-4, 1e-2, 1.0])
def test_a_lone_column_takes_the_code_of_least_distortion_and_price(rate):
    """Of the nearest, the next towards zero and zero, the one with the least s (w − kΔ)² H + λ bits(k)."""
    rng = np.random.default_rng(1)
    weight, importance = rng.normal(size=(200, 1)).astype(np.float32), rng.uniform(0.1, 2, 200)
    cost = prices(torch.from_numpy(np.round(weight / 0.2)).long(), 40)
    codes = _one_round(problem_of(weight, np.array([[3.0]]), importance), 0.2, rate, cost)[0, :, 0].numpy()
    for w, s, found, row in zip(weight[:, 0], importance, codes, range(200), strict=True):
        nearest = int(np.round(w / np.float32(0.2)))
        bits = {k: float(cost.of(torch.full((200, 1), k), torch.tensor([0]))[row, 0]) for k in (nearest, found, 0)}
        near = nearest - int(np.sign(nearest))
        bits[near] = float(cost.of(torch.full((200, 1), near), torch.tensor([0]))[row, 0])
        total = {k: 3.0 * s * (w - 0.2 * k) ** 2 + rate * bits[k] for k in bits}
        assert total[found] <= min(total.values()) * (1 + 1e-4)


def test_a_dearer_rate_costs_fewer_bits_and_more_distortion():
    """Along λ, bits fall and distortion grows, in every step of four."""
    rng = np.random.default_rng(2)
    weight, gram = rng.normal(size=(40, 30)).astype(np.float32), moments(rng, 30)
    bits, losses = [], []
    for rate in (1e-3, 4e-3, 1.6e-2, 6.4e-2):
        problem = problem_of(weight, gram)
        step = step_for(problem.curvature, rate)
        codes, cost = solve(problem, step, rate, 127)
        bits.append(cost.total(codes.view(40, 30)))
        error = weight - step * codes[0].numpy()
        losses.append(float(np.trace(error @ gram @ error.T)))
    assert bits == sorted(bits, reverse=True)
    assert losses == sorted(losses)


def test_what_has_to_be_zero_is_and_the_others_answer_for_it():
    """Codes of gone weights are 0, and the loss is below that of masking without an answer."""
    rng = np.random.default_rng(3)
    weight, gram = rng.normal(size=(10, 20)).astype(np.float32), moments(rng, 20)
    problem = problem_of(weight, gram)
    gone = torch.from_numpy(rng.random((1, 10, 20)) < 0.3)
    codes = _one_round(Problem(problem.target, problem.factor, problem.importance, gone), 0.05, 1.0, free(10, 20))
    assert not codes[gone].any()
    error, masked = weight - 0.05 * codes[0].numpy(), np.where(gone[0], weight, 0)
    assert np.trace(error @ gram @ error.T) < np.trace(masked @ gram @ masked.T)
