"""LAMP: the score against its equation, one sparsity over all layers, and the price of a position."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_, groups
from lissome.compress.prune import Lamp, Magnitude
from lissome.compress.prune.lamp import lamp
from lissome.compress.prune.rate import position_bits
from lissome.compress.recipe import Recipe
from lissome.compress.schedule import Cubic
from lissome.errors import RecipeError


def two_layers(seed=0):
    """A small network whose second layer has weights a hundred times larger than the first's."""
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 4))
    with torch.no_grad():
        net[2].weight.mul_(100)
    return net


def masks(net):
    return [member.parametrization.mask for _, members in groups(net) for member in members]


@given(st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40))
def test_score_is_square_over_the_sum_of_squares_not_smaller(values):
    """Equation 1, computed weight by weight in float64; equal squares are summed from their own place in the order."""
    weight = torch.tensor(values, dtype=torch.float32)
    square = np.sort(weight.double().numpy() ** 2)
    tails = np.cumsum(square[::-1])[::-1]
    expected = np.where(tails > 0, square / np.where(tails > 0, tails, 1), 0)
    # The smallest normal guards the division, so sums below it score less; they are zero to every other weight.
    found = np.sort(lamp(weight).double().numpy())
    assert np.allclose(np.sort(expected), found, rtol=1e-6, atol=1e-12)


def test_largest_weight_of_a_layer_scores_one_so_no_layer_is_emptied():
    """At 95 % the layer of tiny weights keeps some, where global magnitude takes all of them."""
    net = two_layers()
    compress_(net, [Lamp(sparsity=0.95)])
    assert all(mask.any() for mask in masks(net))
    with pytest.raises(RecipeError, match="remove all"):
        compress_(two_layers(), [Magnitude(sparsity=0.95, scope="global")])


@pytest.mark.parametrize("rate", [False, True])
@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.9, 0.99])
def test_sparsity_is_reached_over_all_weights_together(sparsity, rate):
    """round((1 − s) · n) entries survive over the whole rule, biases included where the rule selects them."""
    net = two_layers()
    compress_(net, Recipe([("*|*.bias", [Lamp(sparsity=sparsity, rate=rate)])]))
    total = sum(p.numel() for p in two_layers().parameters())
    assert sum(int(mask.sum()) for mask in masks(net)) == round((1 - sparsity) * total)


def test_what_is_pruned_stays_pruned_while_strength_rises():
    """Masks of a later step are inside those of an earlier one."""
    net = two_layers()
    compress_(net, [Lamp(sparsity=0.9, rate=True)])
    ramp = Cubic(net, end_step=6)
    before = [mask.clone() for mask in masks(net)]
    for _ in range(6):
        ramp.step()
        after = [mask.clone() for mask in masks(net)]
        assert all(bool((new <= old).all()) for new, old in zip(after, before, strict=True))
        before = after
    assert ramp.done


def test_position_costs_more_where_rows_and_columns_are_empty():
    """A position in a busy row and column is cheaper than a lonely one, by the counts in the formula."""
    mask = torch.zeros(4, 6, dtype=torch.bool)
    mask[0, :5] = True
    mask[3, 5] = True
    bits = position_bits(mask)
    assert bits[0, 0] < bits[3, 0] < bits[1, 0]
    rows, columns, total = 5.5, 1.5, 7.0
    assert bits[0, 0] == pytest.approx(-np.log2(min(0.9, rows * columns / total)), rel=1e-6)


def test_rate_leaves_fewer_live_rows_and_columns():
    """At one sparsity, score per bit concentrates the survivors of a random layer."""
    torch.manual_seed(0)
    live = {}
    for rate in (False, True):
        torch.manual_seed(1)
        net = nn.Linear(100, 100, bias=False)
        compress_(net, [Lamp(sparsity=0.98, rate=rate)])
        ramp = Cubic(net, end_step=20)
        for _ in range(20):
            ramp.step()
        mask = masks(net)[0]
        live[rate] = int(mask.any(0).sum() + mask.any(1).sum())
    assert live[True] < live[False]


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_impossible_sparsity_is_refused(sparsity):
    """A share outside [0, 1) is a RecipeError when the method is built."""
    with pytest.raises(RecipeError, match="sparsity"):
        Lamp(sparsity=sparsity)
