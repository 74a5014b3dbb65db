"""The two laws of a compression method (compress/method.py), for every method in every allowed chain."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

from lissome.compress import binarize, prune, quantize, share
from lissome.compress.apply import coded_parameters, compress_
from lissome.compress.method import Method
from lissome.compress.recipe import Recipe
from lissome.errors import RecipeError
from methods import BINARIZE, CHAINS, INPUTS, PRUNE, QUANTIZE, SEEING, SHARE, chain_id, network


def bits_of(tensor):
    """The tensor's float32 bytes."""
    return np.ascontiguousarray(tensor.detach().float().numpy()).tobytes()


def test_every_public_method_is_among_the_chains():
    """A new method must be added to tests/compress/methods.py: what the packages offer is what is tested."""
    offered = {getattr(package, name) for package in (prune, quantize, share, binarize) for name in package.__all__}
    methods = {each for each in offered if issubclass(each, Method)}
    assert {type(method) for chain in CHAINS for method in chain} == methods


@pytest.mark.parametrize("chain", CHAINS, ids=chain_id)
def test_encode_gives_the_weight_that_the_network_sees(chain):
    """encode(w).to_dense() == forward(w), bit for bit: as settled, after training steps, and while asleep."""
    model = network()
    compress_(model, Recipe([("*", list(chain))]), inputs=INPUTS)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(3):
        coded = coded_parameters(model)
        assert set(coded) == {"0.weight", "0.bias", "3.weight", "3.bias"}
        for i in (0, 3):
            weight = coded[f"{i}.weight"]
            assert weight.to_dense().tobytes() == bits_of(model[i].weight)
            assert weight.shape == tuple(model[i].weight.shape)
            assert coded[f"{i}.bias"].to_dense().tobytes() == bits_of(model[i].bias)
        optimizer.zero_grad()
        model(torch.randn(4, 2, 4, 4)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("chain", [c for c in CHAINS if len(c) == 2], ids=chain_id)
def test_what_pruning_removed_stays_exactly_zero(chain):
    """Every later method maps +0 to +0 and nothing else to a stored zero."""
    model, pruned_only = network(), network()
    compress_(model, Recipe([("*", list(chain))]), inputs=INPUTS)
    compress_(pruned_only, Recipe([("*", [chain[0]])]), inputs=INPUTS)
    for i in (0, 3):
        gone = pruned_only[i].weight == 0
        assert bits_of(model[i].weight[gone]) == b"\0" * (4 * int(gone.sum()))


@settings(deadline=None, max_examples=100)
@given(
    values=npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7),
        elements=st.floats(-400, 400, width=32) | st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-38, -1e-7]),
    ),
    first=st.sampled_from((None, *PRUNE, *SEEING)),
    second=st.sampled_from((None, *SHARE, *QUANTIZE, *BINARIZE)),
)
def test_the_laws_hold_for_any_weights(values, first, second):
    """Both laws for arbitrary values: ties, zeros of both signs, denormals; or the recipe is refused as a whole."""
    module = nn.Linear(values.shape[1], values.shape[0], bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(values))
    before = bits_of(module.weight)
    methods = [method for method in (first, second) if method is not None]
    try:
        compress_(module, methods, inputs=torch.ones(1, values.shape[1]))
    except RecipeError:
        assert type(module) is nn.Linear
        assert bits_of(module.weight) == before
        return
    weight = coded_parameters(module)["weight"]
    assert weight.to_dense().tobytes() == bits_of(module.weight)
    if methods:
        assert not module.weight.detach().numpy()[values == 0].any()


@pytest.mark.parametrize("chain", CHAINS, ids=chain_id)
def test_a_method_prints_as_it_is_written(chain):
    """str(method) is the Python that makes an equal one, with the options that differ from their defaults."""
    for method in chain:
        assert eval(str(method), {"binarize": binarize, "prune": prune, "quantize": quantize, "share": share}) == method  # noqa: S307 - made here
