"""Concatenations and splits: which are views, and that all are right."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from engine_problems import chain, uniform
from lissome.graph import Node
from lissome.runtime import kernels, reference
from lissome.runtime.engine import Engine
from lissome.weights import Dense

pytestmark = pytest.mark.native

ISAS = kernels.instruction_sets()


def conv(name, x, y, weights, channels):
    """A 3 × 3 convolution node, its weight added to `weights`; channels: (out, in)."""
    weights[f"{name}.w"] = Dense(uniform(np.random.default_rng(len(weights)), *channels, 3, 3) / np.float32(9))
    return Node("Conv", name, (x, f"{name}.w"), (y,), {"pads": (1, 1, 1, 1)})


def copies(net, isa, batch=1):
    """How many steps of the plan move elements, by kernel; the engine's output must be the reference's."""
    x = uniform(np.random.default_rng(5), batch, *net.graph.inputs[0].shape[1:])
    engine, want = Engine(net, isa=isa), reference.run(net, {"x": x})
    for name, value in engine.run({"x": x}).items():
        np.testing.assert_allclose(value, want[name], rtol=1e-4, atol=1e-5)
    names = [kernel.rpartition("_")[0] for _, kernel, _ in engine.profile(batch, 1)]
    return Counter(name for name in names if name.startswith(("select", "move", "unary_f32_copy")))


def densenet(channels, layers):
    """A block in which every layer reads all tensors before it."""
    weights = {}
    nodes = [conv("stem", "x", "t0", weights, (channels, 3))]
    for layer in range(1, layers + 1):
        parts = tuple(f"t{i}" for i in range(layer))
        nodes.append(Node("Concat", f"cat{layer}", parts, (f"c{layer}",), {"axis": 1}))
        nodes.append(conv(f"conv{layer}", f"c{layer}", f"t{layer}", weights, (channels, layer * channels)))
    nodes.append(Node("Concat", "all", tuple(f"t{i}" for i in range(layers + 1)), ("c",), {"axis": 1}))
    nodes.append(Node("ReduceMean", "mean", ("c",), ("y",), {"axes": (2, 3), "keepdims": 0}))
    return chain(nodes, (3, 6, 5), weights)


@pytest.mark.parametrize("isa", ISAS)
def test_a_dense_block_grows_in_place(isa):
    """For one sample no tensor is copied, however often it is concatenated; batches are right all the same."""
    net = densenet(16, 4)
    assert copies(net, isa) == Counter()
    copies(net, isa, batch=2)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("channels", [3, 8, 20])
def test_channels_that_are_no_whole_blocks(channels, isa):
    """Concatenations of any numbers of channels are right, in whatever layout the convolutions run."""
    for batch in (1, 3):
        copies(densenet(channels, 2), isa, batch)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("half", [16, 13])
def test_a_shuffled_unit_is_copied_once(half, isa):
    """ShuffleNet: concatenation, shuffle and split are one pass for each half, not three."""
    weights = {}
    order = tuple(int(i) for i in np.arange(2 * half).reshape(2, half).T.reshape(-1))
    nodes = [
        conv("stem", "x", "t", weights, (2 * half, 3)),
        Node("Split", "split", ("t",), ("a", "b"), {"axis": 1}),
        conv("branch", "b", "b1", weights, (half, half)),
        Node("Concat", "cat", ("a", "b1"), ("c",), {"axis": 1}),
        Node("Gather", "shuffle", ("c",), ("s",), {"axis": 1, "indices": order}),
        Node("Split", "again", ("s",), ("d", "e"), {"axis": 1}),
        conv("next", "e", "e1", weights, (half, half)),
        Node("Concat", "last", ("d", "e1"), ("y",), {"axis": 1}),
    ]
    net = chain(nodes, (3, 6, 5), weights)
    assert copies(net, isa)["move_f32"] == 0
    assert sum(copies(net, isa).values()) <= 4


def test_parts_that_cannot_move_are_copied():
    """An input, a weight, a tensor that is part of another already, and one that occurs twice."""
    weights = {"w": Dense(uniform(np.random.default_rng(0), 1, 2, 3, 3))}
    nodes = [
        Node("Relu", "r", ("x",), ("r",)),
        Node("Concat", "one", ("x", "r", "w"), ("c1",), {"axis": 1}),
        Node("Sigmoid", "s1", ("c1",), ("d1",)),
        Node("Concat", "two", ("r", "d1", "r"), ("c2",), {"axis": 1}),
        Node("Sigmoid", "s2", ("c2",), ("y",)),
    ]
    net = chain(nodes, (2, 3, 3), weights)
    x = uniform(np.random.default_rng(1), 1, 2, 3, 3)
    np.testing.assert_allclose(Engine(net)(x), reference.run(net, {"x": x})["y"], rtol=1e-6)


def test_outputs_that_are_parts():
    """Parts and wholes may be outputs of the network, each in an array of its own."""
    nodes = [
        Node("Relu", "r", ("x",), ("r",)),
        Node("Neg", "n", ("x",), ("n",)),
        Node("Concat", "c", ("r", "n"), ("c",), {"axis": 1}),
        Node("Split", "s", ("c",), ("a", "b", "d"), {"axis": 1, "split": (1, 2, 1)}),
    ]
    net = chain(nodes, (2, 3), {})
    graph = type(net.graph)(net.graph.nodes, net.graph.inputs, ("c", "a", "b", "d", "r"))
    net = type(net)(graph, {})
    for batch in (1, 2):
        x = uniform(np.random.default_rng(2), batch, 2, 3)
        got, want = Engine(net).run({"x": x}), reference.run(net, {"x": x})
        for name, value in want.items():
            np.testing.assert_array_equal(got[name], value.astype(np.float32))
