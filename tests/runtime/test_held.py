"""A weight that an engine has packed is the same weight still, and is in memory once."""

import gc
import weakref

import numpy as np
import pytest

import lissome as ls
from lissome.graph.conv_shape import ConvShape, GemmShape
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.runtime import kernels, reference
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.runtime.held import Held, PackedWeight
from lissome.weights import Codebook, Dense

GRAPH = Graph((Node("Relu", "relu", ("x",), ("y",)),), (TensorSpec("x", ("N", 1)),), ("y",))
ISA = kernels.resolve_isa(None)
SHAPES = (
    ConvShape(1, 20, 9, 8, 35, 3, 3, pad_top=1, pad_left=1),
    ConvShape(1, 3, 9, 8, 5, 5, 5),
    ConvShape(1, 64, 6, 6, 96, 3, 3, groups=2),
    ConvShape(1, 20, 6, 6, 20, 3, 3, groups=20),
)


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


ABLE = [(a.name, a, s) for s in SHAPES for a in ALGORITHMS if not a.refuses(Layer(s, 1.0, ISA))]


@pytest.mark.parametrize(("algorithm", "shape"), [case[1:] for case in ABLE], ids=[case[0] for case in ABLE])
def test_the_packed_form_gives_the_weight_back(algorithm, shape):
    """Every dense form of a convolution's weight holds each of its values, bit by bit; sparse forms leave it alone."""
    held = Held(GRAPH, {"w": Dense(random(shape.k, shape.c // shape.groups, shape.r, shape.s))})
    before = held.weights["w"]

    def pack(weight):
        return algorithm.pack(weight, shape, algorithm.kernel(ISA))

    held.let_go("w", pack(before), pack)
    assert isinstance(held.weights["w"], Dense if algorithm.sparse else PackedWeight)
    np.testing.assert_array_equal(held.weights["w"].to_dense(), before.to_dense())
    assert held.weights["w"].shape == before.shape


@pytest.mark.parametrize("transposed", [False, True])
def test_so_does_that_of_a_linear_layer(transposed):
    """More elements than one digit of a place tells, and a last panel that is not full."""
    weight = Dense(random(75, 130))
    n, k = weight.shape if transposed else weight.shape[::-1]
    held = Held(GRAPH, {"w": weight})

    def pack(coded):
        shape = GemmShape(1, n, k)
        return kernels.pack_gemm(coded, shape, kernels.choose_gemm(shape, 1.0, ISA), transposed=transposed)

    held.let_go("w", pack(weight), pack)
    assert isinstance(held.weights["w"], PackedWeight)
    np.testing.assert_array_equal(held.weights["w"].to_dense(), weight.values)


def network():
    nodes = (
        Node("Conv", "conv", ("x", "w"), ("a",), {"pads": (1, 1, 1, 1)}),
        Node("Flatten", "flat", ("a",), ("b",), {"axis": 1}),
        Node("MatMul", "fc", ("b", "v"), ("y",)),
    )
    graph = Graph(nodes, (TensorSpec("x", ("N", 16, 8, 8)),), ("y",), ("w", "v"))
    return Network(graph, {"w": Dense(random(32, 16, 3, 3) / 9), "v": Dense(random(32 * 64, 10) / 32)})


def test_a_plan_that_packs_otherwise_still_has_the_weight():
    """Another instruction set's form, made from the first one's, computes what the network says."""
    net, x = network(), random(3, 16, 8, 8)
    held = Held.of(net)
    want = reference.run(net, {"x": x})["y"]
    for isa in kernels.instruction_sets():
        got = ls.Engine(held, isa=isa)(x)
        np.testing.assert_allclose(got, want, atol=1e-4)
        assert all(isinstance(weight, PackedWeight) for weight in held.weights.values())


def test_a_network_that_nobody_keeps_is_held_once():
    """Compiling a path, or a network given away, leaves no dense weight behind; one that is kept is not changed."""
    kept = network()
    values = weakref.ref(kept.weights["v"])
    engine = ls.compile(kept)
    assert isinstance(kept.weights["v"], Dense)
    del kept
    gc.collect()
    assert values() is None
    assert engine(random(1, 16, 8, 8)).shape == (1, 10)


def test_a_coded_weight_stays_coded():
    """What is smaller than its packed form is no burden, and other plans may need its codes."""
    codes = Codebook(np.arange(12, dtype=np.uint8).reshape(3, 4) % 5, np.arange(1, 6, dtype=np.float32))
    held = Held(GRAPH, {"w": codes})

    def pack(weight):
        shape = GemmShape(1, 3, 4)
        return kernels.pack_gemm(weight, shape, kernels.choose_gemm(shape, 1.0, ISA), transposed=True)

    held.let_go("w", pack(codes), pack)
    assert held.weights["w"] is codes
