"""Granularity of pruning: pieces against loops over indices, whole pieces go, and the methods that use them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_, groups
from lissome.compress.prune import Fisher, Lamp, Magnitude, Movement, NofM, Random, Taylor
from lissome.compress.prune.granularity import Granularity
from lissome.compress.recipe import Recipe
from lissome.compress.schedule import Cubic
from lissome.errors import RecipeError

NAMES = ("weight", "row", "column", "kernel", "filter", "channel", "1x4", "16x1", "2x3")
SHAPES = st.tuples(*(st.integers(1, 6),) * 2, *(st.integers(1, 3),) * 2)


def key(name, k, c, r, s):
    """Which piece an index is in, by the table of the module."""
    if "x" in name:
        a, b = map(int, name.split("x"))
        return k // a, c // b, r, s
    return {
        "weight": (k, c, r, s),
        "row": (k, c, r),
        "column": (k, c, s),
        "kernel": (k, c),
        "filter": (k,),
        "channel": (c,),
    }[name]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(NAMES), SHAPES, st.integers(0, 2**16))
def test_fold_is_the_mean_of_each_piece_and_spread_gives_it_back(name, shape, seed):
    """Each entry of spread(fold(w)) is the mean of w over the entries with the same key."""
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=shape))
    means = {}
    for index in itertools.product(*map(range, shape)):
        means.setdefault(key(name, *index), []).append(float(weight[index]))
    pieces = Granularity(name)
    folded = pieces.fold(weight)
    assert folded.numel() == len(means)
    spread = pieces.spread(folded, weight.shape)
    for index in itertools.product(*map(range, shape)):
        assert float(spread[index]) == pytest.approx(np.mean(means[key(name, *index)]), abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", [Magnitude, Lamp, Fisher, Taylor, Movement, Random])
def test_whole_pieces_go(name, kind):
    """Half of the pieces of every criterion are zero throughout, the others are untouched."""
    torch.manual_seed(1)
    conv = nn.Conv2d(32, 32, 3, bias=False)
    before = conv.weight.detach().clone()
    compress_(conv, [kind(sparsity=0.5, granularity=name)])
    live = Granularity(name).fold((conv.weight.detach() != 0).double())
    assert set(live.unique().tolist()) == {0.0, 1.0}
    assert float(live.mean()) == pytest.approx(0.5, abs=0.5 / live.numel() + 1e-9)
    kept = conv.weight.detach() != 0
    assert torch.equal(conv.weight.detach()[kept], before[kept])


def test_the_weakest_kernels_go_first():
    """With granularity kernel, every kernel that stays has a larger mean of abs(w) than every one that went."""
    torch.manual_seed(2)
    conv = nn.Conv2d(5, 7, 3, bias=False)
    means = conv.weight.detach().abs().mean((2, 3))
    compress_(conv, [Magnitude(sparsity=0.6, granularity="kernel")])
    kept = conv.weight.detach().abs().sum((2, 3)) > 0
    assert means[kept].min() > means[~kept].max()


def test_a_linear_layer_has_filters_channels_and_blocks():
    """Rows, columns and blocks of a matrix are pieces; rows of a window are not."""
    for name in ("kernel", "filter", "channel", "2x2"):
        compress_(nn.Linear(8, 8), Recipe([("*", [Magnitude(sparsity=0.5, granularity=name)])]))
    with pytest.raises(RecipeError, match="no pieces of granularity 'row'"):
        compress_(nn.Linear(8, 8), [Magnitude(sparsity=0.5, granularity="row")])


@pytest.mark.parametrize("name", ["", "kernels", "0x4", "4x", "x", "1x4x2", "1000x1"])
def test_unknown_granularities_are_refused(name):
    """A name outside the table is one error that lists it."""
    with pytest.raises(RecipeError, match="granularity is one of weight, row"):
        Magnitude(sparsity=0.5, granularity=name)


def trained(module, method, steps=4):
    """`module` under `method` with a schedule that has not begun; weight and gradient of some backward passes."""
    compress_(module, [method])
    ramp = Cubic(module, end_step=1)
    seen = []
    for _ in range(steps):
        module.zero_grad()
        module(torch.randn(5, 8)).square().sum().backward()
        original = module.parametrizations.weight.original
        seen.append((original.detach().clone(), original.grad.clone()))
        with torch.no_grad():
            original -= 0.01 * original.grad
    return ramp, seen


def test_taylor_is_the_mean_square_of_what_a_piece_adds():
    """Importance ← 0.999 · importance + 0.001 · (mean over the piece of g w)², equation 8 but for a constant factor."""
    torch.manual_seed(3)
    layer = nn.Linear(8, 6, bias=False)
    ramp, seen = trained(layer, Taylor(sparsity=0.5, granularity="filter"))
    expected = torch.zeros(6, 1)
    for weight, gradient in seen:
        expected = 0.999 * expected + 0.001 * (weight * gradient).mean(1, keepdim=True).square()
    torch.testing.assert_close(layer.parametrizations.weight[0].importance, expected)
    ramp.step()
    kept = layer.weight.detach().abs().sum(1) > 0
    assert expected[kept].min() > expected[~kept].max()


def test_movement_is_minus_the_sum_of_gradient_times_weight():
    """S = −Σ g w over the steps; the largest half stays (equations 2 and 3 of the paper, at a rate of 1)."""
    torch.manual_seed(4)
    layer = nn.Linear(8, 6, bias=False)
    ramp, seen = trained(layer, Movement(sparsity=0.5))
    expected = -sum(weight * gradient for weight, gradient in seen)
    torch.testing.assert_close(layer.parametrizations.weight[0].movement, expected)
    ramp.step()
    kept = layer.weight.detach() != 0
    assert int(kept.sum()) == 24
    assert expected[kept].min() > expected[~kept].max()


def test_what_moves_away_from_zero_may_come_back():
    """A weight that was masked collects movement through the mask and is let in again at the next settling."""
    layer = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0.1]]))
    compress_(layer, [Movement(sparsity=0.5)])
    assert layer.weight.detach().tolist() == [[1.0, 0.0]]
    (10 * layer(torch.tensor([[0.1, -1.0]]))).sum().backward()  # wants the second weight larger, the first smaller
    member = groups(layer)[0][1][0]
    member.parametrization.method.settle([member], 1.0)
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[0.0, 0.1]]))


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 11), st.integers(1, 3), st.integers(2, 5), st.data())
def test_n_of_m_keeps_the_largest_of_each_group(k, c, window, of, data):
    """Each group of `of` neighbouring inputs keeps its `keep` largest, at each place of the window, as a loop does."""
    keep = data.draw(st.integers(1, of - 1))
    torch.manual_seed(data.draw(st.integers(0, 99)))
    conv = nn.Conv2d(c, k, window, bias=False)
    before = conv.weight.detach().clone()
    compress_(conv, [NofM(keep=keep, of=of)])
    expected = torch.zeros_like(before)
    for i, start, r, s in itertools.product(range(k), range(0, c, of), range(window), range(window)):
        group = before[i, start : start + of, r, s]
        largest = group.abs().argsort(descending=True)[:keep]
        expected[i, start + largest, r, s] = group[largest]
    assert torch.equal(conv.weight.detach(), expected)


def test_random_draws_by_seed_and_name():
    """The same seed prunes the same weights again, another seed others, and a schedule only adds to what is gone."""
    masks = {}
    for seed in (0, 0, 1):
        layer = nn.Linear(16, 16, bias=False)
        compress_(layer, [Random(sparsity=0.5, seed=seed)])
        mask = layer.parametrizations.weight[0].mask
        assert seed not in masks or torch.equal(masks[seed], mask)
        masks[seed] = mask.clone()
        ramp = Cubic(layer, end_step=3)
        before = mask.clone()
        for _ in range(3):
            ramp.step()
            assert not (mask & ~before).any()
            before = mask.clone()
    assert not torch.equal(masks[0], masks[1])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (Taylor, {"sparsity": 1.0}),
        (Movement, {"sparsity": -0.1}),
        (Random, {"sparsity": float("nan")}),
        (Random, {"seed": -1}),
        (NofM, {"keep": 4, "of": 4}),
        (NofM, {"keep": 0, "of": 4}),
        (NofM, {"keep": 1, "of": 65}),
    ],
)
def test_impossible_options_are_refused(kind, options):
    """Every option out of its range is one RecipeError that names the method."""
    with pytest.raises(RecipeError, match=f"prune.{kind.__name__}"):
        kind(**options)


def test_n_of_m_wants_inputs():
    """A bias has no input channels."""
    with pytest.raises(RecipeError, match="has no inputs"):
        compress_(nn.Linear(8, 8), Recipe([("*.bias", [NofM()])]))


@pytest.mark.parametrize("kind", [Magnitude, Lamp, Fisher, Taylor, Movement, Random])
def test_an_unreachable_sparsity_is_refused(kind):
    """99.99 % of ten weights is all of them, which would cut the network in two."""
    with pytest.raises(RecipeError, match="would remove all 10 weights"):
        compress_(nn.Linear(5, 2, bias=False), [kind(sparsity=0.9999)])
