"""Arranging: the same function, fewer dead units, fewer bytes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lissome as ls
from engine_problems import chain
from lissome.errors import GraphError
from lissome.graph import Node
from lissome.graph.units import hidden_units
from lissome.network import Network
from lissome.pack.arrange import index_bytes, orders
from lissome.pack.container import pack
from lissome.runtime import reference
from lissome.weights import Codebook, Dense, Sparse
from lissome.weights.select import select
from problems import coded_weights

WHOLE = np.arange(-3, 4, dtype=np.float32)  # whole numbers: every sum of a test is exact, so outputs are equal
CONV = {"kernel_shape": (3, 3)}
POOL = {"kernel_shape": (2, 2), "strides": (2, 2)}


def coded(rng, shape, density=0.3):
    """A weight of small whole numbers in any form, many of its rows and columns zero."""
    values = rng.integers(-3, 4, shape) * (rng.random(shape) < density)
    values *= rng.random((shape[0], *(1,) * (len(shape) - 1))) < 0.8
    if len(shape) > 1:
        values *= rng.random((1, shape[1], *(1,) * (len(shape) - 2))) < 0.8
    form = rng.integers(3)
    if form == 0:
        return Dense(values.astype(np.float32))
    if form == 1:
        return Codebook(values + 3, WHOLE)
    positions = np.flatnonzero(values)
    return Sparse(shape, positions, Codebook(values.ravel()[positions] + 3, WHOLE))


def mlp(rng, sizes, activation="Relu"):
    """A perceptron with a transposed or plain matrix a layer, and a bias or none."""
    nodes, weights, last = [], {}, "x"
    for i in range(len(sizes) - 1):
        k, n = sizes[i], sizes[i + 1]
        if rng.random() < 0.7:
            weights[f"w{i}"], weights[f"b{i}"] = coded(rng, (n, k)), coded(rng, (n,))
            nodes.append(Node("Gemm", f"fc{i}", (last, f"w{i}", f"b{i}"), (f"h{i}",), {"transB": 1}))
        else:
            weights[f"w{i}"] = coded(rng, (k, n))
            nodes.append(Node("MatMul", f"fc{i}", (last, f"w{i}"), (f"h{i}",)))
        nodes.append(Node(activation, f"act{i}", (f"h{i}",), (f"a{i}",)))
        last = f"a{i}"
    return chain(nodes, (sizes[0],), weights)


def cnn(rng, filters, units, flatten=("Flatten", {"axis": 1}), activation="Relu"):
    """Two convolutions, pooled and flattened, and two matrices: a small LeNet-5."""
    a, b = filters
    weights = {"w0": coded(rng, (a, 2, 3, 3)), "b0": coded(rng, (a,)), "w1": coded(rng, (b, a, 3, 3))}
    weights |= {"w2": coded(rng, (units, b * 4)), "b2": coded(rng, (units,)), "w3": coded(rng, (3, units))}
    nodes = [
        Node("Conv", "conv0", ("x", "w0", "b0"), ("c0",), CONV),
        Node("MaxPool", "pool0", ("c0",), ("p0",), POOL),
        Node("Conv", "conv1", ("p0", "w1"), ("c1",), CONV),
        Node(activation, "act1", ("c1",), ("a1",)),
        Node("AveragePool", "pool1", ("a1",), ("p1",), {"kernel_shape": (2, 2)}),
        Node(flatten[0], "flat", ("p1",), ("f",), flatten[1]),
        Node("Gemm", "fc2", ("f", "w2", "b2"), ("h2",), {"transB": 1}),
        Node("LeakyRelu", "act2", ("h2",), ("a2",), {"alpha": 0.5}),
        Node("Gemm", "fc3", ("a2", "w3"), ("y",), {"transB": 1}),
    ]
    return chain(nodes, (2, 12, 12), weights)


@st.composite
def networks(draw):
    """A small perceptron or convolutional network whose sums are exact, and an input."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if draw(st.booleans()):
        net = mlp(rng, draw(st.lists(st.integers(1, 9), min_size=3, max_size=5)))
    else:
        flatten = draw(st.sampled_from([("Flatten", {"axis": 1}), ("Reshape", {"shape": (0, -1)})]))
        net = cnn(rng, draw(st.tuples(st.integers(1, 5), st.integers(1, 5))), draw(st.integers(1, 6)), flatten)
    extents = net.graph.inputs[0].shape[1:]
    return net, rng.integers(-2, 3, (2, *extents)).astype(np.float32)


@settings(deadline=None, max_examples=20)
@given(networks(), st.booleans())
def test_same_function_never_larger(problem, drop):
    """Reference and engine give equal outputs (sums are exact), an order never costs bytes, the count is kept."""
    net, x = problem
    arranged = ls.arrange(net, drop=drop)
    (want,) = reference.run(net, {"x": x}).values()
    (got,) = reference.run(arranged, {"x": x}).values()
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ls.compile(arranged, threads=1)(x), ls.compile(net, threads=1)(x))
    assert arranged.parameters == net.parameters
    assert arranged.dense_bytes == net.dense_bytes
    if not drop:
        assert arranged.dropped == 0
        assert index_bytes(arranged) <= index_bytes(net)


@settings(deadline=None, max_examples=10)
@given(networks())
def test_no_dead_unit_is_left(problem):
    """No unit that nothing reads or that is always zero is left, unless it is the last of its layer; again: nothing."""
    arranged = ls.arrange(problem[0])
    shapes = {name: weight.shape for name, weight in arranged.weights.items()}
    for units in hidden_units(arranged.graph, shapes):
        made = np.moveaxis(arranged.weights[units.weight].to_dense(), units.weight_axis, 0).reshape(units.count, -1)
        read = np.moveaxis(arranged.weights[units.reader].to_dense(), units.reader_axis, 0).reshape(units.count, -1)
        speaks = made.any(axis=1)
        if units.bias:
            speaks |= arranged.weights[units.bias].to_dense() != 0
        assert units.count == 1 or (speaks & read.any(axis=1)).all()
    assert ls.arrange(arranged).dropped == arranged.dropped


@settings(deadline=None, max_examples=8)
@given(networks())
def test_deterministic_and_stored(problem):
    """Arranged twice: equal networks and equal bytes; a file tells how many parameters were dropped."""
    net, _ = problem
    arranged = ls.arrange(net)
    assert arranged == ls.arrange(net)
    loaded = ls.load(pack(arranged))
    assert loaded.dropped == arranged.dropped
    assert loaded.dense_bytes == net.dense_bytes
    assert ls.inspect(pack(arranged), verify=True).canonical


def two_layers(activation, bias):
    """Three units: one alive, one without incoming weights, one without outgoing ones."""
    nodes = [
        Node("Gemm", "fc0", ("x", "w0", "b0"), ("h",), {"transB": 1}),
        Node(activation, "act", ("h",), ("a",)),
        Node("Gemm", "fc1", ("a", "w1"), ("y",), {"transB": 1}),
    ]
    weights = {"w0": [[1, 2], [0, 0], [3, 4]], "b0": [1, bias, 1], "w1": [[5, 6, 0]]}
    return chain(nodes, (2,), {name: Dense(np.array(value, np.float32)) for name, value in weights.items()})


@pytest.mark.parametrize(
    ("activation", "bias", "kept"), [("Relu", 0, 1), ("Tanh", 0, 1), ("Relu", 2, 2), ("Sigmoid", 0, 2)]
)
def test_what_is_dead(activation, bias, kept):
    """A unit nothing reads is dead; one without incoming weights only if bias and activation leave it at zero."""
    net = two_layers(activation, bias)
    arranged = ls.arrange(net)
    assert arranged.weights["w0"].shape == (kept, 2)
    assert arranged.weights["b0"].shape == (kept,)
    assert arranged.weights["w1"].shape == (1, kept)
    assert arranged.dropped == 4 * (3 - kept)
    assert ls.arrange(net, drop=False).dropped == 0


def test_a_dead_layer_keeps_one_unit():
    """A layer of dead units keeps one, so that every shape stays valid."""
    net = mlp(np.random.default_rng(0), (4, 5, 6, 2))
    silent = {name: Dense(np.zeros(weight.shape, np.float32)) for name, weight in net.weights.items()}
    arranged = ls.arrange(Network(net.graph, silent))
    assert [
        units.count for units in hidden_units(arranged.graph, {n: w.shape for n, w in arranged.weights.items()})
    ] == [
        1,
        1,
    ]


GEMM = {"transB": 1}
OTHERS_SEE = {
    "a residual sum": [
        Node("Gemm", "a", ("x", "w0"), ("h",), GEMM),
        Node("Gemm", "b", ("h", "w1"), ("g",), GEMM),
        Node("Add", "c", ("g", "h"), ("y",)),
    ],
    "shared weights": [Node("Gemm", "a", ("x", "w0"), ("h",), GEMM), Node("Gemm", "b", ("h", "w0"), ("y",), GEMM)],
    "a softmax": [
        Node("Gemm", "a", ("x", "w0"), ("h",), GEMM),
        Node("Softmax", "s", ("h",), ("g",), {"axis": 1}),
        Node("Gemm", "b", ("g", "w1"), ("y",), GEMM),
    ],
}


@pytest.mark.parametrize("case", OTHERS_SEE)
def test_what_others_see_is_left_alone(case):
    """Units that more than one node reads, that share weights or meet one another are not hidden."""
    nodes = OTHERS_SEE[case]
    names = {name for node in nodes for name in node.inputs if name[0] == "w"}
    net = chain(nodes, (4,), {name: Dense(np.diag(np.array([0, 1, 2, 0], np.float32))) for name in sorted(names)})
    assert ls.arrange(net) == net


def test_grouped_convolution_is_left_alone():
    """The channels that a grouped convolution makes or reads keep their order and number."""
    zeros = Dense(np.zeros((4, 2, 3, 3), np.float32))
    nodes = [
        Node("Conv", "a", ("x", "w0"), ("h",), {**CONV, "group": 2}),
        Node("Conv", "b", ("h", "w1"), ("y",), {**CONV, "group": 2}),
    ]
    net = chain(nodes, (4, 9, 9), {"w0": zeros, "w1": zeros})
    assert ls.arrange(net) == net


@settings(deadline=None)
@given(coded_weights(), st.data())
def test_select_is_take(weight, data):
    """Selecting slices of a coded weight selects the slices of its dense value, and keeps kind and codebook."""
    if not weight.shape or math.prod(weight.shape) == 0:
        return
    axis = data.draw(st.integers(0, len(weight.shape) - 1))
    order = data.draw(st.lists(st.integers(0, weight.shape[axis] - 1), unique=True))
    selected = select(weight, axis, np.array(order, np.int64))
    want = weight.to_dense().take(np.array(order, np.int64), axis)
    assert selected.to_dense().tobytes() == want.tobytes()
    assert selected.shape == want.shape
    assert type(selected) is type(weight)
    assert selected.describe() == weight.describe()


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_every_order_is_a_permutation(count, seed):
    """Each way to order units names each unit once."""
    rng = np.random.default_rng(seed)
    rows = rng.random((2, count, 7)) < 0.3
    for order in orders(rows[0], rows[1]):
        assert sorted(order) == list(range(count))


@pytest.mark.parametrize("dropped", [-1, 2**48])
def test_impossible_number_of_dropped_parameters(dropped):
    """A network cannot have lost fewer than no parameter, nor more than a file can tell."""
    net = two_layers("Relu", 0)
    with pytest.raises(GraphError, match="parameters were dropped"):
        Network(net.graph, net.weights, dropped=dropped)
