"""Algorithms of all convolutions together, in the memory that the caller allows."""

import numpy as np
import pytest

import lissome as ls
from lissome.graph.conv_shape import ConvShape
from lissome.graph.ir import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.runtime import kernels, reference
from lissome.runtime.algorithms import ALGORITHMS, Layer, dense_bytes
from lissome.runtime.budget import within
from lissome.weights import Dense

ISA = kernels.resolve_isa(None)
BY_NAME = {algorithm.name: algorithm for algorithm in ALGORITHMS}
EARLY = ConvShape(1, 64, 56, 56, 64, 3, 3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1)
LATE = ConvShape(1, 256, 14, 14, 256, 3, 3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1)
LAYERS = {name: Layer(shape, 1.0, ISA) for name, shape in (("early", EARLY), ("late", LATE), ("later", LATE))}
ALL = sum(dense_bytes(layer) for layer in LAYERS.values())


def grown(chosen):
    """Bytes that the chosen algorithms take beyond dense weights."""
    return sum(BY_NAME[name].memory(LAYERS[node]) for node, name in chosen.items()) - ALL


@pytest.mark.parametrize("share", [0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 10.0])
def test_what_is_chosen_fits(share):
    """Packed weights grow by no more than the room, and with room for all each layer has its cheapest."""
    chosen = within(LAYERS, {}, share * ALL)
    assert grown(chosen) <= share * ALL
    if share == 10:
        for node, layer in LAYERS.items():
            least = min(a.cost(layer) for a in ALGORITHMS if not a.refuses(layer))
            assert BY_NAME[chosen[node]].cost(layer) == least


def test_more_room_is_never_slower():
    """The model's time of the whole falls as the room grows."""
    times = []
    for share in np.linspace(0, 5, 21):
        chosen = within(LAYERS, {}, share * ALL)
        times.append(sum(BY_NAME[name].cost(LAYERS[node]) for node, name in chosen.items()))
    assert times == sorted(times, reverse=True)
    assert times[-1] < times[0]


def test_early_layers_come_first():
    """A little room goes to the layer whose small filters meet a large image."""
    chosen = within(LAYERS, {}, 0.1 * ALL)
    assert chosen["early"].startswith("winograd")
    assert not chosen["late"].startswith("winograd")


def test_what_is_asked_for_stays_and_counts():
    """An algorithm asked for by name takes its memory, even where that leaves none for others."""
    chosen = within(LAYERS, {"late": "winograd_4x3"}, 0.1 * ALL)
    assert chosen["late"] == "winograd_4x3"
    assert not chosen["early"].startswith("winograd")


def network():
    nodes = tuple(
        Node("Conv", f"c{i}", (x, f"w{i}"), (f"t{i}",), {"pads": (1, 1, 1, 1)}) for i, x in enumerate(("x", "t0", "t1"))
    )
    graph = Graph(nodes, (TensorSpec("x", ("N", 32, 24, 24)),), ("t2",), ("w0", "w1", "w2"))
    rng = np.random.default_rng(0)
    weights = {f"w{i}": Dense((rng.standard_normal((32, 32, 3, 3)) / 17).astype(np.float32)) for i in range(3)}
    return Network(graph, weights)


def packed_bytes(engine):
    return sum(step.weights.nbytes for step in engine._plan(1).steps if step.weights)


@pytest.mark.parametrize("memory", [1, 1.7, 3.5])
def test_an_engine_keeps_to_it(memory):
    """Packed weights take at most so many times the dense ones, explain() says why, and results are right."""
    net, x = network(), np.random.default_rng(1).standard_normal((1, 32, 24, 24)).astype(np.float32)
    engine = ls.compile(net, memory=memory)
    assert packed_bytes(engine) <= memory * net.dense_bytes
    assert "cheapest in the memory allowed" in engine.explain(repeats=1)
    np.testing.assert_allclose(engine(x), reference.run(net, {"x": x})["t2"], atol=1e-4)
    assert engine(np.concatenate([x, x])).shape == (2, 32, 24, 24)


def test_impossible_bounds_are_refused():
    """Less than the weights themselves, no number, or a bound on what is measured: one clear error each."""
    net = network()
    for memory in (0.9, float("nan"), -1):
        with pytest.raises(ValueError, match="at least 1"):
            ls.compile(net, memory=memory)
    with pytest.raises(ValueError, match="what the cost model takes"):
        ls.compile(net, memory=2, tune="quick")
