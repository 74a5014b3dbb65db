"""Fisher pruning: the running mean of squared gradients, the saliency, and one-shot use before any gradient."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_, groups
from lissome.compress.prune import Fisher, Lamp
from lissome.compress.prune.fisher import saliency
from lissome.compress.prune.watch import DECAY
from lissome.compress.recipe import Recipe
from lissome.compress.schedule import Cubic
from lissome.errors import RecipeError


def observed(module, steps=3, seed=0, sparsity=0.5):
    """`module` under Fisher with a schedule that has not begun, after some backward passes; and the gradients seen."""
    compress_(module, [Fisher(sparsity=sparsity)])
    ramp = Cubic(module, end_step=1)
    torch.manual_seed(seed)
    gradients = []
    for _ in range(steps):
        module.zero_grad()
        module(torch.randn(5, 8)).square().sum().backward()
        gradients.append(module.parametrizations.weight.original.grad.clone())
    return ramp, gradients


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 6), st.integers(0, 1000))
def test_moment_is_the_running_mean_of_squared_gradients(steps, seed):
    """Moment ← DECAY · moment + (1 − DECAY) · g², from zero, over every backward pass."""
    layer = nn.Linear(8, 6, bias=False)
    _, gradients = observed(layer, steps, seed)
    expected = torch.zeros(6, 8)
    for gradient in gradients:
        expected = DECAY * expected + (1 - DECAY) * gradient.square()
    torch.testing.assert_close(layer.parametrizations.weight[0].moment, expected, rtol=1e-5, atol=1e-9)


def test_the_least_salient_half_is_pruned():
    """After settling, every survivor's w² E[g²] is at least that of every pruned weight."""
    layer = nn.Linear(8, 6, bias=False)
    ramp, _ = observed(layer)
    member = groups(layer)[0][1][0]
    score = saliency(member)
    assert torch.equal(score, member.weight().square() * member.parametrization.moment)
    ramp.step()
    mask = member.parametrization.mask
    assert int(mask.sum()) == 24
    assert score[mask].min() >= score[~mask].max()


def test_small_weights_with_large_gradients_outlive_large_idle_ones():
    """A large weight on an input that is always zero goes first, whatever its magnitude."""
    layer = nn.Linear(8, 6, bias=False)
    with torch.no_grad():
        layer.weight[:, 0] = 100.0
    compress_(layer, [Fisher(sparsity=0.125)])
    ramp = Cubic(layer, end_step=1)
    inputs = torch.randn(16, 8)
    inputs[:, 0] = 0
    layer(inputs).square().sum().backward()
    ramp.step()
    assert not layer.weight[:, 0].any()
    assert layer.weight[:, 1:].all()


def test_evaluation_observes_nothing():
    """Neither eval mode nor no_grad changes the moment."""
    layer = nn.Linear(8, 6, bias=False)
    compress_(layer, [Fisher(sparsity=0.5)])
    layer.eval()
    layer(torch.randn(5, 8)).sum().backward()
    layer.train()
    with torch.no_grad():
        layer(torch.randn(5, 8))
    assert not layer.parametrizations.weight[0].moment.any()


def test_before_any_gradient_the_ranking_is_lamps():
    """One-shot pruning of a network that never ran backward gives LAMP's masks."""
    made = []
    for method in (Fisher(sparsity=0.7), Lamp(sparsity=0.7)):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))
        compress_(net, Recipe([("*|*.bias", [method])]))
        made.append([member.parametrization.mask for _, members in groups(net) for member in members])
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_moment_survives_state_dict():
    """A resumed run ranks by what was observed before it was stopped."""
    layer = nn.Linear(8, 6, bias=False)
    observed(layer)
    fresh = nn.Linear(8, 6, bias=False)
    compress_(fresh, [Fisher(sparsity=0.5)])
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh.parametrizations.weight[0].moment, layer.parametrizations.weight[0].moment)


def test_impossible_sparsity_is_refused():
    """A share outside [0, 1) is a RecipeError when the method is built."""
    with pytest.raises(RecipeError, match="sparsity"):
        Fisher(sparsity=1.0)
