"""Network: exactly the weights its graph asks for, counted and shown as they are."""

import math

import numpy as np
import pytest
from hypothesis import given

from lissome.errors import GraphError
from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.weights import Codebook, Dense, Sparse
from problems import networks

GRAPH = Graph((Node("Gemm", "fc", ("x", "w", "b"), ("y",)),), (TensorSpec("x", ("N", 4)),), ("y",), ("w", "b"))
W = Sparse((2, 4), np.array([1, 6]), Codebook(np.array([0, 1]), np.array([-1, 1], np.float32)))
B = Dense(np.zeros(2, np.float32), "bfloat16")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"w": W}, r"weights missing: \['b'\]; weights nobody asked for: \[\]"),
        ({"w": W, "b": B, "c": B}, r"weights missing: \[\]; weights nobody asked for: \['c'\]"),
        ({}, r"weights missing: \['b', 'w'\]"),
    ],
)
def test_the_weights_are_exactly_the_graphs_parameters(weights, message):
    """A weight too few or too many is an error that names it."""
    with pytest.raises(GraphError, match=message):
        Network(GRAPH, weights)


def test_weights_follow_the_order_of_the_graph():
    """The order in which a file lists weights is the graph's, not the caller's: same network, same bytes."""
    assert list(Network(GRAPH, {"b": B, "w": W}).weights) == ["w", "b"]
    assert Network(GRAPH, {"b": B, "w": W}) == Network(GRAPH, {"w": W, "b": B})


def test_a_network_cannot_be_changed():
    """Neither its fields nor its weights, nor through the dict it was made from."""
    source = {"w": W, "b": B}
    network = Network(GRAPH, source)
    source["w"] = B
    assert network.weights["w"] is W
    with pytest.raises(TypeError):
        network.weights["w"] = B
    with pytest.raises(AttributeError):
        network.recipe = "x"
    with pytest.raises(TypeError, match="unhashable"):
        hash(network)


def test_equality_is_by_content():
    """Graph, weights and recipe are compared, each by content."""
    network = Network(GRAPH, {"w": W, "b": B}, "r")
    again = Graph.from_plain(GRAPH.to_plain())
    assert Network(again, {"w": W, "b": Dense(np.zeros(2, np.float32), "bfloat16")}, "r") == network
    assert Network(GRAPH, {"w": W, "b": B}) != network
    assert Network(GRAPH, {"w": W, "b": Dense(np.zeros(2, np.float32))}, "r") != network
    renamed = Graph(GRAPH.nodes, (TensorSpec("x", ("N", 5)),), GRAPH.outputs, GRAPH.parameters)
    assert Network(renamed, {"w": W, "b": B}, "r") != network
    assert network != GRAPH


@given(networks())
def test_counts_are_those_of_the_dense_network(network):
    """`parameters` and `dense_bytes` count every weight of the uncompressed float32 network, pruned ones included."""
    assert network.parameters == sum(weight.to_dense().size for weight in network.weights.values())
    assert network.dense_bytes == sum(weight.to_dense().nbytes for weight in network.weights.values())


@given(networks())
def test_summary_has_a_line_for_every_weight(network):
    """The summary names each weight with its shape and stored entries, and totals them."""
    lines = network.summary().splitlines()
    assert len(lines) == len(network.weights) + 2
    for line, (name, weight) in zip(lines[1:], network.weights.items(), strict=False):
        assert line.startswith(name)
        assert line.endswith(weight.describe())
        if not math.prod(weight.shape):
            assert " - " in line
    assert lines[-1] == f"{network.parameters:,} parameters, {network.dense_bytes:,} bytes as dense float32"


def test_summary_of_a_small_network():
    """The table as a person sees it."""
    assert Network(GRAPH, {"w": W, "b": B}).summary() == (
        "weight  shape  stored  density   form\n"
        "w       2x4    2       25.00 %   sparse(codebook 2)\n"
        "b       2      2       100.00 %  bfloat16\n"
        "10 parameters, 40 bytes as dense float32"
    )
