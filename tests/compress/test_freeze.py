"""freeze: the network means what the module computes, keeps its codes, and leaves the module alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import lissome as ls
from lissome import models, prune, share
from lissome.compress.apply import baked_copy
from lissome.errors import TraceError, WeightError
from lissome.weights import Codebook, Dense, Sparse
from meaning import evaluate

LENETS = ("lenet-300-100", "lenet-5")  # the others: tests/models/test_models.py


def same(model, net, shape, *, batch=3, folded=False):
    """Check that `net`, evaluated in float64 from its coded weights, is `model` in evaluation mode."""
    x = torch.randn(batch, *shape)
    with torch.no_grad():
        expected = baked_copy(model).double().eval()(x.double())
    (found,) = evaluate(net.graph, {name: weight.to_dense() for name, weight in net.weights.items()}, x)
    # Both in float64. Only folded batch norms round anything: weights to 2**-24 relative, sums of fewer than 100 terms.
    torch.testing.assert_close(found, expected, rtol=0, atol=100 * 2**-24 if folded else 1e-12)


@pytest.mark.parametrize("name", LENETS)
def test_a_plain_network(name):
    """Weights of an uncompressed module are stored dense, bit for bit, under their own names."""
    torch.manual_seed(0)
    model = models.build(name)
    net = ls.freeze(model, example=torch.zeros(1, *model.input_shape))
    same(model, net, model.input_shape)
    for key, value in model.state_dict().items():
        assert isinstance(net.weights[key], Dense)
        np.testing.assert_array_equal(net.weights[key].to_dense(), value.numpy())


@pytest.mark.parametrize("name", LENETS)
def test_a_compressed_network(name):
    """Pruned and shared weights arrive as Sparse(Codebook) with exactly the values that the module sees."""
    torch.manual_seed(1)
    model = models.build(name)
    recipe = ls.Recipe(
        [("fc1", [prune.Magnitude(sparsity=0.9), share.KMeans(bits=3)]), ("fc2", [share.KMeans(bits=4)])]
    )
    ls.compress_(model, recipe)
    net = ls.freeze(model, example=torch.zeros(1, *model.input_shape), recipe=recipe)
    fc1, fc2 = net.weights["fc1.weight"], net.weights["fc2.weight"]
    assert isinstance(fc1, Sparse)
    assert isinstance(fc1.values, Codebook)
    assert isinstance(fc2, Codebook)
    assert fc1.nnz == pytest.approx(0.1 * model.fc1.weight.numel(), abs=1)
    np.testing.assert_array_equal(fc1.to_dense(), model.fc1.weight.detach().numpy())
    same(model, net, model.input_shape)
    assert ls.Recipe.from_toml(net.recipe) == recipe


@pytest.mark.parametrize("name", LENETS)
def test_channels_last(name):
    """A module whose weights lie in channels_last, as training leaves them, gives the same network as a plain one."""
    torch.manual_seed(0)
    model = models.build(name)
    ls.compress_(model, [prune.Magnitude(sparsity=0.9), share.StraightThrough(clusters=6)])
    example = torch.zeros(1, *model.input_shape)
    plain = ls.freeze(model, example=example)
    model.to(memory_format=torch.channels_last)
    assert ls.freeze(model, example=example.to(memory_format=torch.channels_last)) == plain


def test_the_model_is_untouched():
    """Parametrizations, training mode, gradients, weights and the model's class are as they were."""
    model = nn.Sequential(nn.Linear(6, 5), nn.Dropout(), nn.Linear(5, 2))
    ls.compress_(model[0], [prune.Magnitude(sparsity=0.5)])
    model(torch.randn(2, 6)).sum().backward()
    model.train()
    model[2].eval()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    modes = [module.training for module in model.modules()]
    kinds = [type(module) for module in model.modules()]
    ls.freeze(model, example=torch.zeros(1, 6))
    assert [module.training for module in model.modules()] == modes
    assert [type(module) for module in model.modules()] == kinds
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, gradients[name])


def normed(*, coded):
    """A small convolutional network with a batch norm; its first layer pruned and shared, or plain."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    if coded:
        ls.compress_(model[0], [prune.Magnitude(sparsity=0.5), share.KMeans(bits=2)])
    return model


@pytest.mark.parametrize("coded", [False, True])
def test_batch_norm(coded):
    """A norm is folded into a plain layer and kept behind a coded one; the meaning stays either way."""
    model = normed(coded=coded)
    net = ls.freeze(model, example=torch.zeros(1, 2, 6, 6))
    assert ("BatchNormalization" in {node.op for node in net.graph.nodes}) == coded
    assert isinstance(net.weights["0.weight"], Sparse) == coded
    same(model, net, (2, 6, 6), folded=not coded)


class Tied(nn.Module):
    """One layer known by two names."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(6, 6)
        self.second = self.first

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def test_tied_layers_keep_their_codes():
    """A weight that two names share is stored once, coded."""
    model = Tied()
    ls.compress_(model, [prune.Magnitude(sparsity=0.5), share.KMeans(bits=2)])
    net = ls.freeze(model, example=torch.zeros(1, 6))
    coded = [weight for weight in net.weights.values() if len(weight.shape) == 2]
    assert len(coded) == 1
    assert isinstance(coded[0], Sparse)
    same(model, net, (6,))


@pytest.mark.parametrize(("where", "value"), [("0.weight", np.nan), ("4.bias", np.inf), ("1.running_mean", np.nan)])
def test_not_finite(where, value):
    """A NaN or an infinity is one error that names the parameter."""
    model = normed(coded=False)
    with torch.no_grad():
        model.state_dict()[where].view(-1)[1] = value
    with pytest.raises(WeightError, match=f"'{where}'.*NaN or infinite"):
        ls.freeze(model, example=torch.zeros(1, 2, 6, 6))


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_an_empty_layer():
    """A layer without weights is one error that names it."""
    model = nn.Sequential(nn.Linear(6, 0), nn.Linear(0, 2))
    with pytest.raises(WeightError, match=r"'0.weight' has shape \(0, 6\): an empty layer"):
        ls.freeze(model, example=torch.zeros(1, 6))


def test_unsupported_operators_are_one_error():
    """What cannot be traced is said before anything is packed."""
    with pytest.raises(TraceError, match=r"aten.group_norm.default, layer '1'"):
        ls.freeze(nn.Sequential(nn.Linear(6, 4), nn.GroupNorm(2, 4)), example=torch.zeros(1, 6))
