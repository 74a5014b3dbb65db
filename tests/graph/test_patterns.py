"""What exporters write in parts becomes one operator, with the same meaning; what only looks like it stays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lissome.graph import Graph, Node, TensorSpec
from lissome.graph.passes import remove_dead, remove_identities, simplify
from lissome.network import Network
from lissome.runtime import reference
from lissome.weights import Dense

RNG = np.random.default_rng(8)


class Parts:
    """A graph under construction: calls add nodes and return the names of what they make."""

    def __init__(self, *extents):
        self.nodes, self.weights, self.spec = [], {}, TensorSpec("x", ("N", *extents))

    def __call__(self, op, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        names = tuple(self.weight(value) if not isinstance(value, str) else value for value in inputs)
        self.nodes.append(Node(op, f"{op}{len(self.nodes)}", names, (name,), attributes))
        return name

    def weight(self, value):
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value, np.float32)
        return name

    def graph(self, *outputs):
        return Graph(tuple(self.nodes), (self.spec,), outputs, tuple(self.weights))


def simplified(parts, *outputs):
    """Operators of the simplified graph, after a check that its results are those of the parts."""
    graph = parts.graph(*outputs)
    small, values = simplify(graph, parts.weights, {name: value.shape for name, value in parts.weights.items()})
    x = RNG.uniform(-2, 2, (3, *parts.spec.shape[1:]))
    nets = [
        Network(g, {name: Dense(v[name]) for name in g.parameters})
        for g, v in ((graph, parts.weights), (small, values))
    ]
    before, after = (reference.run(net, {"x": x}) for net in nets)
    assert list(after) == list(outputs)
    for name in outputs:  # constants such as 1/6 and √2 are rounded to float32 in the parts, and not in the operator
        np.testing.assert_allclose(after[name], before[name], rtol=2e-6, atol=2e-6)
    return [node.op for node in small.nodes]


def hard(p, x, top=6.0):
    return p("Clip", p("Add", x, 3.0), min=0.0, max=top)


def erf_gelu(p, x, root):
    return p("Mul", p("Mul", x, p("Add", p("Erf", p("Div", x, root)), 1.0)), 0.5)


def tanh_gelu(p, x):
    cube = p("Mul", 0.044715, p("Pow", x, 3.0))
    inner = p("Mul", p("Add", x, cube), math.sqrt(2 / math.pi))
    return p("Mul", p("Mul", 0.5, x), p("Add", 1.0, p("Tanh", inner)))


def layer_norm(p, x, axes, *, square="Pow", scale=(8,), offset=(8,)):
    centred = p("Sub", x, p("ReduceMean", x, axes=axes))
    squared = p("Pow", centred, 2.0) if square == "Pow" else p("Mul", centred, centred)
    root = p("Sqrt", p("Add", p("ReduceMean", squared, axes=axes), 1e-5))
    return p("Add", p("Mul", p("Div", centred, root), RNG.uniform(1, 2, scale)), RNG.uniform(-1, 1, offset))


def shuffle(p, x, perm=(0, 2, 1, 3, 4)):
    apart = p("Reshape", x, shape=(0, 2, 3, 4, 4))
    return p("Reshape", p("Transpose", apart, perm=perm), shape=(0, 6, 4, 4))


def first(p, end=2):
    return p("Slice", "x", starts=(0,), ends=(end,), axes=(1,))


RECOGNISED = {
    "swish": (Parts(4), lambda p: p("Mul", "x", p("Sigmoid", "x")), ["Swish"]),
    "swish, turned": (Parts(4), lambda p: p("Mul", p("Sigmoid", "x"), "x"), ["Swish"]),
    "swish, scaled": (Parts(4), lambda p: p("Mul", "x", p("Sigmoid", p("Mul", "x", 1.702))), ["Swish"]),
    "binarize": (Parts(4), lambda p: p("Sign", p("Add", p("Sign", "x"), 0.5)), ["Binarize"]),
    "mish": (Parts(4), lambda p: p("Mul", "x", p("Tanh", p("Softplus", "x"))), ["Mish"]),
    "hard sigmoid": (Parts(4), lambda p: p("Div", hard(p, "x"), 6.0), ["HardSigmoid"]),
    "hard swish": (Parts(4), lambda p: p("Mul", "x", p("Div", hard(p, "x"), 6.0)), ["HardSwish"]),
    "hard swish, 1/6": (Parts(4), lambda p: p("Mul", p("Mul", hard(p, "x"), 1 / 6), "x"), ["HardSwish"]),
    "hard swish, late": (Parts(4), lambda p: p("Div", p("Mul", "x", hard(p, "x")), 6.0), ["HardSwish"]),
    "gelu": (Parts(4), lambda p: erf_gelu(p, "x", math.sqrt(2)), ["Gelu"]),
    "gelu, tanh": (Parts(4), lambda p: tanh_gelu(p, "x"), ["Gelu"]),
    "layer norm": (Parts(5, 8), lambda p: layer_norm(p, "x", (-1,)), ["LayerNormalization"]),
    "layer norm, product": (Parts(5, 8), lambda p: layer_norm(p, "x", (-1,), square="Mul"), ["LayerNormalization"]),
    "layer norm, pixels": (
        Parts(2, 5, 8),
        lambda p: layer_norm(p, "x", (2, 3), scale=(5, 8), offset=(5, 8)),
        ["LayerNormalization"],
    ),
    "shuffle": (Parts(6, 4, 4), lambda p: shuffle(p, "x"), ["Gather"]),
    "mean": (Parts(3, 4, 4), lambda p: p("ReduceMean", "x", axes=(2, 3)), ["GlobalAveragePool"]),
    "mean, flat": (
        Parts(3, 4, 4),
        lambda p: p("ReduceMean", "x", axes=(-1, -2), keepdims=0),
        ["GlobalAveragePool", "Flatten"],
    ),
    "slices of a whole": (
        Parts(6, 4),
        lambda p: p("Concat", p("Slice", "x", starts=(2,), ends=(9,), axes=(1,)), first(p), axis=1),
        ["Split", "Concat"],
    ),
    "pad and conv": (
        Parts(2, 5, 5),
        lambda p: p("Conv", p("Pad", "x", pads=(0, 0, 1, 2, 0, 0, 0, 1)), RNG.uniform(-1, 1, (3, 2, 3, 3))),
        ["Conv"],
    ),
    "pad and maximum": (
        Parts(2, 5, 5),
        lambda p: p("MaxPool", p("Pad", p("Relu", "x"), pads=(0, 0, 1, 1, 0, 0, 1, 1)), kernel_shape=(3, 3)),
        ["Relu", "MaxPool"],
    ),
    "pad and average": (
        Parts(2, 5, 5),
        lambda p: p("AveragePool", p("Pad", "x", pads=(0, 0, 1, 1, 0, 0, 1, 1)), kernel_shape=(3, 3)),
        ["AveragePool"],
    ),
    "product and sum": (
        Parts(5),
        lambda p: p("Add", p("MatMul", "x", RNG.uniform(-1, 1, (5, 3))), RNG.uniform(-1, 1, 3)),
        ["Gemm"],
    ),
    "conv, scale, shift": (
        Parts(2, 5, 5),
        lambda p: p(
            "Add",
            p("Mul", p("Conv", "x", RNG.uniform(-1, 1, (3, 2, 3, 3))), RNG.uniform(1, 2, (3, 1, 1))),
            RNG.uniform(-1, 1, (1, 3, 1, 1)),
        ),
        ["Conv"],
    ),
    "conv, difference, quotient": (
        Parts(2, 5, 5),
        lambda p: p("Div", p("Sub", 1.5, p("Conv", "x", RNG.uniform(-1, 1, (3, 2, 3, 3)))), 3.0),
        ["Conv"],
    ),
    "transposed conv, norm": (
        Parts(2, 5, 5),
        lambda p: p(
            "BatchNormalization",
            p("ConvTranspose", "x", RNG.uniform(-1, 1, (2, 3, 3, 3)), strides=(2, 2)),
            *(RNG.uniform(0.5, 2, 3) for _ in range(4)),
        ),
        ["ConvTranspose"],
    ),
}


@pytest.mark.parametrize("name", RECOGNISED)
def test_parts_become_one_operator(name):
    """The parts are gone, and the result is theirs."""
    parts, build, ops = RECOGNISED[name]
    assert simplified(parts, build(parts)) == ops


LOOKALIKES = {
    "another gate": (Parts(4), lambda p: p("Mul", "x", p("Sigmoid", p("Relu", "x")))),
    "clip at 5": (Parts(4), lambda p: p("Mul", "x", p("Div", hard(p, "x", 5.0), 6.0))),
    "another root": (Parts(4), lambda p: erf_gelu(p, "x", 1.5)),
    "mean of other axes": (Parts(8, 8), lambda p: layer_norm(p, "x", (1,))),
    "no shuffle": (Parts(6, 4, 4), lambda p: shuffle(p, "x", (0, 2, 1, 4, 3))),
    "slices that overlap": (
        Parts(6, 4),
        lambda p: p("Concat", p("Slice", "x", starts=(2,), ends=(6,), axes=(1,)), first(p, 3), axis=1),
    ),
    "slices with a gap": (
        Parts(6, 4),
        lambda p: p("Concat", p("Slice", "x", starts=(3,), ends=(6,), axes=(1,)), first(p), axis=1),
    ),
    "mean of one axis": (Parts(3, 4, 4), lambda p: p("ReduceMean", "x", axes=(2,))),
    "maximum of negative values": (
        Parts(2, 5, 5),
        lambda p: p("MaxPool", p("Pad", "x", pads=(0, 0, 1, 1, 0, 0, 1, 1)), kernel_shape=(3, 3)),
    ),
    "padding with ones": (
        Parts(2, 5, 5),
        lambda p: p("Conv", p("Pad", "x", pads=(0, 0, 1, 1, 0, 0, 1, 1), value=1.0), RNG.uniform(-1, 1, (3, 2, 3, 3))),
    ),
    "padding of channels": (
        Parts(2, 5, 5),
        lambda p: p("Conv", p("Pad", "x", pads=(0, 1, 0, 0, 0, 0, 0, 0)), RNG.uniform(-1, 1, (3, 3, 3, 3))),
    ),
    "a shift for each pixel": (
        Parts(2, 3, 3),
        lambda p: p("Add", p("Conv", "x", RNG.uniform(-1, 1, (3, 2, 1, 1))), RNG.uniform(-1, 1, (3, 3))),
    ),
}


@pytest.mark.parametrize("name", LOOKALIKES)
def test_what_only_looks_like_it_stays(name):
    """Another constant, axis or operand is another meaning: nothing is changed."""
    parts, build = LOOKALIKES[name]
    out = build(parts)
    assert simplified(parts, out) == [node.op for node in parts.nodes]


def test_a_part_that_something_else_reads_stays_for_it():
    """The sigmoid of a swish that is an output too is still made."""
    p = Parts(4)
    gate = p("Sigmoid", "x")
    assert sorted(simplified(p, p("Mul", "x", gate), gate)) == ["Sigmoid", "Swish"]


def test_weights_that_may_not_change_stop_a_fold():
    """A constant that is not among the values is unknown, and so are a coded weight's entries."""
    p = Parts(5)
    out = p("Add", p("MatMul", "x", RNG.uniform(-1, 1, (5, 3))), RNG.uniform(-1, 1, 3))
    extents = {name: value.shape for name, value in p.weights.items()}
    graph, values = simplify(p.graph(out), {}, extents)
    assert [node.op for node in graph.nodes] == ["MatMul", "Add"]
    assert values == {}


def test_identities_go_and_outputs_keep_their_names():
    """Names pass through identities; an output that is an input, or another output, still is one of its own."""
    nodes = (
        Node("Identity", "a", ("x",), ("x2",)),
        Node("Relu", "b", ("x2",), ("r",)),
        Node("Identity", "c", ("r",), ("y",)),
        Node("Neg", "d", ("r",), ("z",)),
        Node("Identity", "e", ("y",), ("same",)),
        Node("Identity", "f", ("x",), ("copy",)),
    )
    graph = remove_identities(Graph(nodes, (TensorSpec("x", ("N", 2)),), ("y", "z", "same", "copy")))
    assert [(n.op, n.inputs, n.outputs) for n in graph.nodes] == [
        ("Relu", ("x",), ("y",)),
        ("Neg", ("y",), ("z",)),
        ("Identity", ("y",), ("same",)),
        ("Identity", ("x",), ("copy",)),
    ]
    assert graph.outputs == ("y", "z", "same", "copy")


def test_dead_nodes_go_with_their_weights():
    """What no output needs is removed; an input stays, since callers feed it."""
    nodes = (Node("Relu", "used", ("x",), ("y",)), Node("Add", "dead", ("x", "w"), ("d",)))
    graph = remove_dead(Graph(nodes, (TensorSpec("x", ("N", 2)), TensorSpec("u", ("N",))), ("y",), ("w",)))
    assert [node.name for node in graph.nodes] == ["used"]
    assert graph.parameters == ()
    assert len(graph.inputs) == 2
