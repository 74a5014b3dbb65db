"""Rates by sensitivity: what is measured, that the rates are the best, and what cannot be measured."""

import copy
import itertools

import pytest
import torch
from torch import nn

import lissome as ls
from lissome.compress.prune import Magnitude
from lissome.compress.sensitivity import RATES, rates, sensitivity
from lissome.errors import DataError, RecipeError
from methods import INPUTS, network


def test_a_curve_is_the_divergence_with_one_weight_pruned():
    """Kullback-Leibler of the softmax, the other weights left alone; and the network is as before."""
    model = network().eval()
    before = copy.deepcopy(model.state_dict())
    found = sensitivity(model, ["0.weight", "3.weight"], (INPUTS,))
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())
    for name, index in (("0.weight", 0), ("3.weight", 3)):
        for rate, value in zip(RATES, found[name], strict=True):
            pruned = network().eval()
            weight = pruned[index].weight
            gone = weight.detach().abs().flatten().argsort(stable=True)[: round(rate * weight.numel())]
            with torch.no_grad():
                weight.view(-1)[gone] = 0
                one, other = (torch.distributions.Categorical(logits=each(INPUTS)) for each in (model, pruned))
                expected = float(torch.distributions.kl_divergence(one, other).mean())
            assert value == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_rates_are_the_best_of_all_on_the_grid():
    """For convex curves no other choice of the rates that were tried, at the sparsity wanted, diverges less."""
    curves = {
        "a": [rate**2 for rate in RATES],
        "b": [3 * rate**4 for rate in RATES],
        "c": [0.1 * rate for rate in RATES],
    }
    counts = {"a": 100, "b": 100, "c": 100}
    found = rates(curves, counts, 0.6)
    assert sum(found[name] * counts[name] for name in counts) == pytest.approx(180)

    def cost(chosen):
        return sum(curve[RATES.index(rate)] for curve, rate in zip(curves.values(), chosen, strict=True))

    options = [each for each in itertools.product(RATES, repeat=3) if sum(each) >= 1.8]
    whole = {name: sum(rate <= found[name] + 1e-9 for rate in RATES) - 1 for name in found}
    assert sum(curves[name][index] for name, index in whole.items()) <= min(map(cost, options)) + 1e-9


def test_a_layer_that_the_result_does_not_need_loses_most():
    """Of two layers, the one behind which everything is thrown away is pruned, up to the highest rate."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.Linear(20, 20), nn.Linear(20, 3))
    with torch.no_grad():
        model[1].weight.mul_(1e-3)  # its bias decides
        model[1].bias.normal_()
    ls.compress_(model, ls.Recipe([("*", [Magnitude(sparsity=0.5, scope="sensitivity")])]), inputs=torch.randn(50, 10))
    kept = [int((model[index].weight != 0).sum()) for index in range(3)]
    assert sum(kept) == pytest.approx(0.5 * 660, abs=2)
    # The first layer acts through the second alone.
    assert kept[2] > 0.8 * 60


def test_a_recipe_says_so_and_a_schedule_raises_the_rates():
    """In TOML scope = "sensitivity"; under a schedule each weight goes to its own rate."""
    text = '[[rule]]\nselect = "*"\nmethods = [{ use = "prune.Magnitude", sparsity = 0.5, scope = "sensitivity" }]\n'
    model = network()
    ls.compress_(model, ls.Recipe.from_toml(text), inputs=INPUTS)
    full = [int((model[index].weight != 0).sum()) for index in (0, 3)]
    ramp = ls.schedule.Cubic(model, end_step=2)
    assert model[0].weight.all()
    ramp.step()
    half = [int((model[index].weight != 0).sum()) for index in (0, 3)]
    assert sum(full) < sum(half) < 76
    ramp.step()
    assert [int((model[index].weight != 0).sum()) for index in (0, 3)] == full


def test_what_cannot_be_measured_is_refused():
    """No inputs, NaN in the results, more than the highest rate, a scope without a share."""
    recipe = ls.Recipe([("*", [Magnitude(sparsity=0.5, scope="sensitivity")])])
    with pytest.raises(RecipeError, match="inputs="):
        ls.compress_(network(), recipe)
    with pytest.raises(DataError, match="no calibration inputs"):
        ls.compress_(network(), recipe, inputs=INPUTS[:0])
    broken = nn.Sequential(network(), nn.BatchNorm1d(5))
    with torch.no_grad():
        broken[1].running_mean.fill_(float("nan"))
    with pytest.raises(DataError, match=r"results .* hold NaN"):
        ls.compress_(broken, recipe, inputs=INPUTS)
    with pytest.raises(RecipeError, match="up to 99%"):
        ls.compress_(network(), [Magnitude(sparsity=0.999, scope="sensitivity")], inputs=INPUTS)
    with pytest.raises(RecipeError, match="scope"):
        Magnitude(threshold=0.1, scope="sensitivity")
