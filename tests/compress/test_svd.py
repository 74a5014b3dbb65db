"""factorize.SVD against NumPy: the best approximation of its rank, of linear layers and of convolutions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import SVD


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_linear_factors_are_the_truncated_decomposition(outputs, inputs, data):
    """The factors' product is U_r S_r V_rᵀ; its squared error is the sum of the squared singular values left out."""
    rank = data.draw(st.integers(1, min(outputs, inputs)))
    torch.manual_seed(outputs * 8 + inputs)
    layer = nn.Linear(inputs, outputs)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().clone()
    compress_(layer, [SVD(rank=rank)])
    first, second = layer.factors
    u, s, vh = np.linalg.svd(weight, full_matrices=False)
    product = (second.weight.double() @ first.weight.double()).detach().numpy()
    assert np.allclose(product, (u[:, :rank] * s[:rank]) @ vh[:rank], atol=1e-6)
    assert np.isclose(((product - weight) ** 2).sum(), (s[rank:] ** 2).sum(), atol=1e-5)
    assert torch.equal(second.bias, bias)
    assert first.bias is None


@settings(deadline=None, max_examples=20)
@given(
    st.integers(1, 5),
    st.integers(1, 4),
    st.sampled_from([1, 2, 3]),
    st.fixed_dictionaries(
        {
            "stride": st.sampled_from([1, 2]),
            "dilation": st.sampled_from([1, 2]),
            "padding": st.sampled_from([0, 1, "valid"]),
            "padding_mode": st.sampled_from(["zeros", "reflect", "circular"]),
        }
    ),
)
def test_convolution_of_full_rank_is_the_convolution(k, c, window, options):
    """Any stride, dilation and padding: k × k filters, then 1 × 1 ones, compute the same at full rank."""
    torch.manual_seed(0)
    layer = nn.Conv2d(c, k, window, **options)
    x = torch.randn(2, c, 9, 8)
    expected = layer(x)
    compress_(layer, [SVD(rank=min(k, c * window**2))])
    assert [tuple(part.kernel_size) for part in layer.factors] == [(window, window), (1, 1)]
    assert torch.allclose(layer(x), expected, atol=1e-5)


def test_ranks_by_speedup_cost_what_was_asked():
    """R (k²c + d) multiply-adds for k²c d: the largest r that is `speedup` times cheaper."""
    layer = nn.Conv2d(16, 32, 3)
    compress_(layer, [SVD(speedup=2.0)])
    rank = layer.factors[0].out_channels
    whole = 144 * 32
    assert rank * (144 + 32) <= whole / 2 < (rank + 1) * (144 + 32)


def test_energy_one_leaves_a_layer_that_would_cost_more():
    """A full rank saves nothing, so the layer stays the layer that it is."""
    layer = nn.Linear(6, 6)
    compress_(layer, [SVD(energy=1.0)])
    assert type(layer) is nn.Linear
