"""Shape arithmetic: against the native twin, against torch, and against graphs that contradict themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine_problems import chain, single
from lissome.errors import GraphError, UnsupportedShape
from lissome.graph import Graph, Node, TensorSpec, shapes
from lissome.graph.conv_shape import ConvShape, GemmShape, PoolShape
from lissome.runtime.native import native
from lissome.weights import Dense

_NUMBER = st.one_of(st.integers(1, 12), st.sampled_from([0, -1, 2**31 - 1, 2**31, 2**63 - 1]))
_SIXTEEN = st.lists(st.integers(1, 9), min_size=16, max_size=16)


def _twin(make, native_extents, values):
    """Extents by Python, or None where it refuses; the native side must agree."""
    try:
        shape = make(*values)
    except GraphError:
        return None
    assert native_extents(values) == (shape.p, shape.q)
    return shape


@settings(max_examples=200, deadline=None)
@given(_SIXTEEN, st.integers(1, 3), st.data())
def test_the_native_twin_agrees(values, groups, data):
    """Python and C++ give the same output extents for every convolution and pooling, or both refuse."""
    values[1] *= groups
    values[4] *= groups
    values[7] = groups
    if data.draw(st.booleans()):
        values[data.draw(st.integers(0, 15))] = data.draw(_NUMBER)
    if _twin(ConvShape, native.conv_extents, values) is None:
        with pytest.raises((ValueError, TypeError)):
            native.conv_extents(values)
    window = [*values[:4], *values[5:7], *values[8:], data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))]
    if _twin(PoolShape, native.pool_extents, window) is None:
        with pytest.raises((ValueError, TypeError)):
            native.pool_extents(window)


@settings(max_examples=30, deadline=None)
@given(
    st.tuples(st.integers(3, 20), st.integers(3, 20)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.booleans(),
)
def test_torch_agrees(image, window, strides, ceil_mode):
    """Output extents of convolution and of pooling with ceil_mode are torch's."""
    torch = pytest.importorskip("torch")
    import torch.nn.functional as F

    pads = tuple(extent // 2 for extent in window)
    x = torch.zeros(1, 1, *image)
    y = F.max_pool2d(x, window, strides, pads, ceil_mode=ceil_mode)
    shape = PoolShape(1, 1, *image, *window, *strides, 1, 1, *pads, *pads, int(ceil_mode))
    assert (shape.p, shape.q) == tuple(y.shape[2:])
    y = F.conv2d(x, torch.zeros(1, 1, *window), None, strides, pads)
    conv = ConvShape(1, 1, *image, 1, *window, 1, *strides, 1, 1, *pads, *pads)
    assert (conv.p, conv.q) == tuple(y.shape[2:])


def test_multiply_adds_by_hand():
    """Those of LeNet-5: 288,000 in conv1, 1,600,000 in conv2, 400,000 in fc1; groups divide them."""
    assert ConvShape(1, 1, 28, 28, 20, 5, 5).macs == 20 * 24 * 24 * 25 == 288_000
    assert ConvShape(1, 20, 12, 12, 50, 5, 5).macs == 50 * 8 * 8 * 20 * 25 == 1_600_000
    assert ConvShape(2, 4, 3, 3, 6, 3, 3, 2).macs == 2 * 6 * 1 * 2 * 9
    assert GemmShape(1, 500, 800).macs == 400_000


def test_every_tensor_of_a_graph_has_its_shape():
    """The batch takes the place of N, and each operator's rule gives the shape ONNX says."""
    nodes = [
        Node("Conv", "c", ("x", "w"), ("c",), {"strides": (2, 1), "pads": (1, 0, 1, 2)}),
        Node("MaxPool", "m", ("c",), ("m",), {"kernel_shape": (2, 3), "strides": (2, 2), "ceil_mode": 1}),
        Node("GlobalAveragePool", "g", ("m",), ("g",)),
        Node("Flatten", "f", ("g",), ("f",)),
        Node("Reshape", "r", ("m",), ("r",), {"shape": (0, -1, 2)}),
        Node("Softmax", "s", ("f",), ("s",)),
    ]
    net = chain(nodes, (3, 9, 10), {"w": Dense(np.zeros((4, 3, 3, 3), np.float32))})
    found = {name: spec.shape for name, spec in shapes.infer(net.graph, {"w": (4, 3, 3, 3)}, 7).items()}
    assert found == {
        "x": (7, 3, 9, 10),
        "w": (4, 3, 3, 3),
        "c": (7, 4, 5, 10),
        "m": (7, 4, 3, 5),
        "g": (7, 4, 1, 1),
        "f": (7, 4),
        "r": (7, 30, 2),
        "s": (7, 4),
    }


W4 = Dense(np.zeros((4, 3, 3, 3), np.float32))
B4 = Dense(np.zeros(4, np.float32))

CONTRADICTIONS = [
    ("Conv", (3, 9), {"w": W4}, {}, "1-D and 2-D"),
    ("Conv", (3, 9, 9), {"w": Dense(np.zeros((4, 3, 3), np.float32))}, {}, "1-D and 2-D"),
    ("Conv", (2, 9, 9), {"w": W4}, {}, "does not fit input"),
    ("Conv", (3, 9, 9), {"w": W4}, {"kernel_shape": (3, 2)}, "does not fit input"),
    ("Conv", (3, 9, 9), {"w": W4}, {"group": 0}, "does not fit input"),
    ("Conv", (3, 9, 9), {"w": W4}, {"group": -1}, "does not fit input"),
    ("Conv", (6, 9, 9), {"w": W4, "b": Dense(np.zeros(5, np.float32))}, {"group": 2}, "bias"),
    ("Conv", (9, 9, 9), {"w": W4}, {"group": 3}, "do not divide"),
    ("Conv", (3, 9, 9), {"w": W4}, {"strides": (0, 1)}, "at least 1"),
    ("Conv", (3, 9, 9), {"w": W4}, {"strides": (1, 1, 1)}, "strides"),
    ("Conv", (3, 9, 9), {"w": W4}, {"strides": 2}, "strides"),
    ("Conv", (3, 9, 9), {"w": W4}, {"pads": (-1, 0, 0, 0)}, "at least 0"),
    ("Conv", (3, 9, 9), {"w": W4}, {"pads": (2**30, 2**30, 2**30, 2**30)}, "elements"),
    ("Conv", (3, 9, 9), {"w": W4}, {"dilations": (5, 5)}, "does not fit its padded input"),
    ("Conv", (3, 9, 9), {"w": W4}, {"auto_pad": "SAME_UPPER"}, "auto_pad"),
    ("Conv", (3, 9, 9), {"w": Dense(np.zeros((4, 3, 0, 3), np.float32))}, {}, "empty layer"),
    ("Gemm", (5,), {"w": Dense(np.zeros((4, 6), np.float32))}, {"transB": 1}, "does not fit input"),
    ("Gemm", (5,), {"w": Dense(np.zeros((4, 5), np.float32))}, {"transB": 1, "alpha": "0.5"}, "not a number"),
    ("Gemm", (5, 5), {"w": Dense(np.zeros((4, 5), np.float32))}, {"transB": 1}, "must be matrices"),
    ("Gemm", (5,), {"w": Dense(np.zeros((3, 5), np.float32)), "b": B4}, {"transB": 1}, "bias"),
    ("MaxPool", (3, 9, 9), {}, {}, "kernel_shape"),
    ("MaxPool", (3, 9, 9), {}, {"kernel_shape": (10, 1)}, "does not fit"),
    ("MaxPool", (3, 9, 9), {}, {"kernel_shape": (2, 2), "pads": (2, 0, 0, 0)}, "not smaller than the window"),
    ("AveragePool", (3, 9, 9), {}, {"kernel_shape": (2, 2), "count_include_pad": 2}, "0 or 1"),
    ("AveragePool", (9,), {}, {"kernel_shape": (2,)}, "1-D and 2-D"),
    ("BatchNormalization", (3, 9), dict.fromkeys("abcd", B4), {}, "statistics"),
    ("BatchNormalization", (4,), dict.fromkeys("abcd", B4), {"epsilon": -1.0}, "epsilon"),
    ("Softmax", (3,), {}, {"axis": 2}, "axis"),
    ("Flatten", (3,), {}, {"axis": 3}, "axis"),
    ("Reshape", (6,), {}, {"shape": (0, 4)}, "cannot make"),
    ("Reshape", (6,), {}, {"shape": (0, -1, -1)}, "cannot make"),
    ("Reshape", (6,), {}, {}, "attribute 'shape'"),
    ("Add", (3,), {"w": B4}, {}, "do not broadcast"),
    ("Relu", (3,), {"w": B4}, {}, "takes 1 to 1 inputs"),
]


@pytest.mark.parametrize(("op", "shape", "weights", "attributes", "message"), CONTRADICTIONS)
def test_contradictions_are_named(op, shape, weights, attributes, message):
    """A graph that contradicts itself is one error that says where and why."""
    net = single(op, shape, weights, **attributes)
    with pytest.raises((GraphError, UnsupportedShape), match=message):
        shapes.infer(net.graph, {name: weight.shape for name, weight in net.weights.items()}, 2)


def test_unknown_operators_are_listed_together():
    """One error lists every operator that the engine lacks, with the nodes that use it."""
    nodes = (Node("Einsum", "e1", ("x",), ("a",)), Node("Relu", "r", ("a",), ("b",)), Node("Loop", "l", ("b",), ("c",)))
    graph = Graph((*nodes, Node("Einsum", "e2", ("c",), ("y",))), (TensorSpec("x", ("N", 2)),), ("y",))
    with pytest.raises(UnsupportedShape, match=r"Einsum \(node 'e1', 'e2'\); Loop \(node 'l'\)"):
        shapes.infer(graph, {}, 1)


@pytest.mark.parametrize("batch", [0, -1, 2**31, 2**40])
def test_impossible_batches(batch):
    """A batch of none, or of more than an array can hold, is refused."""
    with pytest.raises((UnsupportedShape, GraphError)):
        shapes.infer(single("Relu", (4,)).graph, {}, batch)


def test_inputs_of_another_dtype_and_outputs_listed_twice():
    """The engine computes in float32, and gives every output once."""
    node = Node("Relu", "r", ("x",), ("y",))
    with pytest.raises(UnsupportedShape, match="uint8"):
        shapes.infer(Graph((node,), (TensorSpec("x", ("N",), "uint8"),), ("y",)), {}, 1)
    with pytest.raises(GraphError, match="listed twice"):
        shapes.infer(Graph((node,), (TensorSpec("x", ("N",)),), ("y", "y")), {}, 1)
