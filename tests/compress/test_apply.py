"""Putting methods on and taking them off: the user's model stays the user's, tied, shared, copied or foreign."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from lissome.compress.apply import bake_, baked_copy, coded_parameters, compress_, groups, plan, uncompress_
from lissome.compress.prune import Magnitude
from lissome.compress.recipe import Recipe
from lissome.compress.share import KMeans
from lissome.errors import RecipeError, WeightError
from lissome.weights import Sparse
from methods import network

BOTH = Recipe([("*", [Magnitude(sparsity=0.5), KMeans(clusters=3)])])


class Tied(nn.Module):
    """Two layers that hold one weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def values(model):
    """Weights in effect, by module path."""
    return {
        path: m.weight.detach().clone() for path, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    }


def assert_untouched(model, before):
    """No parametrization is left, and every tensor is what it was, under the name that it had."""
    assert not any(parametrize.is_parametrized(m) for m in model.modules())
    after = model.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_one_layer_by_hand():
    """compress_ on a layer with a list of methods concerns that layer's weight, not its bias, and nothing else."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    compress_(model[3], [Magnitude(sparsity=0.5)])
    assert int((model[3].weight == 0).sum()) == 20
    assert torch.equal(model[3].bias, before["3.bias"])
    assert torch.equal(model[0].weight, before["0.weight"])


def test_the_model_keeps_its_class():
    """isinstance, attributes and forward are those of the user's own class, before, during and after."""
    model = Tied()
    compress_(model, BOTH)
    assert type(model) is Tied
    assert isinstance(model.first, nn.Linear)
    assert model(torch.ones(2, 6)).shape == (2, 6)
    uncompress_(model)
    assert type(model.first) is nn.Linear


def test_a_module_used_twice_is_compressed_once():
    """The same layer at two places has one mask and counts once in a global ranking."""
    layer, other = nn.Linear(4, 4), nn.Linear(4, 4)
    model = nn.Sequential(layer, other, layer)
    compress_(model, [Magnitude(sparsity=0.5, scope="global")])
    ((_, members),) = groups(model)
    assert len(members) == 2
    assert sum(int((each.weight != 0).sum()) for each in (layer, other)) == 16


def test_tied_weights_stay_tied():
    """Both places of a tied weight see the same pruned and shared values, through training, baking and taking off."""
    model = Tied()
    compress_(model, BOTH)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(torch.ones(2, 6)).square().sum().backward()
    optimizer.step()
    assert torch.equal(model.first.weight, model.second.weight)
    assert int((model.first.weight == 0).sum()) == 18
    coded = coded_parameters(model)
    assert coded["first.weight"] == coded["second.weight"]
    assert [len(members) for _, members in groups(model)] == [1, 1]
    baked = copy.deepcopy(model)
    bake_(baked)
    assert baked.first.weight is baked.second.weight
    assert torch.equal(baked.first.weight, model.first.weight)
    uncompress_(model)
    assert model.first.weight is model.second.weight


def test_a_deep_copy_is_independent():
    """Either of a compressed model and its copy may be changed, taken apart or compressed further without the other."""
    model = network()
    compress_(model, BOTH)
    twin, third = copy.deepcopy(model), copy.deepcopy(model)
    seen = values(model)
    uncompress_(twin)
    compress_(third[3], Recipe([("bias", [Magnitude(sparsity=0.5)])]))
    with torch.no_grad():
        twin[3].weight.zero_()
    assert all(torch.equal(values(model)[path], seen[path]) for path in seen)
    assert model[3].bias.shape == (5,)
    uncompress_(model)
    assert int((third[3].weight != 0).sum()) == 20


def test_baked_copy_leaves_the_model_alone():
    """The copy is plain and holds the values in effect; the model keeps its methods and still works."""
    model = network()
    compress_(model, BOTH)
    seen = values(model)
    plain = baked_copy(model)
    assert not any(parametrize.is_parametrized(m) for m in plain.modules())
    for path, weight in seen.items():
        assert torch.equal(values(plain)[path], weight)
        assert torch.equal(values(model)[path], weight)
    assert len(groups(model)) == 2


def test_compressing_in_two_calls():
    """Prune, train, share later: the second call goes on top of the first, and comes off with it."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    compress_(model, Recipe([("*", [Magnitude(sparsity=0.5)])]))
    compress_(model, Recipe([("3", [KMeans(clusters=3)])]))
    weight = coded_parameters(model)["3.weight"]
    assert isinstance(weight, Sparse)
    assert weight.describe() == "sparse(codebook 3)"
    assert weight.nnz == 20
    uncompress_(model)
    assert_untouched(model, before)


@pytest.mark.parametrize("again", [Magnitude(sparsity=0.2), KMeans(bits=1)])
def test_a_second_call_out_of_order_is_refused(again):
    """What a weight carries already, or should have come before it, is refused; what is there stays as it is."""
    model = network()
    compress_(model, BOTH)
    seen = values(model)
    with pytest.raises(RecipeError, match=r"on '0.weight': the weight already carries .*; uncompress_ or bake_ first"):
        compress_(model, Recipe([("*", [again])]))
    assert all(torch.equal(values(model)[path], seen[path]) for path in seen)


def test_a_foreign_parametrization_is_built_upon():
    """Methods on top of weight_norm work on its value, are coded exactly, and come off leaving weight_norm."""
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 5)))
    normed = model[0].weight.detach().clone()
    compress_(model, BOTH)
    coded = coded_parameters(model)["0.weight"]
    assert coded.to_dense().tobytes() == model[0].weight.detach().numpy().tobytes()
    assert coded.describe() == "sparse(codebook 3)"
    assert np.count_nonzero(coded.to_dense()) == 20
    with pytest.raises(RecipeError, match=r"'0.weight' carries parametrizations that are not lissome's"):
        bake_(model)
    assert len(groups(model)) == 2
    uncompress_(model)
    assert torch.equal(model[0].weight, normed)
    assert parametrize.is_parametrized(model[0])


def test_a_foreign_parametrization_alone_is_coded_at_its_value():
    """A parametrization that is not lissome's leaves a dense weight: what the network sees."""
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(8, 5)), parametrizations.orthogonal(nn.Linear(4, 4)))
    coded = coded_parameters(model)
    assert set(coded) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    for i in (0, 1):
        assert coded[f"{i}.weight"].to_dense().tobytes() == model[i].weight.detach().numpy().tobytes()
    compress_(model, Recipe())
    uncompress_(model)
    bake_(model)
    assert parametrize.is_parametrized(model[0])


def test_modules_without_parameters_of_that_name_are_passed_over():
    """A norm without affine parameters, a buffer or a plain attribute called weight is nobody's weight to compress."""
    model = nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.Linear(4, 3), nn.Identity())
    model[2].register_buffer("weight", torch.ones(3, 3))
    object.__setattr__(model[0], "bias", torch.ones(2, 2))
    compress_(model, [Magnitude(sparsity=0.5)])
    assert [members[0].parametrization.where for _, members in groups(model)] == ["1.weight"]


@pytest.mark.parametrize(
    ("recipe", "error"),
    [
        (Recipe([("3", [Magnitude(sparsity=0.5)]), ("nowhere", [])]), RecipeError),
        (Recipe([("0", [Magnitude(sparsity=0.5)]), ("3", [KMeans(clusters=41)])]), RecipeError),
        (Recipe([("0", [Magnitude(sparsity=0.5)]), ("3", [Magnitude(threshold=1e9)])]), RecipeError),
    ],
)
def test_nothing_is_registered_after_an_error(recipe, error):
    """Whatever fails, and whenever: the model is as it was before the call."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(error):
        compress_(model, recipe)
    assert_untouched(model, before)


def test_an_error_leaves_earlier_methods_on():
    """A second call that fails takes off only what it put on."""
    model = network()
    compress_(model, Recipe([("3", [Magnitude(sparsity=0.5)])]))
    seen = values(model)
    with pytest.raises(RecipeError, match="would remove all"):
        compress_(model, Recipe([("3", [KMeans(bits=1)]), ("0", [Magnitude(threshold=1e9)])]))
    assert [len(model[3].parametrizations.weight), parametrize.is_parametrized(model[0])] == [1, False]
    assert all(torch.equal(values(model)[path], seen[path]) for path in seen)


def test_an_interrupt_while_settling_leaves_nothing_behind(monkeypatch):
    """Ctrl-C during a long k-means is an error like any other."""
    model = network()
    before = copy.deepcopy(model.state_dict())

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(KMeans, "settle", interrupted)
    with pytest.raises(KeyboardInterrupt):
        compress_(model, BOTH)
    assert_untouched(model, before)


def test_plan_changes_nothing():
    """It lists what compress_ would do, in order, with the same errors, and leaves the model as it is."""
    model = network()
    before = copy.deepcopy(model.state_dict())
    listed = [(target.where, parametrization.method.label) for target, parametrization in plan(model, BOTH)]
    assert listed == [
        ("0.weight", "prune.Magnitude"),
        ("3.weight", "prune.Magnitude"),
        ("0.weight", "share.KMeans"),
        ("3.weight", "share.KMeans"),
    ]
    assert_untouched(model, before)


def test_a_weight_that_became_nan_is_named_when_coded():
    """Training that diverged after compress_ is found when the weights leave torch, with the layer's name."""
    model = network()
    with torch.no_grad():
        model[0].bias[0] = float("nan")
    with pytest.raises(WeightError, match=r"'0.bias': a dense weight holds 1 NaN"):
        coded_parameters(model)
