"""Networks shaped like the ones this format is measured by: the LeNets, pruned, shared, with a recipe."""

from __future__ import annotations

import numpy as np

from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Dense
from lissome.weights.formats import round_to
from networks import sparse

RECIPE = """seed = 3

[[rule]]
select = "fc1"
methods = [
  { use = "prune.Magnitude", sparsity = 0.985 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "fc2|fc3"
methods = [
  { use = "prune.Magnitude", sparsity = 0.93 },
  { use = "share.KMeans", clusters = 15, format = "float8_e4m3" },
]

[[rule]]
select = "*.bias"
methods = [
  { use = "share.KMeans", clusters = 8, format = "float8_e4m3" },
]

[[stage]]
epochs = 120
batch = 64
lr = 0.0015
distill = 0.8
shift = 2
settle = "prune"
schedule = "cubic"

[[stage]]
epochs = 30
lr = 0.0005
distill = 0.8
shift = 2
settle = "share"
"""


def lenet_300_100(seed: int = 0, fmt: str = "float8_e4m3") -> Network:
    """The graph that tracing LeNet-300-100 gives, with random weights: 2 % of them left, 15 values a layer."""
    rng = np.random.default_rng(seed)
    weights, nodes, last = {}, [Node("Flatten", "flatten", ("x",), ("flatten",), {"axis": 1})], "flatten"
    for name, shape, relu in (("fc1", (300, 784), "relu"), ("fc2", (100, 300), "relu_2"), ("fc3", (10, 100), "")):
        weights[f"{name}.weight"] = sparse(rng, shape, 0.02, 15, fmt)
        weights[f"{name}.bias"] = Dense(round_to(rng.normal(0, 0.1, shape[0]).astype(np.float32), fmt), fmt)
        made = name if relu else "y"
        nodes.append(Node("Gemm", name, (last, f"{name}.weight", f"{name}.bias"), (made,), {"transB": 1}))
        if relu:
            nodes.append(Node("Relu", relu, (name,), (relu,)))
            last = relu
    graph = Graph(tuple(nodes), (TensorSpec("x", ("N", 1, 28, 28)),), ("y",), tuple(weights))
    return Network(graph, weights, RECIPE)
