"""Generators of the engine's tests: networks with known weights, sparse matrices, and bounds on rounding."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, CodedWeight, Dense, Sparse

EPSILON = float(np.finfo(np.float32).eps)


def single(op: str, extents: tuple[int, ...], weights: Mapping[str, CodedWeight] | None = None, /, **attributes):
    """A network of one node that reads x (N, *extents) and the weights, in order, and makes y."""
    weights = dict(weights or {})
    node = Node(op, op.lower(), ("x", *weights), ("y",), attributes)
    return Network(Graph((node,), (TensorSpec("x", ("N", *extents)),), ("y",), tuple(weights)), weights)


def chain(nodes: list[Node], shape: tuple[int, ...], weights: Mapping[str, CodedWeight]) -> Network:
    """A network of these nodes that reads x (N, *shape) and returns the last node's output."""
    graph = Graph(tuple(nodes), (TensorSpec("x", ("N", *shape)),), nodes[-1].outputs, tuple(weights))
    return Network(graph, dict(weights))


def lenet_300_100(weights: Mapping[str, CodedWeight]) -> Network:
    """LeNet-300-100 as tracing it gives: fc1, fc2, fc3 with relus between."""
    nodes = [
        Node("Gemm", "fc1", ("x", "fc1.weight", "fc1.bias"), ("h1",), {"transB": 1}),
        Node("Relu", "relu1", ("h1",), ("a1",)),
        Node("Gemm", "fc2", ("a1", "fc2.weight", "fc2.bias"), ("h2",), {"transB": 1}),
        Node("Relu", "relu2", ("h2",), ("a2",)),
        Node("Gemm", "fc3", ("a2", "fc3.weight", "fc3.bias"), ("y",), {"transB": 1}),
    ]
    return chain(nodes, (784,), weights)


def lenet_5(weights: Mapping[str, CodedWeight]) -> Network:
    """The Caffe LeNet-5 (20-50-500-10) as tracing it gives."""
    window = {"kernel_shape": (2, 2), "strides": (2, 2)}
    nodes = [
        Node("Conv", "conv1", ("x", "conv1.weight", "conv1.bias"), ("c1",), {"kernel_shape": (5, 5)}),
        Node("MaxPool", "pool1", ("c1",), ("p1",), window),
        Node("Conv", "conv2", ("p1", "conv2.weight", "conv2.bias"), ("c2",), {"kernel_shape": (5, 5)}),
        Node("MaxPool", "pool2", ("c2",), ("p2",), window),
        Node("Flatten", "flatten", ("p2",), ("f",), {"axis": 1}),
        Node("Gemm", "fc1", ("f", "fc1.weight", "fc1.bias"), ("h",), {"transB": 1}),
        Node("Relu", "relu", ("h",), ("a",)),
        Node("Gemm", "fc2", ("a", "fc2.weight", "fc2.bias"), ("y",), {"transB": 1}),
    ]
    return chain(nodes, (1, 28, 28), weights)


def lenet_weights(which: str, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of a LeNet ("300-100" or "5"), scaled like trained ones."""
    rng = np.random.default_rng(seed)
    layers = {
        "300-100": {"fc1": (300, 784), "fc2": (100, 300), "fc3": (10, 100)},
        "5": {"conv1": (20, 1, 5, 5), "conv2": (50, 20, 5, 5), "fc1": (500, 800), "fc2": (10, 500)},
    }[which]
    weights = {}
    for name, shape in layers.items():
        scale = 1 / np.sqrt(np.prod(shape[1:]))
        weights[f"{name}.weight"] = (rng.standard_normal(shape) * scale).astype(np.float32)
        weights[f"{name}.bias"] = (rng.standard_normal(shape[0]) * 0.1).astype(np.float32)
    return weights


def pruned(weight: np.ndarray, density: float, entries: int | None = 15) -> Sparse:
    """The largest `density` of a weight, by magnitude; shared among `entries` values unless None."""
    flat = weight.reshape(-1)
    count = max(1, int(density * flat.size)) if density else 0
    positions = np.sort(np.argsort(-np.abs(flat), kind="stable")[:count])
    values = flat[positions]
    if entries is None or count == 0:
        return Sparse(weight.shape, positions, Dense(values))
    table = np.quantile(values, np.linspace(0, 1, entries)).astype(np.float32)
    return Sparse(weight.shape, positions, Codebook(np.abs(values[:, None] - table).argmin(1), table))


def compressed(weights: Mapping[str, np.ndarray], density: float, entries: int | None = 15) -> dict[str, CodedWeight]:
    """Weights pruned and shared, biases dense."""
    return {name: Dense(w) if w.ndim == 1 else pruned(w, density, entries) for name, w in weights.items()}


def uniform(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Float32 in [−1, 1): signs differ, so that sums cancel and lost terms show."""
    return rng.uniform(-1, 1, shape).astype(np.float32)


def weight_forms(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, CodedWeight]:
    """Weights of one shape in every form that packing tells apart, degenerate ones included."""
    values, size = uniform(rng, *shape), int(np.prod(shape))
    one = int(rng.integers(size))
    empty_rows = values.copy()
    empty_rows[:: max(1, shape[0] - 1)] = 0  # the first and the last row, where there are three or more
    return {
        "dense": Dense(values),
        "codebook": Codebook(rng.integers(0, 5, shape), uniform(rng, 5)),
        "sparse": pruned(values, 0.3, None),
        "sparse, 15 shared": pruned(values, 0.3, 15),
        "sparse, 40 shared": pruned(values, 0.3, 40),
        "sparse, 300 shared": pruned(values, 0.3, 300),
        "sparse but full": pruned(values, 1.0, 7),
        "one weight": Sparse(shape, np.array([one]), Dense(uniform(rng, 1))),
        "all pruned": Sparse(shape, np.zeros(0, np.int64), Dense(np.zeros(0, np.float32))),
        "empty rows": pruned(empty_rows, np.count_nonzero(empty_rows) / size, None),
    }


def assert_close(got: np.ndarray, want: np.ndarray, magnitude: np.ndarray, terms: int, what: str) -> None:
    """Every element within the rounding of a float32 sum, and NaN and infinities exactly where the reference has them.

    A sum of n products, in any order and with or without fused multiply-adds, is off by at most
    γ(n + 1) Σ|a||b| with γ(n) = n·u / (1 − n·u) and u = eps / 2 (Higham, Accuracy and Stability of Numerical
    Algorithms, section 3.1); `magnitude` is Σ|a||b| + |bias|, and rounding the reference's inputs adds nothing.
    """
    assert got.dtype == np.float32
    assert got.shape == want.shape, what
    np.testing.assert_array_equal(np.isnan(got), np.isnan(want), err_msg=what)
    infinite = np.isinf(want)
    np.testing.assert_array_equal(got[infinite], want[infinite], err_msg=what)
    finite = np.isfinite(want)
    roundings = (terms + 2) * EPSILON / 2
    bound = roundings / (1 - roundings) * magnitude[finite] + np.finfo(np.float32).tiny
    error = np.abs(got[finite] - want[finite])
    if (error > bound).any():
        worst = int(np.argmax(error - bound))
        raise AssertionError(
            f"{what}: {int((error > bound).sum())} of {error.size} elements are off, the worst by {error[worst]:.3e} "
            f"where {bound[worst]:.3e} is allowed: got {got[finite][worst]}, want {want[finite][worst]}"
        )
