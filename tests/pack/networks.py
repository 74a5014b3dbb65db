"""Small networks of every kind of coded weight, for the tests of the packer."""

from __future__ import annotations

import contextlib
import itertools
import os

import numpy as np

from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, CodedWeight, Dense, Sparse
from lissome.weights.formats import FORMATS, round_to

RECIPE = """[[rules]]
match = "*"
methods = [{method = "prune.Magnitude", sparsity = 0.9}, {method = "share.KMeans", bits = 4}]
"""


@contextlib.contextmanager
def as_nobody():
    """Give up the superuser's rights for a while, so that permissions count in containers too."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def ascending(rng: np.random.Generator, entries: int, fmt: str) -> np.ndarray:
    """A tidy codebook: `entries` distinct values of `fmt`, ascending."""
    values = np.unique(round_to(rng.normal(0, 1, 50 * entries).astype(np.float32), fmt))
    return np.sort(rng.choice(values, entries, replace=False))


def all_used(rng: np.random.Generator, count: int, entries: int) -> np.ndarray:
    """Codes (count,) in which each of `entries` occurs; count ≥ entries."""
    codes = np.concatenate([np.arange(entries), rng.integers(0, entries, count - entries)])
    return rng.permutation(codes)


def sparse(rng: np.random.Generator, shape: tuple[int, ...], density: float, entries: int, fmt: str) -> Sparse:
    """A pruned, shared weight with a tidy codebook."""
    size = int(np.prod(shape))
    nnz = max(entries, int(density * size))
    positions = np.sort(rng.choice(size, nnz, replace=False))
    return Sparse(shape, positions, Codebook(all_used(rng, nnz, entries), ascending(rng, entries, fmt), fmt))


def mlp(seed: int = 0, sizes: tuple[int, ...] = (28, 30, 10), recipe: str = RECIPE) -> Network:
    """A perceptron with one layer of each form: sparse shared, shared, sparse, dense, in every number format."""
    rng = np.random.default_rng(seed)
    nodes, weights, last = [], {}, "x"
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        name, fmt = f"fc{i + 1}", FORMATS[-1 - i % 4]
        weights[f"{name}.weight"] = sparse(rng, (fan_out, fan_in), 0.1, 7, fmt)
        weights[f"{name}.bias"] = Dense(round_to(rng.normal(0, 0.1, fan_out).astype(np.float32), fmt), fmt)
        nodes.append(Node("Gemm", name, (last, f"{name}.weight", f"{name}.bias"), (name,), {"transB": 1}))
        nodes.append(Node("Relu", f"relu{i + 1}", (name,), (f"relu{i + 1}",)))
        last = f"relu{i + 1}"
    graph = Graph(tuple(nodes), (TensorSpec("x", ("N", sizes[0])),), (last,), tuple(weights))
    return Network(graph, weights, recipe)


def network_of(*weights: CodedWeight, recipe: str = "") -> Network:
    """A network whose parameters are w0, w1, …, all read by one node."""
    names = tuple(f"w{i}" for i in range(len(weights)))
    graph = Graph((Node("Custom", "y", ("x", *names), ("y",)),), (TensorSpec("x", ("N", 1)),), ("y",), names)
    return Network(graph, dict(zip(names, weights, strict=True)), recipe)
