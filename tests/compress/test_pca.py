"""factorize.PCA against NumPy: the leading eigenvectors of the covariance of the responses."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import PCA, SVD
from lissome.compress.recipe import Recipe


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 6), st.integers(2, 6), st.data())
def test_a_linear_layer_projects_its_responses(outputs, inputs, data):
    """The projection y → U Uᵀ (y − ȳ) + ȳ, U and ȳ of the calibration responses; every sample of a linear layer is
    one of them.
    """
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    rng = np.random.default_rng(outputs * 10 + inputs)
    x = torch.from_numpy(rng.normal(size=(40, inputs)) @ rng.normal(size=(inputs, inputs)) + 1).float()
    torch.manual_seed(0)
    layer = nn.Linear(inputs, outputs)
    y = layer(x).detach().double().numpy()
    centred = y - y.mean(0)
    basis = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :rank]
    compress_(layer, [PCA(rank=rank)], inputs=x)
    expected = centred @ basis @ basis.T + y.mean(0)
    assert np.allclose(layer(x).detach().numpy(), expected, atol=1e-4 * (1 + abs(y).max()))


def test_convolutions_are_sampled_and_reconstructed():
    """Filters whose responses lie in a plane are reconstructed at rank 2, where the weights alone have full rank."""
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, padding=1)
    x = torch.randn(30, 2, 8, 8)
    x = torch.cat([x, x], 1)  # the channels come in equal pairs
    with torch.no_grad():
        plane = torch.randn(6, 2) @ torch.randn(2, 18)
        apart = 3 * torch.randn(6, 18)
        layer.weight.copy_(torch.cat([plane + apart, -apart], 1).view(6, 4, 3, 3))
    expected = layer(x)
    seen, blind = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1)
    seen.load_state_dict(layer.state_dict())
    blind.load_state_dict(layer.state_dict())
    compress_(seen, [PCA(rank=2)], inputs=x)
    compress_(blind, [SVD(rank=2)])
    assert torch.allclose(seen(x), expected, atol=1e-3)
    assert float((blind(x) - expected).detach().norm() / expected.detach().norm()) > 0.3


def test_what_a_batch_norm_silences_is_not_reconstructed():
    """Behind a norm errors count as the norm scales them: rank 2 does for three outputs of which one is not heard."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 3, 1, bias=False), nn.BatchNorm2d(3)).eval()
    with torch.no_grad():
        model[0].weight[0].mul_(100)
        model[1].weight.copy_(torch.tensor([0.0, 1.0, 1.0]))
    images = torch.randn(60, 8, 2, 2)
    expected = model(images)
    compress_(model, Recipe([("0", [PCA(rank=2)])]), inputs=images)
    assert torch.allclose(model(images), expected, atol=1e-4)
