"""Networks that the tests of hardware models share: small enough to write down, with every kind of layer."""

import numpy as np

from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, Dense, Sparse


def pruned(shape, density, seed=0, entries=15):
    """A weight of this shape, that share of it left, shared among `entries` values."""
    rng = np.random.default_rng(seed)
    size = int(np.prod(shape))
    positions = np.sort(rng.choice(size, round(size * density), replace=False))
    table = np.linspace(-1, 1, entries, dtype=np.float32)
    return Sparse(shape, positions, Codebook(rng.integers(0, entries, positions.size), table))


def small(density=0.25):
    """Conv 3→8 of 3×3 on 10×10, ReLU, max pooling 2×2, Flatten, Gemm 128→10, Softmax."""
    nodes = (
        Node("Conv", "conv", ("x", "conv.weight", "conv.bias"), ("a",), {"kernel_shape": (3, 3)}),
        Node("Relu", "relu", ("a",), ("b",)),
        Node("MaxPool", "pool", ("b",), ("c",), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node("Flatten", "flatten", ("c",), ("d",), {"axis": 1}),
        Node("Gemm", "fc", ("d", "fc.weight"), ("e",), {"transB": 1}),
        Node("Softmax", "softmax", ("e",), ("y",), {"axis": 1}),
    )
    weights = {
        "conv.weight": Dense(np.ones((8, 3, 3, 3), np.float32)),
        "conv.bias": Dense(np.zeros(8, np.float32)),
        "fc.weight": pruned((10, 128), density),
    }
    graph = Graph(nodes, (TensorSpec("x", ("N", 3, 10, 10)),), ("y",), tuple(weights))
    return Network(graph, weights)
