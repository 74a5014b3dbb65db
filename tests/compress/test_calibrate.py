"""calibrate_: what a method is shown of its layer, what errors cost, and inputs and models it cannot work with."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

import lissome as ls
from lissome.compress.calibrate import calibrate_
from lissome.compress.importance import TEMPERATURE, direction
from lissome.compress.layers import POSITIONS, Layer
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import RateDistortion
from lissome.errors import DataError, RecipeError
from lissome.graph.trace import program


@pytest.fixture
def shown(monkeypatch):
    """What each layer was shown, in order, the methods deciding all the same."""
    seen = []
    decide = RateDistortion.decide

    def watch(self, member, statistics, *, centred):
        seen.append((member.parametrization.where, statistics, centred))
        decide(self, member, statistics, centred=centred)

    monkeypatch.setattr(RateDistortion, "decide", watch)
    return seen


def calibrated(model, x, rate=1e-4, select="*|*.bias", before=()):
    ls.compress_(model, ls.Recipe([(select, [*before, RateDistortion(rate=rate)])]))
    calibrate_(model, x)
    return model


def layer_of(module, x):
    """The one layer of an exported module."""
    exported = program(module, (x,)).module()
    constants = dict(exported.named_parameters())
    return next(layer for layer in (Layer.of(node, constants) for node in exported.graph.nodes) if layer is not None)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(5, 3), (4, 5)),
        (nn.Conv1d(4, 6, 3, padding=2, stride=2), (4, 9)),
        (nn.Conv2d(3, 4, (3, 2), padding=(1, 0), dilation=(1, 2)), (3, 6, 7)),
        (nn.Conv2d(4, 6, 3, groups=2, stride=2), (4, 7, 7)),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 5, 5)),
    ],
)
def test_patches_are_what_the_layer_multiplies(module, shape):
    """For maps small enough to be taken whole: patches × weight is the layer's output, position by position."""
    torch.manual_seed(0)
    x = torch.randn(3, *shape)
    layer = layer_of(module, x)
    (patches,) = layer.patches(x)
    rows = module.weight.view(layer.groups, -1, patches.shape[2])
    made = (patches @ rows.mT).movedim(1, 2).flatten(0, 1)  # (K, samples)
    y = (module(x) - (module.bias if layer.linear else module.bias.view(-1, *[1] * (x.dim() - 2)))).detach()
    expected = y.movedim(layer.channel_axis, 0).flatten(1)
    torch.testing.assert_close(made, expected, rtol=1e-4, atol=1e-5)


def test_large_maps_are_seen_on_a_grid_whose_place_varies():
    """At most four times POSITIONS patches of a large image, and over the draws every position is in reach."""
    x = torch.arange(40 * 40.0).view(1, 1, 40, 40)
    layer = layer_of(nn.Conv2d(1, 1, 1), x)
    found = {float(v) for _ in range(200) for v in layer.patches(x)[0].flatten()}
    assert layer.patches(x)[0].shape[1] <= 4 * POSITIONS
    assert len(found) > 0.9 * 1600


def test_a_layer_is_shown_the_moments_of_both_networks(shown):
    """gram, cross and means of the second layer: of the original activations, and of those behind the first's codes."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randn(70, 6)
    original = torch.relu(model[0](x)).detach().double()
    calibrated(model, x, rate=1e-3)
    current = torch.relu(model[0](x)).detach().double()
    assert [where for where, _, _ in shown] == ["0.weight", "2.weight"]
    _, seen, centred = shown[1]
    assert centred
    assert (original - current).abs().max() > 0.01
    torch.testing.assert_close(seen.gram[0], current.T @ current / 70, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen.cross[0], original.T @ current / 70, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen.mean[0], current.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(seen.reference_mean[0], original.mean(0), rtol=1e-5, atol=1e-6)


def test_direction_has_the_covariance_of_the_divergence():
    """Over many draws E[v vᵀ] is diag(p) − p pᵀ."""
    torch.manual_seed(0)
    logits = torch.tensor([[2.0, 0.5, -1.0, 0.0]])
    draws = torch.cat([direction(logits) for _ in range(20_000)]).double()
    chance = (logits[0] / TEMPERATURE).softmax(0).double()
    torch.testing.assert_close(
        draws.T @ draws / len(draws), torch.diag(chance) - torch.outer(chance, chance), rtol=0, atol=0.01
    )


def test_importance_predicts_the_divergence(shown):
    """Small random errors of a layer cost s · E[δ²], within a quarter: positions that are pooled count together."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(6, 5))
    with torch.no_grad():
        model[4].weight.mul_(4)
    x = torch.randn(400, 2, 8, 8)
    reference = (model(x) / TEMPERATURE).log_softmax(1).detach()
    kernel = model[0].weight.detach().clone()
    calibrated(model, x, select="0|0.bias")
    importance = shown[0][1].importance
    ls.uncompress_(model)
    costs, predicted = [], []
    for _ in range(40):
        error = 0.02 * torch.randint(0, 2, kernel.shape) - 0.01
        outputs = F.conv2d(x, error, padding=1)
        shift = outputs.mean((0, 2, 3), keepdim=True)
        with torch.no_grad():
            model[0].weight.copy_(kernel + error)
            hidden = model[0](x) - shift
            made = (model[4](model[3](model[2](torch.relu(hidden)))) / TEMPERATURE).log_softmax(1)
        costs.append(TEMPERATURE**2 * float((reference.exp() * (reference - made)).sum(1).mean()))
        predicted.append(float((importance * (outputs - shift).square().mean((0, 2, 3)).double()).sum()))
    assert np.mean(costs) == pytest.approx(np.mean(predicted), rel=0.25)


def test_by_default_the_model_as_it_is_now_is_kept():
    """Behind a mask and training since, the masked network is what calibration approaches, not the old weights."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)), torch.randn(100, 6)
    ls.compress_(model, ls.Recipe([("*", [Magnitude(sparsity=0.5), RateDistortion(rate=1e-8)])]))
    with torch.no_grad():
        masked = model[0].parametrizations.weight.original
        masked[model[0].weight == 0] = 100.0  # what a mask hides may be anything
    wanted = model(x).detach()
    calibrate_(model, x)
    torch.testing.assert_close(model(x).detach(), wanted, rtol=0, atol=0.02)


def test_the_same_inputs_and_seed_give_the_same_network():
    """Two calibrations are equal, bit for bit, and torch's random state is as before."""
    made = []
    for _ in range(2):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 100, 4))
        x = torch.randn(30, 1, 12, 12)
        state = torch.random.get_rng_state()
        calibrated(model.train(), x)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert model.training
        made.append(ls.freeze(model, example=x[:1]))
    assert made[0] == made[1]


class Twice(nn.Module):
    """One layer in two places, and a head tied to it."""

    def __init__(self):
        super().__init__()
        self.shared, self.tied = nn.Linear(4, 4), nn.Linear(4, 4)
        self.tied.weight = self.shared.weight

    def forward(self, x):
        return self.tied(torch.relu(self.shared(torch.relu(self.shared(x)))))


def test_shared_layers_and_tied_weights_are_decided_once(shown):
    """By the first place that reads the weight; every place sees the same codes."""
    torch.manual_seed(0)
    x = torch.randn(50, 4)
    model = calibrated(Twice(), x)
    assert len(shown) == 1
    torch.testing.assert_close(shown[0][1].gram[0], (x.T @ x / 50).double(), rtol=1e-5, atol=1e-6)
    assert torch.equal(model.shared.weight, model.tied.weight)
    coded = [weight for weight in ls.freeze(model, example=x).weights.values() if len(weight.shape) == 2]
    assert len(coded) == 1
    assert coded[0].describe().startswith("sparse(codebook")


def test_a_foreign_parametrization_is_the_original():
    """Behind weight_norm the codes are those of the normed weight, which stays what the original network has."""
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)))
    x, wanted = torch.randn(60, 6), model[0].weight.detach().clone()
    calibrated(model, x, rate=1e-7)
    assert 0 < float((model[0].weight.detach() - wanted).abs().max()) < 0.05


def test_other_methods_count_as_part_of_the_compressed_network(shown):
    """A layer behind a pruned one is shown what that gives, and mends what pruning lost of a reference."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    x = torch.randn(100, 6)
    dense, wanted = copy.deepcopy(model), model(x).detach()
    ls.compress_(model, ls.Recipe([("0", [Magnitude(sparsity=0.5)]), ("2|2.bias", [RateDistortion(rate=1e-7)])]))
    before = float((model(x).detach() - wanted).square().mean())
    calibrate_(model, x, reference=dense)
    assert float((model(x).detach() - wanted).square().mean()) < 0.8 * before
    torch.testing.assert_close(
        shown[0][1].gram[0], (torch.relu(model[0](x)).mT @ torch.relu(model[0](x)) / 100).double(), rtol=1e-4, atol=1e-5
    )


def simple():
    model = nn.Sequential(nn.Linear(4, 3))
    ls.compress_(model, [RateDistortion()])
    return model


@pytest.mark.parametrize("inputs", [torch.zeros(0, 4), torch.tensor([[0.0, 1, float("nan"), 2]])])
def test_no_inputs_or_damaged_ones_are_refused(inputs):
    """An empty set, and NaN in it, are DataErrors that say what to do."""
    with pytest.raises(DataError, match=r"no calibration inputs|NaN or infinity"):
        calibrate_(simple(), inputs)


class Logarithm(nn.Module):
    def forward(self, x):
        return torch.log(x)


def test_activations_that_are_not_numbers_name_the_layer():
    """A logarithm of negative numbers before a layer: DataError with the layer's name."""
    model = nn.Sequential(Logarithm(), nn.Linear(4, 3))
    ls.compress_(model, [RateDistortion()])
    with pytest.raises(DataError, match=r"1\.weight.*NaN"):
        calibrate_(model, torch.randn(9, 4))


def test_a_model_without_calibrated_methods_is_refused():
    """Nothing to decide is a RecipeError, not a silent no-op."""
    model = nn.Sequential(nn.Linear(4, 3))
    ls.compress_(model, [Magnitude(sparsity=0.5)])
    with pytest.raises(RecipeError, match="no calibrated method"):
        calibrate_(model, torch.randn(9, 4))


def test_weights_that_no_layer_reads_are_named():
    """An LSTM's weights and a bias without its weight cannot be calibrated; the error lists them."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    ls.compress_(model, ls.Recipe([("0.bias|1", [RateDistortion()])]))
    with pytest.raises(RecipeError, match=r"'0\.bias'"):
        calibrate_(model, torch.randn(9, 4))
