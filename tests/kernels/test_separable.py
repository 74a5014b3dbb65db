"""A depthwise convolution and a 1x1 one as one kernel: against the reference, and where a plan joins the two."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_kernel import names, run

import lissome as ls
from engine_problems import assert_close, uniform
from lissome.errors import GraphError, UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.runtime import kernels, layout, reference, separable
from lissome.runtime.layout import blocked
from lissome.runtime.native import native
from lissome.weights import Dense

pytestmark = pytest.mark.native

KERNELS = names("conv_f32_separable")
BOUNDS = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "clip": (-0.25, 0.5)}
_windows = st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 2)] * 2, *[st.integers(0, 3)] * 4)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**31), st.sampled_from(sorted(BOUNDS)), st.booleans())
def test_any_shape_gives_the_outputs_of_the_two(kernel, data, seed, activation, added):
    """Whatever the window, the channels, the rows of a tile and the width of a panel."""
    n, c, h, w, r, s, k = (data.draw(st.integers(1, most)) for most in (2, 35, 12, 40, 5, 5, 70))
    try:
        first = ConvShape(n, c, h, w, c, r, s, c, *data.draw(_windows))
    except GraphError:
        assume(False)
    second = ConvShape(n, c, first.p, first.q, k, 1, 1)
    rows, vectors = data.draw(st.integers(1, first.p)), data.draw(st.integers(1, 4))
    rng, lanes = np.random.default_rng(seed), kernels.blocks(kernel)[0]
    x, filters, bias = uniform(rng, n, c, h, w), uniform(rng, c, 1, r, s), uniform(rng, c)
    points, offset, residual = uniform(rng, k, c, 1, 1), uniform(rng, k), uniform(rng, n, k, first.p, first.q)
    low, high = BOUNDS[activation]

    packed = native.pack_separable(
        filters.reshape(-1), bias, first.values(), points.reshape(-1), second.values(), lanes, vectors
    )
    inputs = [layout.to_blocked(array, lanes) for array in (x, residual)[: 2 if added else 1]]
    builder, out = native.Builder(), blocked((n, k, first.p, first.q), lanes)
    numbers = [builder.input(array.size, number) for number, array in enumerate(inputs)]
    ints = (*first.values(), k, vectors, rows)
    builder.step(
        kernel, numbers, [builder.output(math.prod(out), 0)], ints, [low, high], packed, offset, ("relu", 0, 0)
    )
    got = layout.to_plain(run(builder, inputs, out, 2), k, lanes)

    exact = [array.astype(np.float64) for array in (x, filters, points)]
    between = np.clip(reference.conv(exact[0], exact[1], bias, first), low, high)
    want = reference.conv(between, exact[2], offset, second) + (residual if added else 0)
    most = reference.conv(np.abs(exact[0]), np.abs(exact[1]), np.abs(bias), first) + (
        0.5 if activation == "clip" else 0
    )
    magnitude = reference.conv(most, np.abs(exact[2]), np.abs(offset), second) + (np.abs(residual) if added else 0)
    assert_close(got, np.maximum(want, 0), magnitude, r * s + c + 8, f"{kernel} {first} {k} {rows} {vectors}")


def _net(channels=40, extent=60, *, read_twice=False):
    """From x by 1x1 to h, depthwise, Relu6, 1x1, + h; `read_twice`: what lies between is an output as well."""
    rng = np.random.default_rng(3)
    weights = {
        "d": uniform(rng, channels, 1, 3, 3),
        "b": uniform(rng, channels),
        "t": uniform(rng, channels, channels, 1, 1),
        "p": uniform(rng, channels, channels, 1, 1),
    }
    pads = {"kernel_shape": (3, 3), "pads": (1, 1, 1, 1), "group": channels}
    nodes = (
        Node("Conv", "top", ("x", "t"), ("h",), {"kernel_shape": (1, 1)}),
        Node("Conv", "dw", ("h", "d", "b"), ("u",), pads),
        Node("Clip", "act", ("u",), ("v",), {"min": 0.0, "max": 6.0}),
        Node("Conv", "pw", ("v", "p"), ("z",), {"kernel_shape": (1, 1)}),
        Node("Add", "add", ("z", "h"), ("y",)),
    )
    outputs = ("y", "v") if read_twice else ("y",)
    graph = Graph(nodes, (TensorSpec("x", ("N", channels, extent, extent)),), outputs, tuple(weights))
    return ls.Network(graph, {name: Dense(value) for name, value in weights.items()})


@pytest.mark.parametrize("isa", kernels.instruction_sets())
def test_a_plan_joins_the_two_when_asked(isa):
    """One step stands for all four nodes, says why, and gives the reference's output."""
    net, x = _net(), uniform(np.random.default_rng(1), 2, 40, 60, 60)
    engine = ls.compile(net, threads=2, isa=isa, kernels={"pw": "separable"})
    (line,) = [line for line in engine.explain(repeats=1).splitlines() if "separable" in line]
    assert line.startswith("dw + act + pw + add")
    assert "stays in the cache" in line
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["y"], rtol=1e-4, atol=1e-4)


def test_the_model_joins_only_what_pays():
    """Large images between few filters are joined unasked; small ones, and those of other algorithms asked for, not."""
    joined = lambda net, **options: "separable" in ls.compile(net, threads=1, **options).explain(repeats=1)  # noqa: E731
    assert joined(_net())
    assert not joined(_net(extent=9))
    assert not joined(_net(), kernels={"dw": "depthwise"})
    assert not joined(_net(), kernels={"pw": "direct"})
    assert not joined(_net(read_twice=True))


def test_what_cannot_be_joined_is_refused():
    """Asked for where something else reads what lies between, or where no depthwise convolution comes before."""
    with pytest.raises(UnsupportedShape, match="'pw': separable cannot do it"):
        ls.compile(_net(read_twice=True), kernels={"pw": "separable"})
    with pytest.raises(UnsupportedShape, match="'dw': separable cannot do it"):
        ls.compile(_net(), kernels={"dw": "separable"})


def _build(builder, kernel, ends, ints, packed):
    builder.step(kernel, *ends, ints, [0.0, 1.0], packed)
    builder.build([1])


def test_weights_of_other_layers_are_refused():
    """Rows beyond the image, panels of another width, and weights packed for other channels are no step."""
    kernel, isa = KERNELS[0], KERNELS[0].rpartition("_")[2]
    pair = separable.Pair(ConvShape(1, 8, 6, 6, 8, 3, 3, 8), ConvShape(1, 8, 4, 4, 5, 1, 1), isa)
    packed = pair.pack(Dense(np.ones((8, 1, 3, 3), np.float32)), None, Dense(np.ones((5, 8, 1, 1), np.float32)))
    lanes = kernels.lanes(isa)
    sizes = [math.prod(blocked(extents, lanes)) for extents in ((1, 8, 6, 6), (1, 5, 4, 4))]
    ints = (*pair.depthwise.values(), 5, pair.vectors, 2)
    for wrong in ((*ints[:18], 5), (*ints[:17], pair.vectors % 4 + 1, 2), (*ints[:16], 6, *ints[17:])):
        builder = native.Builder()
        ends = [builder.input(sizes[0], 0)], [builder.output(sizes[1], 0)]
        with pytest.raises(ValueError, match=r"weights|tile|another size"):
            _build(builder, kernel, ends, wrong, packed)
