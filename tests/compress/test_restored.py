"""Pruning that restores the output: least squares, lasso, energies against NumPy, and what shrink makes of it."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import lissome as ls
from lissome.compress.calibrate import calibrate_
from lissome.compress.prune import ChannelLasso, EnergyAware, Magnitude
from lissome.compress.prune.channel_lasso import fewest, lasso
from lissome.compress.prune.energy_aware import energies
from lissome.compress.prune.reconstruct import conjugate_gradients
from lissome.errors import DataError, RecipeError
from lissome.hardware.energy import Hierarchy
from lissome.hardware.workload import count


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from more, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(seed=0):
    """Two convolutions around a ReLU, and a classifier."""
    torch.manual_seed(seed)
    layers = (nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))
    return nn.Sequential(*layers)


def images(count=60, seed=1):
    """Inputs whose channels are alike, so that one can answer for another."""
    torch.manual_seed(seed)
    return torch.randn(count, 3, 6, 6) + torch.randn(count, 1, 6, 6)


def error(model, reference, x):
    """Mean squared error of the results, over the mean square of what they should be."""
    with torch.no_grad():
        wanted = reference(x)
        return float((model(x) - wanted).square().mean() / wanted.square().mean())


def test_rows_of_their_own_support_are_solved_together():
    """Conjugate gradients agree with NumPy's solver on each row's support."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 12)) * np.logspace(-1, 1, 12)
    gram, target = x.T @ x / 200, rng.normal(size=(5, 12))
    kept = rng.random((5, 12)) < 0.5
    kept[3] = False
    found = conjugate_gradients(*(torch.from_numpy(each) for each in (gram, target, kept))).numpy()
    for row, own, wanted in zip(found, kept, target, strict=True):
        assert not row[~own].any()
        np.testing.assert_allclose(row[own], np.linalg.solve(gram[np.ix_(own, own)], wanted[own]), rtol=1e-6)


def test_the_lasso_meets_its_optimality_conditions():
    """Where β is not 0 the slope is ±penalty; elsewhere it is smaller."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 9)), rng.normal(size=50)
    quadratic, linear = x.T @ x, x.T @ y
    beta = lasso(quadratic, linear, 4.0, np.zeros(9))
    slope = linear - quadratic @ beta
    used = beta != 0
    assert 0 < used.sum() < 9
    np.testing.assert_allclose(slope[used], 4.0 * np.sign(beta[used]), rtol=1e-6)
    assert (np.abs(slope[~used]) <= 4.0 + 1e-6).all()
    for keep in (1, 4, 8):
        assert np.count_nonzero(fewest(quadratic, linear, keep)) <= keep


def test_channels_that_others_answer_for_go_and_the_output_stays():
    """Of two channels that say the same one goes, though both have large weights; small ones apart stay."""
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 5), torch.randn(400, 4)
    x[:, 1] = x[:, 0]
    with torch.no_grad():
        layer.weight[:, 1] = layer.weight[:, 0]
        layer.weight[:, 2:] *= 0.5
    reference = copy.deepcopy(layer)
    ls.compress_(layer, ls.Recipe([("*", [ChannelLasso(sparsity=0.25)])]))
    calibrate_(layer, x)
    gone = (layer.weight == 0).all(0).nonzero().flatten().tolist()
    assert gone in ([0], [1])
    assert error(layer, reference, x) < 1e-4  # but for the lean towards the old weights, one sample's worth in 400


def test_channel_pruning_goes_from_the_first_layer_on_and_shrinks():
    """Half of the second convolution's channels go, with the filters that made them; better than by magnitude."""
    x, reference = images(), network()
    recipe = {"2": 0.5, "5": 0.25}
    model, plain = network(), network()
    ls.compress_(model, ls.Recipe([(name, [ChannelLasso(sparsity=share)]) for name, share in recipe.items()]))
    calibrate_(model, x)
    ls.compress_(
        plain,
        ls.Recipe([(name, [Magnitude(sparsity=share, granularity="channel")]) for name, share in recipe.items()]),
    )
    assert error(model, reference, x) < 0.7 * error(plain, reference, x)
    ls.bake_(model)
    small = ls.shrink(model, example=x[:1], zeros=True)
    assert small[0].weight.shape == (4, 3, 3, 3)
    torch.testing.assert_close(small(x), model(x), rtol=1e-4, atol=1e-5)


def test_energy_aware_restores_what_magnitude_loses():
    """Exactly the share asked for goes, and the output is closer than by magnitude; training goes on from there."""
    x, reference = images(), network()
    found = {}
    for restored in (None, 0.0, 0.3):
        model = network()
        method = Magnitude(sparsity=0.6) if restored is None else EnergyAware(sparsity=0.6, restored=restored)
        ls.compress_(model, ls.Recipe([("*", [method])]))
        if restored is not None:
            calibrate_(model, x)
        for index in (0, 2, 5):
            weight = model[index].weight
            assert int((weight != 0).sum()) == weight.numel() - round(0.6 * weight.numel())
        found[restored] = error(model, reference, x)
    assert found[0.0] < 0.5 * found[None]
    assert found[0.3] < 0.5 * found[None]
    model(x).square().mean().backward()
    assert model[2].parametrizations.weight.original.grad.any()


def test_layers_are_decided_in_the_order_of_their_energy(monkeypatch):
    """The order is that of hardware/energy.py's estimate, the share of zeros among each layer's inputs counted in."""
    x, decided = images(), []
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Conv2d(2, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 4))
    model = nn.Sequential(*layers)
    decide = EnergyAware.decide

    def watch(self, member, seen, *, centred):
        decided.append(member.parametrization.where)
        decide(self, member, seen, centred=centred)

    monkeypatch.setattr(EnergyAware, "decide", watch)
    zeros = [float((model[:depth](x) == 0).double().mean()) for depth in (2, 4)]
    shares = {"0.weight": 1.0, "2.weight": 1 - zeros[0], "5.weight": 1 - zeros[1]}
    net = ls.freeze(model, example=x)
    spent = energies(net, shares)
    names = {node.inputs[1]: node.name for node in net.graph.nodes if len(node.inputs) > 1}
    shown = {names[weight]: share for weight, share in shares.items()}
    estimate = Hierarchy().estimate(count(net, input_density=shown))
    by_name = {layer.name: sum(layer.energy_pj.values()) for layer in estimate.layers}
    assert spent == {weight: by_name[node] for weight, node in names.items()}
    ls.compress_(model, ls.Recipe([("*", [EnergyAware(sparsity=0.5)])]))
    calibrate_(model, x)
    assert decided == sorted(shares, key=lambda name: -spent[name])
    assert decided != list(shares)


def test_methods_of_two_families_are_calibrated_one_after_the_other():
    """Channels first, then codes for what is left; or one family alone."""
    from lissome.compress.quantize import RateDistortion

    x, model = images(), network()
    chain = [ChannelLasso(sparsity=0.5), RateDistortion(rate=1e-5)]
    ls.compress_(model, ls.Recipe([("2", chain)]))
    calibrate_(model, x, family="prune")
    gone = (model[2].weight == 0).all(dim=(0, 2, 3))
    assert int(gone.sum()) == 4
    assert model[2].weight.unique().numel() > 200
    calibrate_(model, x, family="quantize")
    assert torch.equal((model[2].weight == 0).all(dim=(0, 2, 3)) | gone, (model[2].weight == 0).all(dim=(0, 2, 3)))
    assert model[2].weight.unique().numel() < 200


@pytest.mark.parametrize("method", [ChannelLasso(sparsity=0.5), EnergyAware(sparsity=0.5)])
def test_what_cannot_be_calibrated_is_refused(method):
    """Biases, empty and NaN inputs, and weights that another parametrization makes."""
    x = images(4)
    with pytest.raises(RecipeError, match="Leave biases out"):
        ls.compress_(network(), ls.Recipe([("*.bias", [method])]))
    model = network()
    ls.compress_(model, ls.Recipe([("*", [method])]))
    for bad in (x[:0], x / 0):
        with pytest.raises(DataError, match="calibration inputs"):
            calibrate_(model, bad)
    normed = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 6)))
    ls.compress_(normed, [method])
    with pytest.raises(RecipeError, match="not lissome's"):
        calibrate_(normed, torch.randn(5, 6))


def test_grouped_convolutions_have_no_channels_to_choose():
    """Depthwise layers are named; fine-grained restoration takes them."""
    model, x = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3)), images()
    ls.compress_(model, [ChannelLasso()])
    with pytest.raises(RecipeError, match="3 groups"):
        calibrate_(model, x)
    model = nn.Sequential(nn.Conv2d(3, 6, 3, groups=3))
    reference = copy.deepcopy(model)
    ls.compress_(model, [EnergyAware(sparsity=0.5)])
    calibrate_(model, x)
    assert int((model[0].weight != 0).sum()) == 27
    assert error(model, reference, x) < 0.5


@pytest.mark.parametrize(
    "build",
    [
        lambda: ChannelLasso(sparsity=1.0),
        lambda: ChannelLasso(sparsity=-0.1),
        lambda: EnergyAware(sparsity=1.0),
        lambda: EnergyAware(restored=1.5),
    ],
)
def test_impossible_options_are_refused(build):
    """Options out of range are a RecipeError when the method is built."""
    with pytest.raises(RecipeError):
        build()
