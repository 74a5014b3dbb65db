"""BinaryNet, XNOR-Net and ternary connect: formulas and gradients, training, and bits in the engine."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import lissome as ls
from lissome.compress.binarize import BinaryNet, TernaryConnect, XNORNet
from lissome.compress.binarize.signs import scale_of_inputs
from lissome.errors import RecipeError
from methods import after_steps


def network():
    """A real first layer, a convolution and a linear layer to make binary, a real last one; and inputs."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU()]
    layers += [nn.Conv2d(64, 64, 3, padding=1, stride=2), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten()]
    layers += [nn.Linear(1024, 32), nn.BatchNorm1d(32), nn.Linear(32, 5)]
    return nn.Sequential(*layers), torch.randn(32, 3, 8, 8)


def trained(method, steps=6):
    """After some steps, in evaluation mode; the loss has fallen."""
    model, x = network()
    ls.compress_(model, ls.Recipe([("3|7", [method])]))
    return after_steps(model, x, steps), x


def test_binary_net_is_signs_with_the_hard_tanhs_gradient():
    """Y = sign(x) · sign(W)ᵀ, 0 counting as +1; the gradient reaches x and w where they lie in [−1, 1] only."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -0.2, 1.5, -3.0]]))
    ls.compress_(layer, [BinaryNet()])
    x = torch.tensor([[0.0, 0.3, -2.0, 0.9]], requires_grad=True)
    y = layer(x)
    assert y.item() == 1 - 1 - 1 - 1
    y.backward()
    assert x.grad.tolist() == [[1.0, -1.0, 0.0, -1.0]]
    assert layer.parametrizations.weight.original.grad.tolist() == [[1.0, 1.0, 0.0, 0.0]]


def test_xnor_net_is_the_papers_formula():
    """(sign(I) ∗ sign(W)) ⊙ K α with A = Σ_c |I| / c, K = A ∗ k, k = 1 / (w h) everywhere; the bias beside it."""
    torch.manual_seed(1)
    layer, x = nn.Conv2d(5, 4, 3, padding=1, stride=2), torch.randn(2, 5, 7, 7)
    weight = layer.weight.detach().clone()
    ls.compress_(layer, [XNORNet(norm=False)])
    alpha = weight.abs().mean((1, 2, 3)).view(-1, 1, 1)
    k = F.conv2d(x.abs().mean(1, keepdim=True), torch.full((1, 1, 3, 3), 1 / 9), stride=2, padding=1)
    want = F.conv2d(x.sign(), weight.sign(), stride=2, padding=1) * k * alpha + layer.bias.view(-1, 1, 1)
    torch.testing.assert_close(layer(x), want)
    torch.testing.assert_close(scale_of_inputs(x, layer), k)
    error = (layer(x) - F.conv2d(x, weight, layer.bias, 2, 1)).square().mean()
    assert (
        error
        < (F.conv2d(x.sign(), weight.sign(), layer.bias, 2, 1) - F.conv2d(x, weight, layer.bias, 2, 1)).square().mean()
    )


def test_ternary_connect_draws_by_magnitude():
    """While training +1 comes up in a share w of the draws; evaluation takes it where w > 1/2; 0 stays 0."""
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.7, -0.3, 0.0, 2.0]]))
    ls.compress_(layer, [TernaryConnect()])
    torch.manual_seed(0)
    mean = torch.stack([layer.weight.detach() for _ in range(2000)]).mean(0)
    np.testing.assert_allclose(mean.numpy(), [[0.7, -0.3, 0, 1]], atol=0.05)
    assert layer.eval().weight.tolist() == [[1.0, 0.0, 0.0, 1.0]]


@pytest.mark.parametrize("method", [BinaryNet(norm=True), XNORNet(), XNORNet(scale_inputs=False)], ids=str)
def test_trained_on_signs_it_runs_on_bits(method, tmp_path):
    """Frozen and packed, the graph says Binarize twice, weights take a bit each, and the engine answers as torch."""
    model, x = trained(method)
    want = model(x).detach().numpy()
    net = ls.freeze(model, example=x[:1])
    assert [node.op for node in net.graph.nodes].count("Binarize") == 2
    size = ls.save(net, tmp_path / "net.liss")
    codes = [weight for weight in net.weights.values() if weight.describe().startswith("codebook 2")]
    assert len(codes) == 2
    assert size < 40_000
    engine = ls.compile(tmp_path / "net.liss")
    assert "conv_b1_binary" in str(engine.explain())
    np.testing.assert_allclose(engine(x.numpy()), want, rtol=1e-3, atol=1e-3 * np.abs(want).max())


def test_what_has_no_signs_is_refused():
    """Biases, grouped layers and, with K, dilation: one error that names the layer."""
    for layer, match in ((nn.Conv2d(4, 4, 3, groups=2), "groups"), (nn.Conv2d(4, 4, 3, dilation=2), "dilation")):
        with pytest.raises(RecipeError, match=match):
            ls.compress_(layer, [XNORNet()])
        assert type(layer) is nn.Conv2d
    with pytest.raises(RecipeError, match="one dimension"):
        ls.compress_(nn.Linear(3, 2), ls.Recipe([("bias", [BinaryNet()])]))
