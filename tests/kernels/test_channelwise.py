"""The depthwise convolution of plain tensors against the reference, and which tensors of a network lie plain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from one_kernel import conv, names

import lissome as ls
from engine_problems import assert_close, uniform
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.runtime import reference
from lissome.weights import Dense

pytestmark = pytest.mark.native

KERNELS = names("conv_f32_channelwise")


def _check(kernel, shape, x, activation):
    rng = np.random.default_rng(shape.h)
    weight, bias = uniform(rng, shape.k, 1, shape.r, shape.s), uniform(rng, shape.k)
    with np.errstate(all="ignore"):
        want = reference.conv(x.astype(np.float64), weight.astype(np.float64), bias, shape)
        magnitude = reference.conv(np.abs(x.astype(np.float64)), np.abs(weight.astype(np.float64)), np.abs(bias), shape)
        want = {"none": want, "relu": np.maximum(want, 0), "clip": np.clip(want, -0.25, 0.5)}[activation]
    got = conv(kernel, x, Dense(weight), bias, shape, activation=(activation, -0.25, 0.5), workers=2)
    assert_close(got, want, magnitude, shape.depth + 2, f"{kernel} {shape}")


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_of_any_shape(kernel, data):
    """3x3 and 5x5 filters, stride 1 and 2, any padding, planes below and above a vector and a tile of rows."""
    r, stride = data.draw(st.sampled_from([3, 5])), data.draw(st.integers(1, 2))
    n, c, h, w = data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(r, 20), st.integers(r, 40)))
    pads = data.draw(st.tuples(*[st.integers(0, 4)] * 4))
    shape = ConvShape(n, c, h, w, c, r, r, c, stride, stride, 1, 1, *pads)
    x = uniform(np.random.default_rng(7), n, c, h, w)
    _check(kernel, shape, x, data.draw(st.sampled_from(["none", "relu", "clip"])))


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_is_not_finite_stays_in_its_channel(kernel):
    """NaN and infinity reach the outputs whose window sees them and no others."""
    for stride in (1, 2):
        x = uniform(np.random.default_rng(3), 2, 3, 9, 21)
        x[1, 0, 0, 0], x[1, 2, 4, 16] = np.nan, np.inf
        _check(kernel, ConvShape(2, 3, 9, 21, 3, 3, 3, 3, stride, stride, 1, 1, 1, 1, 1, 1), x, "relu")


def _network(density):
    """1x1, depthwise, 1x1, each with an activation, and a sum at the end; weights of the 1x1 ones pruned."""
    rng = np.random.default_rng(1)
    pads = {"pads": (1, 1, 1, 1), "group": 64}
    nodes = (
        Node("Conv", "up", ("x", "w1"), ("a",)),
        Node("Relu", "relu", ("a",), ("b",)),
        Node("Conv", "dw", ("b", "w2"), ("c",), pads),
        Node("Clip", "clip", ("c",), ("d",), {"min": 0.0, "max": 6.0}),
        Node("Conv", "down", ("d", "w3"), ("e",)),
        Node("Add", "add", ("e", "x"), ("y",)),
    )
    weights = {"w1": (64, 32, 1, 1), "w2": (64, 1, 3, 3), "w3": (32, 64, 1, 1)}
    values = {name: uniform(rng, *shape) for name, shape in weights.items()}
    for name in ("w1", "w3"):
        values[name] *= rng.random(values[name].shape) < density
    spec = TensorSpec("x", ("N", 32, 32, 32))
    graph = Graph(nodes, (spec,), ("y",), tuple(weights))
    return ls.Network(graph, {name: Dense(value) for name, value in values.items()})


@pytest.mark.skipif(not any("avx512" in kernel for kernel in KERNELS), reason="only AVX-512 lays tensors plain")
def test_tensors_between_sparse_layers_lie_plain():
    """Between pruned layers nothing is in blocks, between dense ones everything; the answers are the reference's."""
    x = uniform(np.random.default_rng(2), 1, 32, 32, 32)
    for density, kernels in ((0.05, ("sparse", "channelwise", "sparse")), (1.0, ("direct", "depthwise", "direct"))):
        net = _network(density)
        engine = ls.compile(net, isa="avx512")
        ran = [kernel for _, kernel, _ in engine.profile(repeats=1) if kernel.startswith("conv")]
        assert ran == [f"conv_f32_{kernel}_avx512" for kernel in kernels]
        want = ls.compile(net, isa="scalar")(x)
        np.testing.assert_allclose(engine(x), want, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(not any("avx512" in kernel for kernel in KERNELS), reason="only AVX-512 lays tensors plain")
def test_a_named_algorithm_keeps_its_layout():
    """Who asks for an algorithm gets it, and what lies around it is turned over where it has to be."""
    net, x = _network(0.05), uniform(np.random.default_rng(2), 1, 32, 32, 32)
    asked = {"up": "sparse_blocks", "dw": "depthwise", "down": "sparse_to_plain"}
    engine = ls.compile(net, isa="avx512", kernels=asked)
    ran = [kernel for _, kernel, _ in engine.profile(repeats=1) if kernel.startswith("conv")]
    assert ran == [f"conv_f32_{kernel}_avx512" for kernel in asked.values()]
    np.testing.assert_allclose(engine(x), ls.compile(net, isa="scalar")(x), rtol=1e-4, atol=1e-5)
