"""Straight-through sharing: codes follow the originals, gradients reach both, what is packed is what was seen."""

import pytest
import torch
from torch import nn

from lissome.compress.apply import coded_parameters, compress_
from lissome.compress.prune import Magnitude
from lissome.compress.share import StraightThrough
from lissome.weights.formats import FORMATS


def shared_layer(clusters=4, fmt="float32", seed=0):
    torch.manual_seed(seed)
    layer = nn.Linear(24, 16, bias=False)
    compress_(layer, [Magnitude(sparsity=0.5), StraightThrough(clusters=clusters, format=fmt)])
    return layer


def test_gradient_reaches_originals_unchanged_and_centroids_by_code():
    """The gradient of an original is the shared weight's gradient where the weight survives and zero elsewhere."""
    layer = shared_layer()
    chain = layer.parametrizations.weight
    seen = layer.weight
    seen.retain_grad()
    (seen * torch.arange(seen.numel()).view_as(seen)).sum().backward()
    alive = chain[1].codes > 0
    assert torch.equal(chain.original.grad, torch.where(alive, seen.grad, 0.0))
    for entry in range(4):
        expected = seen.grad[chain[1].codes == entry + 1].double().sum()
        assert chain[1].codebook.grad[entry] == pytest.approx(float(expected), rel=1e-6)


def test_a_weight_takes_the_code_of_the_nearest_centroid_at_every_step():
    """After the originals and the centroids moved, no survivor has a nearer centroid than its own."""
    layer = shared_layer()
    chain = layer.parametrizations.weight
    before = chain[1].codes.clone()
    with torch.no_grad():
        chain.original.add_(0.15 * torch.randn_like(chain.original))
        chain[1].codebook.mul_(-1.1)  # reverses their order as well
    seen = layer.weight.detach()
    alive = chain[1].codes > 0
    distance = (chain.original.detach().unsqueeze(-1) - chain[1].codebook.detach()).abs()
    own = (chain.original.detach() - seen).abs()
    assert torch.all(own[alive] <= distance.min(-1).values[alive] + 1e-6)
    assert torch.equal(alive, before > 0)
    assert not torch.equal(chain[1].codes, before)


@pytest.mark.parametrize("fmt", FORMATS)
def test_packed_is_what_training_saw(fmt):
    """The law of every method, after real optimizer steps: encode(w).to_dense() equals forward(w), bit for bit."""
    layer = shared_layer(clusters=6, fmt=fmt)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
    x, y = torch.randn(64, 24), torch.randn(64, 16)
    for _ in range(20):
        loss = (layer(x) - y).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    coded = coded_parameters(layer)["weight"]
    assert torch.equal(torch.from_numpy(coded.to_dense().copy()), layer.weight.detach())
    assert coded.nnz <= 24 * 16 // 2


def test_training_assignments_fits_better_than_fixed_ones():
    """On a target that k-means codes cannot reach, letting codes move lowers the loss below the fixed codes' best."""
    from lissome.compress.share import KMeans

    losses = {}
    torch.manual_seed(3)
    x = torch.randn(256, 24)
    y = x @ torch.randn(24, 16)
    for method in (KMeans, StraightThrough):
        torch.manual_seed(0)
        layer = nn.Linear(24, 16, bias=False)
        compress_(layer, [method(clusters=8, format="float32")])
        optimizer = torch.optim.Adam(layer.parameters(), lr=2e-2)
        for _ in range(150):
            loss = (layer(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses[method] = float(loss.detach())
    assert losses[StraightThrough] < 0.5 * losses[KMeans]


def test_a_layer_without_survivors_passes():
    """A bias that pruning emptied has no centroid and stays zero."""
    from lissome.compress.recipe import Recipe

    layer = nn.Linear(8, 8)
    with torch.no_grad():
        layer.bias.fill_(1e-6)
    methods = [Magnitude(threshold=1e-3), StraightThrough(clusters=4)]
    compress_(layer, Recipe([("bias", methods)]))
    assert not layer.bias.any()
    assert coded_parameters(layer)["bias"].nnz == 0
