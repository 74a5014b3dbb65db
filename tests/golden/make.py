"""Write golden files that do not exist yet: python tests/golden/make.py. Never changes one that does.

A file here is a promise: it opens in every later version that reads its version. ``NAME.json`` holds what must come
out, independent of lissome's own classes: the graph's plain form, each weight's float32 bit patterns, and the recipe.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "pack"))

from lissome.graph.ir import Graph, Node, TensorSpec  # noqa: E402
from lissome.network import Network  # noqa: E402
from lissome.pack.container import canonical, save  # noqa: E402
from lissome.weights import Codebook, Dense, Sparse  # noqa: E402
from networks import network_of, sparse  # noqa: E402


def small_cnn() -> Network:
    """A convolution, pooling and a linear layer: each kind of weight that version 1 knows, in each number format."""
    rng = np.random.default_rng(7)
    weights = {
        "conv1.weight": sparse(rng, (3, 1, 3, 3), 0.4, 4, "float16"),
        "conv1.bias": Codebook(np.array([0, 1, 0]), np.array([-0.5, 0.25], np.float32), "float8_e4m3"),
        "fc1.weight": sparse(rng, (4, 12), 0.3, 5, "float8_e4m3"),
        "fc1.bias": Dense(np.array([0.5, -1, 0, 2], np.float32), "bfloat16"),
    }
    nodes = (
        Node("Conv", "conv1", ("x", "conv1.weight", "conv1.bias"), ("conv1",), {"kernel_shape": (3, 3)}),
        Node("MaxPool", "maxpool", ("conv1",), ("maxpool",), {"kernel_shape": (2, 2), "strides": (2, 2)}),
        Node("Flatten", "flatten", ("maxpool",), ("flatten",), {"axis": 1}),
        Node("Gemm", "fc1", ("flatten", "fc1.weight", "fc1.bias"), ("y",), {"transB": 1}),
    )
    recipe = 'seed = 0\n\n[[rule]]\nselect = "*"\nmethods = [\n  { use = "share.KMeans", bits = 2 },\n]\n'
    return Network(Graph(nodes, (TensorSpec("x", ("N", 1, 6, 6)),), ("y",), tuple(weights)), weights, recipe)


def odd_ones() -> Network:
    """The corners: nothing left, no elements, a scalar, one value for all, sparse without a codebook, −0.0."""
    none, zero = np.zeros(0, np.int64), np.zeros(1, np.float32)
    return network_of(
        Sparse((40, 30), none, Codebook(none, zero, "float16")),
        Dense(np.zeros((0, 5), np.float32), "float8_e4m3"),
        Dense(np.float32(1.5)),
        Codebook(np.zeros((2, 3), np.uint8), zero + 3, "bfloat16"),
        Sparse((9,), np.array([1, 8]), Dense(np.array([-0.1, 0.1], np.float32))),
        Codebook(np.array([[0, 1], [2, 0]]), np.array([-2, -0.0, 0.0], np.float32), "float16"),
    )


def expected(net: Network) -> str:
    """What must come out, as JSON."""
    bits = {name: weight.to_dense().view(np.uint32).ravel().tolist() for name, weight in net.weights.items()}
    shapes = {name: list(weight.shape) for name, weight in net.weights.items()}
    kinds = {name: weight.describe() for name, weight in net.weights.items()}
    plain = {"graph": net.graph.to_plain(), "recipe": net.recipe, "shapes": shapes, "kinds": kinds, "bits": bits}
    return json.dumps(plain, indent=1) + "\n"


def main() -> None:
    """Write what is missing."""
    for name, net in (("v1-cnn", small_cnn()), ("v1-odd", odd_ones())):
        if canonical(net) != net:
            raise SystemExit(f"{name}: its codebooks are not tidy")
        for coder in ("huffman", "fast", "small"):
            path = HERE / f"{name}-{coder}.liss"
            if not path.exists():
                save(net, path, coder)
                path.with_suffix(".json").write_text(expected(net), encoding="utf-8")
                sys.stdout.write(f"{path.name}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
