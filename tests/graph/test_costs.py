"""Multiply-adds and bytes of single nodes, each against a count by hand."""

import pytest

from lissome.graph import Graph, Node, TensorSpec
from lissome.graph.costs import costs

CASES = {  # operator, attributes, input shape, weights' shapes, multiply-adds, parameters, activations
    "conv": ("Conv", {"kernel_shape": (3, 3)}, (3, 7, 7), [(128, 3, 3, 3), (128,)], 86_400, 3_456 + 128, 3_200),
    "depthwise": ("Conv", {"kernel_shape": (3, 3), "group": 3}, (3, 7, 7), [(3, 1, 3, 3)], 675, 27, 75),
    "pointwise": ("Conv", {"kernel_shape": (1, 1)}, (3, 5, 5), [(128, 3, 1, 1)], 9_600, 384, 3_200),
    "series": ("Conv", {"kernel_shape": (5,), "strides": (2,)}, (4, 11), [(6, 4, 5)], 4 * 6 * 4 * 5, 120, 24),
    "transposed": ("ConvTranspose", {"kernel_shape": (2, 2)}, (3, 4, 4), [(3, 5, 2, 2)], 16 * 3 * 5 * 4, 60, 5 * 25),
    "gemm": ("Gemm", {"transB": 1}, (7,), [(4, 7), (4,)], 28, 32, 4),
    "matmul": ("MatMul", {}, (2, 5, 7), [(7, 3)], 2 * 5 * 7 * 3, 21, 30),
    "norm": ("BatchNormalization", {}, (4, 2), [(4,)] * 4, 0, 8, 8),
    "number": ("Mul", {}, (4, 2), [(1,)], 0, 0, 8),
    "gain": ("Mul", {}, (4, 2), [(4, 1)], 0, 4, 8),
    "pool": ("MaxPool", {"kernel_shape": (2, 2)}, (3, 4, 4), [], 0, 0, 27),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("batch", [1, 3])
def test_a_node_costs_what_one_counts_by_hand(name, batch):
    """All but the parameters grows with the batch; bytes are those of inputs, weights and results as float32."""
    op, attributes, shape, weights, macs, parameters, activations = CASES[name]
    given = {f"w{number}": extents for number, extents in enumerate(weights)}
    graph = Graph(
        (Node(op, "node", ("x", *given), ("y",), attributes),), (TensorSpec("x", ("N", *shape)),), ("y",), (*given,)
    )
    cost = costs(graph, given, batch)["node"]
    assert (cost.macs, cost.parameters, cost.activations) == (batch * macs, parameters, batch * activations)
    elements = batch
    for extent in shape:
        elements *= extent
    assert cost.bytes == 4 * (elements + cost.weights + batch * activations)
    assert cost.intensity == 2 * batch * macs / cost.bytes


def test_an_lstm_counts_its_gates():
    """Each step multiplies the input and the state by four gates' weights, in both directions."""
    weights = {"w": (2, 20, 3), "r": (2, 20, 5)}
    node = Node("LSTM", "l", ("x", "w", "r"), ("y",), {"hidden_size": 5, "direction": "bidirectional"})
    graph = Graph((node,), (TensorSpec("x", (7, "N", 3)),), ("y",), ("w", "r"))
    assert costs(graph, weights, 2)["l"].macs == 7 * 2 * 2 * 4 * 5 * (3 + 5)


def test_a_weight_used_twice_is_counted_once():
    """A layer called twice has its multiply-adds twice and its parameters once."""
    nodes = (
        Node("Gemm", "a", ("x", "w"), ("h",), {"transB": 1}),
        Node("Gemm", "b", ("h", "w"), ("y",), {"transB": 1}),
    )
    found = costs(Graph(nodes, (TensorSpec("x", ("N", 4)),), ("y",), ("w",)), {"w": (4, 4)})
    assert [(cost.macs, cost.parameters, cost.weights) for cost in found.values()] == [(16, 16, 16), (16, 0, 16)]
