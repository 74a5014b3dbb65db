"""factorize.Spatial against NumPy: the best pair of a vertical and a horizontal filter bank."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import Spatial
from lissome.compress.factorize.spatial import product


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from([(3, 3), (2, 3), (5, 2)]), st.data())
def test_the_error_is_that_of_the_truncated_decomposition(k, c, window, data):
    """W[c, i; d, j] cut to rank r: the squared error is the sum of its squared singular values left out."""
    high, wide = window
    rank = data.draw(st.integers(1, min(c * high, k * wide)))
    torch.manual_seed(k * 5 + c)
    layer = nn.Conv2d(c, k, window)
    weight = layer.weight.detach().double().numpy()
    compress_(layer, [Spatial(rank=rank)])
    down, across = layer.factors
    assert (tuple(down.weight.shape), tuple(across.weight.shape)) == ((rank, c, high, 1), (k, rank, 1, wide))
    found = product(down.weight.detach().double(), across.weight.detach().double()).numpy()
    values = np.linalg.svd(weight.transpose(1, 2, 0, 3).reshape(c * high, k * wide), compute_uv=False)
    assert np.isclose(((found - weight) ** 2).sum(), (values[rank:] ** 2).sum(), atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from([1, 2, (1, 2)]), st.sampled_from([1, (2, 1)]), st.sampled_from([0, (2, 1)]),
    st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
)  # fmt: skip
def test_full_rank_is_the_convolution_with_any_stride_and_padding(stride, dilation, padding, mode):
    """Each factor carries the stride, dilation and padding of its own axis."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, (3, 2), stride, padding, dilation, padding_mode=mode)
    x = torch.randn(2, 2, 9, 8)
    expected = layer(x)
    compress_(layer, [Spatial(rank=6)])
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_same_padding():
    """Padding "same" is "same" for both factors."""
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, (4, 3), padding="same", dilation=2)
    x = torch.randn(1, 2, 9, 9)
    expected = layer(x)
    compress_(layer, [Spatial(rank=8)])
    assert torch.allclose(layer(x), expected, atol=1e-5)
