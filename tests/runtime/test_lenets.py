"""Whole networks: the engine against the reference, and against torch."""

from __future__ import annotations

import numpy as np
import pytest

import lissome as ls
from engine_problems import compressed, lenet_5, lenet_300_100, lenet_weights
from lissome.runtime import kernels, reference
from lissome.weights import Dense

NETWORKS = {"300-100": (lenet_300_100, (784,)), "5": (lenet_5, (1, 28, 28))}


def _inputs(shape, batch, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, (batch, *shape)).astype(np.float32)


@pytest.mark.parametrize("isa", kernels.instruction_sets())
@pytest.mark.parametrize("batch", [1, 17])
@pytest.mark.parametrize("density", [None, 0.05])
@pytest.mark.parametrize("which", NETWORKS)
def test_lenets_agree_with_the_reference(which, density, batch, isa):
    """Dense or compressed, a LeNet's logits are the reference's within float32's rounding of their scale."""
    make, shape = NETWORKS[which]
    weights = lenet_weights(which)
    coded = {name: Dense(w) for name, w in weights.items()} if density is None else compressed(weights, density)
    net, x = make(coded), _inputs(shape, batch)
    want = reference.run(net, {"x": x})["y"]
    got = ls.compile(net, threads=2, isa=isa)(x)
    assert got.dtype == np.float32
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("which", NETWORKS)
def test_lenets_agree_with_torch(which):
    """The trained layers mean what they mean in torch, from whom the weights come."""
    torch = pytest.importorskip("torch")
    from lissome.models.lenet_5 import LeNet5
    from lissome.models.lenet_300_100 import LeNet300100

    make, shape = NETWORKS[which]
    weights = lenet_weights(which)
    module = LeNet5() if which == "5" else LeNet300100()
    module.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    x = _inputs(shape, 5)
    with torch.no_grad():
        want = module(torch.from_numpy(x)).numpy()
    got = ls.compile(make({name: Dense(w) for name, w in weights.items()}))(x)
    assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max()
