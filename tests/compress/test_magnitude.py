"""Magnitude pruning: which weights go, that they stay gone, and that the method comes off."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from lissome.compress.apply import bake_, coded_parameters, compress_, groups, uncompress_
from lissome.compress.prune import Magnitude
from lissome.compress.recipe import Recipe
from lissome.errors import RecipeError, WeightError
from lissome.weights import Sparse
from methods import layer


def pruned(values, **options):
    """`values` as one layer of a network sees them under Magnitude(**options)."""
    module = layer(values)
    compress_(module, [Magnitude(**options)])
    return module.weight.detach().numpy()


def two_layers():
    """A small network whose second layer's weights are ten times the first's."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    with torch.no_grad():
        model[2].weight.mul_(10)
    return model


matrices = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    elements=st.floats(-4, 4, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0]),
)


@settings(deadline=None, max_examples=60)
@given(values=matrices, sparsity=st.floats(0, 0.99))
def test_sparsity_keeps_exactly_the_largest(values, sparsity):
    """round((1 − s)·n) entries are kept: the largest by magnitude and, among equals, the first by position."""
    keep = round((1 - sparsity) * values.size)
    if keep == 0:
        with pytest.raises(RecipeError, match="would remove all"):
            pruned(values, sparsity=sparsity)
        return
    expected = np.zeros(values.size, np.float32)
    best = np.argsort(-np.abs(values.reshape(-1)), kind="stable")[:keep]
    expected[best] = values.reshape(-1)[best]
    module = layer(values)
    compress_(module, [Magnitude(sparsity=sparsity)])
    assert int(module.parametrizations.weight[0].mask.sum()) == keep
    assert np.array_equal(module.weight.detach().numpy(), expected.reshape(values.shape))


@settings(deadline=None, max_examples=60)
@given(values=matrices, threshold=st.floats(0.015625, 5, width=32))
def test_threshold_removes_what_is_below_it(values, threshold):
    """abs(w) < threshold goes, abs(w) >= threshold stays: nothing else matters."""
    kept = np.abs(values) >= threshold
    if not kept.any():
        with pytest.raises(RecipeError, match="would remove all"):
            pruned(values, threshold=threshold)
    else:
        assert np.array_equal(pruned(values, threshold=threshold), np.where(kept, values, 0))


@pytest.mark.parametrize("quality", [0.3, 1.0, 1.4])
def test_quality_is_a_multiple_of_the_standard_deviation(quality):
    """The threshold is quality × the standard deviation about the mean of the layer's weights, layer by layer."""
    rng = np.random.default_rng(1)
    first, second = rng.normal(0.3, 1, (20, 30)), rng.normal(-2, 0.1, (20, 30))
    for values in (first.astype(np.float32), second.astype(np.float32)):
        cut = quality * np.std(values.astype(np.float64))
        assert np.array_equal(pruned(values, quality=quality), np.where(np.abs(values) >= cut, values, 0))


def test_settling_quality_again_removes_nothing_more():
    """Pruned weights count as zeros in the deviation: a gradual schedule cannot ratchet a layer away."""
    values = np.random.default_rng(2).normal(0, 1, (30, 30)).astype(np.float32)
    values -= values.mean()
    module = layer(values)
    compress_(module, [Magnitude(quality=1.2)])
    once = module.weight.detach().clone()
    ((_, members),) = groups(module)
    for _ in range(5):
        members[0].parametrization.method.settle(members, 1.0)
    assert torch.equal(module.weight, once)


def test_global_scope_ranks_all_layers_together():
    """With scope="global" the smallest go wherever they are; with scope="layer" each layer loses its share."""
    model = two_layers()
    everything = np.concatenate([model[i].weight.detach().numpy().reshape(-1) for i in (0, 2)])
    keep = round(0.5 * everything.size)
    cut = np.sort(np.abs(everything))[-keep]
    compress_(model, Recipe([("*", [Magnitude(sparsity=0.5, scope="global")])]))
    left = np.concatenate([model[i].weight.detach().numpy().reshape(-1) for i in (0, 2)])
    assert np.array_equal(left, np.where(np.abs(everything) >= cut, everything, 0))
    assert np.count_nonzero(left) == keep
    assert int(model[0].parametrizations.weight[0].mask.sum()) < 24
    by_layer = two_layers()
    compress_(by_layer, Recipe([("*", [Magnitude(sparsity=0.5)])]))
    assert [int(by_layer[i].parametrizations.weight[0].mask.sum()) for i in (0, 2)] == [24, 12]


def test_each_rule_ranks_its_own_weights():
    """Two global rules do not share a ranking: the ties of a group end with its rule."""
    model = two_layers()
    compress_(
        model,
        Recipe([("0", [Magnitude(sparsity=0.25, scope="global")]), ("2", [Magnitude(sparsity=0.75, scope="global")])]),
    )
    assert [int(model[i].parametrizations.weight[0].mask.sum()) for i in (0, 2)] == [36, 6]


def test_a_layer_pruned_away_by_the_global_ranking_is_named():
    """A global ranking that would empty one layer is refused, and the message names that layer."""
    model = two_layers()
    with torch.no_grad():
        model[0].weight.mul_(1e-3)
    with pytest.raises(RecipeError, match=r"prune.Magnitude\(.*\) on '0.weight': it would remove all 48 weights"):
        compress_(model, Recipe([("*", [Magnitude(sparsity=0.8, scope="global")])]))
    assert not groups(model)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
    ],
    ids=["sgd", "adamw"],
)
def test_pruned_weights_stay_zero_while_the_rest_is_trained(optimizer):
    """No optimizer brings a pruned weight back, whatever momentum it had before; survivors and masks' places are right.

    The momentum is built up before pruning, which is the hard case.
    """
    torch.manual_seed(1)
    model = nn.Linear(6, 5)
    x, y = torch.randn(16, 6), torch.randn(16, 5)
    compress_(model, [Magnitude(sparsity=0.5)])
    ((_, members),) = groups(model)
    members[0].parametrization.method.settle(members, 0.0)
    chosen = optimizer(model.parameters())

    def steps(count):
        for _ in range(count):
            chosen.zero_grad()
            (model(x) - y).square().mean().backward()
            chosen.step()

    steps(3)
    assert model.weight.count_nonzero() == 30
    members[0].parametrization.method.settle(members, 1.0)
    mask, before = model.parametrizations.weight[0].mask.clone(), model.weight.detach().clone()
    steps(5)
    assert torch.equal(model.weight != 0, mask)
    assert torch.equal(model.parametrizations.weight[0].mask, mask)
    assert (model.weight != before)[mask].all()


def test_the_gradient_is_masked():
    """The gradient of a pruned weight is exactly zero, of a survivor exactly what it was without pruning."""
    torch.manual_seed(2)
    model, twin = nn.Linear(6, 5), nn.Linear(6, 5)
    compress_(model, [Magnitude(sparsity=0.4)])
    with torch.no_grad():
        twin.weight.copy_(model.weight)
        twin.bias.copy_(model.bias)
    x = torch.randn(7, 6)
    for each in (model, twin):
        each(x).square().sum().backward()
    mask = model.parametrizations.weight[0].mask
    assert torch.equal(model.parametrizations.weight.original.grad, twin.weight.grad * mask)


def test_masks_survive_state_dict():
    """A freshly compressed module that loads the state is the same network, masks included."""
    model, fresh = two_layers(), two_layers()
    with torch.no_grad():
        fresh[0].weight.normal_()
    recipe = Recipe([("*", [Magnitude(sparsity=0.7)])])
    compress_(model, recipe)
    compress_(fresh, recipe)
    assert not torch.equal(model[0].weight, fresh[0].weight)
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    for i in (0, 2):
        assert torch.equal(model[i].weight, fresh[i].weight)
        assert torch.equal(model[i].parametrizations.weight[0].mask, fresh[i].parametrizations.weight[0].mask)


def test_uncompress_gives_the_originals_back():
    """After uncompress_ the module has its old class, its old names and its old weights, bit for bit."""
    model = two_layers()
    before = copy.deepcopy(model.state_dict())
    compress_(model, Recipe([("*", [Magnitude(sparsity=0.7)])]))
    uncompress_(model)
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert type(model[0]) is nn.Linear


def test_bake_makes_the_zeros_permanent():
    """After bake_ the weights are plain parameters with the zeros in them, and they train freely."""
    model = two_layers()
    compress_(model, Recipe([("*", [Magnitude(sparsity=0.7)])]))
    seen = model[0].weight.detach().clone()
    bake_(model)
    assert type(model[0]) is nn.Linear
    assert torch.equal(model[0].weight, seen)
    model(torch.ones(1, 8)).sum().backward()
    assert (model[0].weight.grad[seen == 0] != 0).any()


def test_encode_holds_the_survivors_only():
    """The coded weight is Sparse over float32 values; a survivor that is itself zero is not stored."""
    module = layer([[3.0, -0.0, -2.0], [0.0, 1.0, -0.5]])
    compress_(module, [Magnitude(threshold=0.75)])
    weight = coded_parameters(module)["weight"]
    assert isinstance(weight, Sparse)
    assert weight.positions.tolist() == [0, 2, 4]
    assert weight.to_dense().tobytes() == np.array([[3, 0, -2], [0, 1, 0]], np.float32).tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_pruned_and_coded(dtype):
    """Half, bfloat16 and double weights work as float32 does, and keep their dtype."""
    module = nn.Linear(8, 4, bias=False).to(dtype)
    compress_(module, [Magnitude(sparsity=0.5)])
    assert module.weight.dtype == dtype
    assert int(module.weight.count_nonzero()) == 16
    coded = coded_parameters(module)["weight"].to_dense()
    assert np.array_equal(coded, module.weight.detach().float().numpy())


def test_a_layer_pruned_to_nothing_is_refused():
    """Pruning everything would cut the network in two: one error with the layer, and nothing is registered."""
    model = two_layers()
    with pytest.raises(RecipeError, match=r"on '0.weight': it would remove all 48 weights.*Prune less"):
        compress_(model, Recipe([("*", [Magnitude(threshold=1e6)])]))
    assert not groups(model)
    assert type(model[0]) is nn.Linear


def test_a_bias_may_be_pruned_to_nothing():
    """A bias is an offset: without it the network still computes something."""
    model = two_layers()
    compress_(model, Recipe([("*.bias", [Magnitude(threshold=1e6)])]))
    assert not model[0].bias.any()


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_layer_is_refused():
    """A weight with no entries has nothing to prune: the error names it."""
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 0))
    with pytest.raises(RecipeError, match=r"on '1.weight': the weight has no entries. Leave the layer out"):
        compress_(model, Recipe([("*", [Magnitude(sparsity=0.5)])]))
    assert not groups(model)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_refused(bad):
    """NaN and infinity have no rank: WeightError names the weight and nothing is registered."""
    model = two_layers()
    with torch.no_grad():
        model[2].weight[0, 0] = bad
    with pytest.raises(WeightError, match=r"'2.weight' holds 1 NaN or infinite value"):
        compress_(model, Recipe([("0", [Magnitude(sparsity=0.5)])]))
    assert not groups(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "takes one of sparsity, threshold and quality, not none"),
        ({"sparsity": 0.5, "threshold": 1.0}, "takes one of .* not .*sparsity.*threshold"),
        ({"sparsity": 1.0}, r"sparsity is a share in \[0, 1\), not 1.0"),
        ({"sparsity": -0.1}, "sparsity is a share"),
        ({"sparsity": float("nan")}, "sparsity is a share"),
        ({"threshold": 0.0}, "threshold is positive"),
        ({"threshold": float("inf")}, "threshold is positive"),
        ({"quality": -1.0}, "quality is positive"),
        ({"quality": float("nan")}, "quality is positive"),
        ({"sparsity": 0.5, "scope": "network"}, "scope is 'layer', or 'global'"),
        ({"threshold": 0.5, "scope": "global"}, "together with sparsity"),
    ],
)
def test_impossible_options_are_refused(options, message):
    """An option outside its range is an error when the method is made, not when it is used."""
    with pytest.raises(RecipeError, match=message):
        Magnitude(**options)
