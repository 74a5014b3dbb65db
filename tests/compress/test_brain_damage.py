"""Optimal brain damage: its curvature against autograd's Hessian, the ranking, and inputs it cannot work with."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

import lissome as ls
from lissome.compress.apply import groups, inform_
from lissome.compress.curvature import curvature
from lissome.compress.prune import BrainDamage
from lissome.compress.prune.brain_damage import saliency
from lissome.errors import DataError, RecipeError


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from more, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def small(results=3, seed=0):
    """Convolution, batch norm, ReLU, pooling, linear: linear piece by piece; and inputs."""
    torch.manual_seed(seed)
    layers = (nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, results))
    return nn.Sequential(*layers).double().eval(), torch.randn(7, 1, 6, 6, dtype=torch.float64)


def hessian_diagonal(model, x, loss):
    """The diagonal of the Hessian of the mean loss, entry by entry, by double backward."""
    found = {}
    for name, weight in model.named_parameters():

        def at(value, name=name):
            return loss(functional_call(model, {name: value}, (x,))) / len(x)

        whole = torch.autograd.functional.hessian(at, weight.detach())
        found[name] = whole.reshape(weight.numel(), -1).diagonal().view(weight.shape)
    return found


def cross_entropy(labels):
    return lambda output: F.cross_entropy(output, labels, reduction="sum")


def test_curvature_is_the_hessians_diagonal_whatever_the_labels():
    """Piece by piece linear networks are linear in each weight: Gauss-Newton is the Hessian, for any labels."""
    model, x = small()
    found = curvature(model, (x,))
    for seed in (1, 2):
        labels = torch.randint(0, 3, (len(x),), generator=torch.Generator().manual_seed(seed))
        expected = hessian_diagonal(model, x, cross_entropy(labels))
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12)


def test_curvature_of_a_regression_is_that_of_half_the_squared_error():
    """One result: the loss is ½ (y − t)², its curvature is the mean squared derivative of the result."""
    model, x = small(results=1)
    expected = hessian_diagonal(model, x, lambda output: 0.5 * (output - 2).square().sum())
    for name, value in curvature(model, (x,)).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-12)


def test_random_directions_are_right_in_the_mean():
    """With more results than EXACT, probes: over many seeds their mean nears the exact diagonal."""
    model, x = small(results=18)
    x = x[:2]
    exact = hessian_diagonal(model, x, cross_entropy(torch.zeros(len(x), dtype=torch.long)))["5.weight"]
    runs = torch.stack([curvature(model, (x,), seed=seed)["5.weight"] for seed in range(40)])
    error = runs.std(0) / 40**0.5
    assert ((runs.mean(0) - exact).abs() <= 5 * error + 1e-12).all()  # five standard errors over 144 entries


def test_the_least_salient_go_over_all_layers():
    """Half of all weights go, and what stays has at least the saliency ½ h w² of what goes."""
    model, x = small()
    model.float()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    curved = curvature(model, (x.float(),))
    ls.compress_(model, ls.Recipe([("*", [BrainDamage(sparsity=0.5)])]), inputs=x.float())
    ranked = {n: 0.5 * curved[n].float() * before[n].square() for n in ("0.weight", "5.weight")}
    masks = {"0.weight": model[0].weight != 0, "5.weight": model[5].weight != 0}
    assert sum(int(mask.sum()) for mask in masks.values()) == 21
    kept = torch.cat([ranked[n][masks[n]] for n in masks])
    gone = torch.cat([ranked[n][~masks[n]] for n in masks])
    assert kept.min() >= gone.max()


def test_a_weight_that_no_input_reaches_goes_whatever_its_size():
    """Curvature, not magnitude, decides: a huge weight on an input that is always zero goes first."""
    layer = nn.Linear(8, 3)
    with torch.no_grad():
        layer.weight[:, 0] = 100
    x = torch.randn(20, 8)
    x[:, 0] = 0
    ls.compress_(layer, [BrainDamage(sparsity=0.125)], inputs=x)
    assert not layer.weight[:, 0].any()
    assert layer.weight[:, 1:].all()


def test_it_can_look_again():
    """inform_ measures the network as it is now, pruned and trained on."""
    model, x = small()
    model.float()
    ls.compress_(model, ls.Recipe([("*", [BrainDamage(sparsity=0.5)])]), inputs=x.float())
    members = [member for _, found in groups(model) for member in found]
    before = [saliency(member).clone() for member in members]
    with torch.no_grad():
        model[5].parametrizations.weight.original.mul_(2)
    inform_(model, x.float())
    assert not torch.allclose(saliency(members[0]), before[0])


def test_without_inputs_and_with_bad_ones_it_is_refused():
    """No inputs, none in the batch, NaN among them, or a result that is NaN: one error, and the model as before."""
    model, x = small()
    model.float()
    recipe = ls.Recipe([("*", [BrainDamage()])])
    with pytest.raises(RecipeError, match="inputs="):
        ls.compress_(model, recipe)
    for bad in (x[:0].float(), x.float() / 0):
        with pytest.raises(DataError, match="calibration inputs"):
            ls.compress_(model, recipe, inputs=bad)
    with torch.no_grad():
        model[1].running_var.fill_(float("nan"))
    with pytest.raises(DataError, match="NaN"):
        ls.compress_(model, recipe, inputs=x.float())
    assert type(model[0]) is nn.Conv2d
