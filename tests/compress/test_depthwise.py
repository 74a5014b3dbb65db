"""factorize.DepthwiseSeparable: the best pair for the weights, the lecture's cost, and the fit to responses."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lissome as ls
from lissome.compress.apply import compress_
from lissome.compress.factorize import DepthwiseSeparable
from lissome.compress.factorize.depthwise import decoupled


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 5), st.integers(1, 4), st.data())
def test_each_channel_is_cut_to_its_leading_singular_vectors(k, c, data):
    """W[:, c] as a matrix (K, R S): the error is the squared singular values left out, summed over channels."""
    multiplier = data.draw(st.integers(1, min(k, 6)))
    weight = np.random.default_rng(k * 5 + c).normal(size=(k, c, 3, 2))
    depth, point = decoupled(torch.from_numpy(weight), multiplier)
    product = np.einsum(
        "kct,ctij->kcij", point.numpy().reshape(k, c, multiplier), depth.numpy().reshape(c, multiplier, 3, 2)
    )
    left = sum((np.linalg.svd(weight[:, i].reshape(k, 6), compute_uv=False)[multiplier:] ** 2).sum() for i in range(c))
    assert np.isclose(((product - weight) ** 2).sum(), left)


def test_profile_shows_the_lectures_cost():
    """M H² k² C against H² C (k² + M): 5×5 maps of 3 channels and 128 filters of 3×3, 86,400 against 10,275."""
    layer = nn.Conv2d(3, 128, 3)
    compress_(layer, [DepthwiseSeparable()])
    found = ls.profile(nn.Sequential(layer), shape=(3, 7, 7))
    (saved,) = found.savings
    assert (saved.kind, saved.standard_macs, saved.macs) == ("depthwise separable", 86_400, 10_275)
    assert "H²·C·(k² + M)" in str(found)


def test_inputs_make_the_pointwise_filters_fit_the_responses():
    """With inputs, the squared error of the responses is the least for these depthwise filters: NumPy's lstsq."""
    torch.manual_seed(0)
    layer, blind = nn.Conv2d(3, 5, 3), nn.Conv2d(3, 5, 3)
    blind.load_state_dict(layer.state_dict())
    x = torch.randn(60, 3, 4, 4) @ torch.randn(4, 4)  # 4 positions each: all are sampled
    expected = layer(x).detach()
    compress_(layer, [DepthwiseSeparable()], inputs=x)
    compress_(blind, [DepthwiseSeparable()])
    features = layer.factors[0](x).detach().permute(0, 2, 3, 1).reshape(-1, 3).double().numpy()
    target = expected.permute(0, 2, 3, 1).reshape(-1, 5).double().numpy()
    columns = np.hstack([features, np.ones((len(features), 1))])
    best = columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    error = float((layer(x) - expected).detach().square().sum())
    assert error >= ((best - target) ** 2).sum() * (1 - 1e-6)
    assert np.isclose(error, ((best - target) ** 2).sum(), rtol=1e-2)  # it leans by a sample in 240
    assert error < float((blind(x) - expected).detach().square().sum())
