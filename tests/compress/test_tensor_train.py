"""factorize.TensorTrain: the definition of a train, the bound of TT-SVD, and layers that compute the product."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lissome.compress.apply import compress_
from lissome.compress.factorize import TensorTrain
from lissome.compress.factorize.tensor_train import even_factors, full_ranks, product, size, train

factors = st.lists(st.integers(1, 3), min_size=2, max_size=4)


def entry(cores, i, j):
    """Equation 5: W(i₁ … i_t; j₁ … j_t) = G₁[i₁, j₁] ⋯ G_t[i_t, j_t]."""
    made = np.eye(1)
    for core, a, b in zip(cores, i, j, strict=True):
        made = made @ core.numpy()[:, b, a, :]
    return made[0, 0]


@settings(deadline=None, max_examples=20)
@given(st.data())
def test_full_ranks_give_every_entry_by_the_papers_equation(data):
    """Each entry of the weight is the product of its matrices, and `product` puts them in their places."""
    outputs = data.draw(factors)
    inputs = data.draw(st.lists(st.integers(1, 3), min_size=len(outputs), max_size=len(outputs)))
    weight = np.random.default_rng(0).normal(size=(math.prod(outputs), math.prod(inputs)))
    cores = train(torch.from_numpy(weight), outputs, inputs, 1000, 1.0)
    rows = list(itertools.product(*map(range, outputs)))
    columns = list(itertools.product(*map(range, inputs)))
    found = np.array([[entry(cores, i, j) for j in columns] for i in rows])
    assert np.allclose(found, weight)
    assert np.allclose(product(cores).numpy(), weight)
    assert [core.shape[3] for core in cores[:-1]] == [
        min(a, b) for a, b in zip(full_ranks(outputs, inputs), (c.shape[3] for c in cores), strict=False)
    ]


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6), st.floats(0.3, 1))
def test_the_energy_asked_for_is_kept(seed, energy):
    """The squared error of TT-SVD is at most the sum of what its truncations drop: 1 − energy of the weight's."""
    weight = torch.from_numpy(np.random.default_rng(seed).normal(size=(12, 18)))
    found = product(train(weight, (2, 2, 3), (2, 3, 3), 1000, energy))
    assert float((found - weight).square().sum()) <= (1 - energy) * float(weight.square().sum()) + 1e-9


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)])
@pytest.mark.parametrize("rank", [1, 2, 9])
def test_the_layers_compute_the_product(shape, rank):
    """Inputs (…, M) of any number of axes: as a linear layer with the product for a weight."""
    torch.manual_seed(0)
    layer, whole = nn.Linear(24, 30), nn.Linear(24, 30)
    x = torch.randn(*shape, 24)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    compress_(layer, [TensorTrain(rank=rank)])
    cores = train(weight.double(), even_factors(30, 3), even_factors(24, 3), rank, 1.0)
    with torch.no_grad():
        whole.weight.copy_(product(cores))
        whole.bias.copy_(bias)
    assert torch.allclose(layer(x), whole(x), atol=1e-5)


def test_compression_counts_the_weights():
    """The largest rank whose train is so many times smaller, counted in the module itself."""
    layer = nn.Linear(256, 100)
    compress_(layer, [TensorTrain(compression=4.0, cores=4)])
    stored = sum(core.weight.numel() for core in layer.factors.cores)
    outputs, inputs = even_factors(100, 4), even_factors(256, 4)
    most = full_ranks(outputs, inputs)
    rank = max(core.in_features // m for core, m in zip(layer.factors.cores, inputs, strict=True))
    assert stored == size(outputs, inputs, most, rank) <= 25_600 / 4 < size(outputs, inputs, most, rank + 1)


@given(st.integers(1, 30_000), st.integers(1, 6))
def test_extents_are_cut_into_factors(extent, count):
    """So many factors whose product is the extent, in ascending order; perfect powers are cut evenly."""
    found = even_factors(extent, count)
    assert (len(found), math.prod(found), list(found)) == (count, extent, sorted(found))
    assert even_factors(4096, 3) == (16, 16, 16)
