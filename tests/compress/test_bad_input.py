"""Bad input to every pruning method: a clear error, or the answer that the documentation gives."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import lissome as ls
from lissome.compress.apply import coded_parameters, groups
from lissome.compress.calibrate import Calibrated, calibrate_
from lissome.compress.inform import Informed
from lissome.compress.prune import (
    ADMM,
    BrainDamage,
    ChannelLasso,
    EnergyAware,
    Fisher,
    GroupLasso,
    Lamp,
    LoadBalanced,
    Magnitude,
    Movement,
    NofM,
    Random,
    Surgery,
    Taylor,
)
from lissome.errors import DataError, RecipeError, WeightError


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors gain nothing from more, and on a busy machine lose much."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


#: every method with an option that asks for a share, as a function of that share
SHARES = {
    "magnitude": lambda share: Magnitude(sparsity=share),
    "global": lambda share: Magnitude(sparsity=share, scope="global"),
    "sensitivity": lambda share: Magnitude(sparsity=share, scope="sensitivity"),
    "lamp": lambda share: Lamp(sparsity=share),
    "fisher": lambda share: Fisher(sparsity=share),
    "taylor": lambda share: Taylor(sparsity=share),
    "movement": lambda share: Movement(sparsity=share),
    "random": lambda share: Random(sparsity=share),
    "brain damage": lambda share: BrainDamage(sparsity=share),
    "surgery": lambda share: Surgery(sparsity=share),
    "admm": lambda share: ADMM(sparsity=share),
    "load balanced": lambda share: LoadBalanced(sparsity=share, pes=2),
    "channel lasso": lambda share: ChannelLasso(sparsity=share),
    "energy aware": lambda share: EnergyAware(sparsity=share),
}
METHODS = {name: make(0.5) for name, make in SHARES.items()} | {
    "n of m": NofM(keep=1, of=2),
    "group lasso": GroupLasso(filters=0.1, channels=0.1),
}
LOOKING = {name: method for name, method in METHODS.items() if isinstance(method, Calibrated)} | {
    name: METHODS[name] for name in ("sensitivity", "brain damage")
}


def inputs(count=12, features=6):
    torch.manual_seed(0)
    return torch.randn(count, features)


def pruned(module, method, x=None):
    """`module` under a method, calibrated where it is of that kind."""
    x = inputs() if x is None else x
    ls.compress_(module, [method], inputs=x)
    if isinstance(method, Calibrated):
        calibrate_(module, x)
    return module


def filled(value):
    """A linear layer of equal weights, behind one of usual ones."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))
    nn.init.constant_(model[2].weight, value)
    return model


def step(model, x):
    """A training step."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(x).square().mean().backward()
    optimizer.step()


@pytest.mark.parametrize("make", SHARES.values(), ids=SHARES)
def test_a_share_out_of_reach_never_empties_a_layer(make):
    """99.99 % of ten weights: an error that names the layer and what to do, or what is left is at least one weight."""
    module = nn.Sequential(nn.Linear(5, 2))
    before = module[0].weight.detach().clone()
    try:
        pruned(module, make(0.9999), inputs(features=5))
    except RecipeError as error:
        assert "'0.weight'" in str(error) or "up to 99%" in str(error)  # noqa: PT017 - either answer is right
        assert torch.equal(module[0].weight, before)
        return
    assert module[0].weight.any()


@pytest.mark.parametrize("value", [0.0, -0.25])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_constant_and_zero_layers_are_pruned_without_harm(method, value):
    """Nothing becomes NaN and what is packed is what is seen; one ranking of all layers names a layer of zeros."""
    model = filled(value)
    try:
        pruned(model, method)
    except RecipeError as error:
        assert value == 0
        assert "on '2.weight': it would remove all 24 weights" in str(error)  # noqa: PT017 - either answer is right
        assert type(method) in (Magnitude, Lamp, Fisher, Taylor, BrainDamage)
        return
    step(model, inputs())
    for index in (0, 2):
        weight = model[index].weight.detach()
        assert torch.isfinite(weight).all()
        assert coded_parameters(model)[f"{index}.weight"].to_dense().tobytes() == weight.numpy().tobytes()


class Twice(nn.Module):
    """One layer called twice, and two layers of one weight."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.shared, self.one, self.other = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.other.weight = self.one.weight

    def forward(self, x):
        return self.other(torch.relu(self.one(torch.relu(self.shared(torch.relu(self.shared(x)))))))


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_shared_layers_and_tied_weights_stay_what_they_are(method):
    """A layer called twice has one mask, tied weights stay one through training, and both pack."""
    model = pruned(Twice(), method)
    assert sum(len(members) for _, members in groups(model)) == 2
    for _ in range(2):
        step(model, inputs())
        assert torch.equal(model.one.weight, model.other.weight)
    coded = coded_parameters(model)
    for name in ("shared", "one"):
        assert coded[f"{name}.weight"].to_dense().tobytes() == getattr(model, name).weight.detach().numpy().tobytes()


def test_curvature_of_a_tied_weight_is_that_of_all_its_places():
    """Where two layers share a weight, the derivatives of both places add up before they are squared."""
    model = pruned(Twice(), BrainDamage(sparsity=0.1))
    x = inputs()
    found = model.one.parametrizations.weight[0].curvature
    plain, expected = Twice().eval(), torch.zeros(6, 6)
    for sample in x:
        output = plain(sample.unsqueeze(0))[0]
        chance = output.detach().softmax(0)
        root = chance.diag().sqrt() - chance.unsqueeze(1) * chance.sqrt()
        for direction in root.T:
            (gradient,) = torch.autograd.grad(output, plain.one.weight, direction, retain_graph=True)
            expected += gradient.square() / len(x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_a_weight_that_is_pruned_already_is_refused(method):
    """One method a family: the error names what is there, and nothing changes."""
    model = nn.Sequential(nn.Linear(6, 4))
    ls.compress_(model, [Magnitude(sparsity=0.5)])
    with pytest.raises(RecipeError, match="already carries"):
        ls.compress_(model, [method], inputs=inputs())
    assert len(model[0].parametrizations.weight) == 1


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_parametrizations_of_others_are_left_alone_or_named(method):
    """Upon weight norm a mask goes as upon any weight; what writes weights says that it cannot."""
    torch.manual_seed(0)
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)))
    if isinstance(method, Calibrated):
        ls.compress_(model, [method])
        with pytest.raises(RecipeError, match="not lissome's"):
            calibrate_(model, inputs())
        return
    pruned(model, method)
    step(model, inputs())
    assert torch.isfinite(model[0].weight).all()
    ls.uncompress_(model)
    assert len(model[0].parametrizations.weight) == 1


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_nan_weights_are_named(method):
    """A NaN in a weight is a WeightError that names it, whatever the method."""
    model = nn.Sequential(nn.Linear(6, 4))
    with torch.no_grad():
        model[0].weight[1, 2] = float("nan")
    with pytest.raises(WeightError, match=r"'0.weight' holds 1 NaN"):
        pruned(model, method)


@pytest.mark.parametrize("method", LOOKING.values(), ids=LOOKING)
def test_calibration_inputs_that_are_none_or_nan_are_refused(method):
    """Empty batches, NaN and infinity among the inputs: DataError, and the module is as before."""
    for bad in (inputs(0), inputs() * float("nan"), inputs() / 0):
        model = nn.Sequential(nn.Linear(6, 4))
        with pytest.raises(DataError, match="calibration inputs"):
            pruned(model, method, bad)
        if isinstance(method, Informed):
            assert type(model[0]) is nn.Linear


class Overflow(nn.Module):
    """Makes infinity of its inputs."""

    def forward(self, x):
        return torch.exp(x.abs() * 1e4)


@pytest.mark.parametrize("method", LOOKING.values(), ids=LOOKING)
def test_activations_that_are_not_finite_are_refused(method):
    """Infinity on the way: a DataError instead of masks made of NaN, and masks as they were."""
    model = nn.Sequential(nn.Linear(6, 4), Overflow(), nn.Linear(4, 3))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(DataError, match="NaN or infinity"):
        pruned(model, method)
    for index in (0, 2):  # also what was decided before the trouble came
        assert torch.equal(model[index].weight, before[f"{index}.weight"])
