"""Every method, in every chain that a recipe allows: what the laws of a method are tested over."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import nn

from lissome.compress.binarize import (
    BinaryConnect,
    BinaryNet,
    BinaryWeight,
    TernaryConnect,
    TernaryWeight,
    TrainedTernary,
    XNORNet,
)
from lissome.compress.method import Method
from lissome.compress.prune import (
    ADMM,
    BrainDamage,
    ChannelLasso,
    EnergyAware,
    Fisher,
    GroupLasso,
    Lamp,
    LoadBalanced,
    Magnitude,
    Movement,
    NofM,
    Random,
    SparseGPT,
    Surgery,
    Taylor,
)
from lissome.compress.quantize import LSQ, DynamicFixedPoint, FakeQuantized, Format, Log, PostTraining, RateDistortion
from lissome.compress.share import KMeans, StraightThrough
from lissome.compress.share.lloyd import INITS
from lissome.weights.formats import FORMATS

PRUNE: tuple[Method, ...] = (
    Magnitude(sparsity=0.0),
    Magnitude(sparsity=0.5),
    Magnitude(sparsity=0.9),
    Magnitude(sparsity=0.5, scope="global"),
    Magnitude(threshold=0.25),
    Magnitude(quality=1.0),
    Lamp(sparsity=0.8),
    Lamp(sparsity=0.8, rate=True),
    Fisher(sparsity=0.8),
    Fisher(sparsity=0.8, rate=True),
    Magnitude(sparsity=0.4, granularity="kernel"),
    Magnitude(sparsity=0.4, granularity="1x2", scope="global"),
    Taylor(sparsity=0.8),
    Movement(sparsity=0.8),
    Random(sparsity=0.8),
    NofM(keep=1, of=2),
)
#: pruning that looks at the network, or takes part in training
SEEING: tuple[Method, ...] = (
    Magnitude(sparsity=0.5, scope="sensitivity"),
    BrainDamage(sparsity=0.4),
    ChannelLasso(sparsity=0.5),  # asleep, as the next one is: test_restored.py wakes them
    EnergyAware(sparsity=0.5),
    SparseGPT(sparsity=0.5),
    Surgery(sparsity=0.5, gamma=0.0),
    ADMM(sparsity=0.5),
    GroupLasso(filters=0.1, shapes=0.1, threshold=0.5),
    LoadBalanced(sparsity=0.5, pes=2),
)
SHARE: tuple[Method, ...] = (
    KMeans(clusters=1),
    KMeans(bits=2),
    *(KMeans(clusters=5, init=init, seed=1) for init in INITS),
    *(KMeans(bits=3, format=fmt) for fmt in FORMATS),
    StraightThrough(clusters=3),
    StraightThrough(bits=3, format="float8_e4m3"),
)
QUANTIZE: tuple[Method, ...] = (
    RateDistortion(rate=1e-3),  # asleep: test_rate_distortion.py wakes it
    PostTraining(),  # asleep: test_post_training.py wakes it
    LSQ(bits=3),
    FakeQuantized(bits=4),
    *(Format(format=fmt) for fmt in FORMATS),
    DynamicFixedPoint(bits=8),
    DynamicFixedPoint(bits=4),
    DynamicFixedPoint(bits=3, block=2),
    Log(bits=4),
    Log(bits=3, base="sqrt2"),
)
BINARIZE: tuple[Method, ...] = (
    BinaryConnect(),
    BinaryWeight(),
    TernaryWeight(),
    TrainedTernary(),
    TernaryConnect(stochastic=False),
    BinaryNet(norm=True),
    XNORNet(),
)
CHAINS: tuple[tuple[Method, ...], ...] = (
    *((method,) for method in (*PRUNE, *SEEING, *SHARE, *QUANTIZE, *BINARIZE)),
    *itertools.product(PRUNE, SHARE),
    *itertools.product(SEEING, (SHARE[1], SHARE[-2])),
    *itertools.product(PRUNE[1:2], (*QUANTIZE, *BINARIZE)),
)


def layer(values: object) -> nn.Linear:
    """A linear layer without bias that holds `values`."""
    weight = torch.tensor(np.asarray(values, np.float32))
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    with torch.no_grad():
        made.weight.copy_(weight)
    return made


#: what `network` takes, for methods that look at it
INPUTS = torch.linspace(-1, 1, 64).cos().view(2, 2, 4, 4)


def chain_id(chain: tuple[Method, ...]) -> str:
    """The chain as one word, for the name of a test."""
    return "+".join(map(str, chain))


def network(seed: int = 0) -> nn.Sequential:
    """Convolution, ReLU, linear: a 4-D and a 2-D weight, 36 and 40 entries, of normal values."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model


def after_steps(model, x, steps):
    """The model in evaluation mode after some steps towards signs of its first inputs; the loss has fallen."""
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(steps):
        loss = (model(x) - x.flatten(1)[:, :5].sign()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    return model.eval()
