"""Families of kernels over random shapes: movement, broadcasting, reductions, products, transposed convolution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_problems import EPSILON
from lissome.errors import GraphError
from lissome.graph import Graph, Node, TensorSpec
from lissome.network import Network
from lissome.runtime import kernels, reference
from lissome.runtime.engine import Engine
from lissome.weights import Dense

pytestmark = pytest.mark.native

extents = st.integers(1, 19)
isas = st.sampled_from(kernels.instruction_sets())
few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def run(op, inputs, isa, weights=None, outputs=1, **attributes):
    """(engine's outputs, reference's) of one node that reads the arrays `inputs` and then the weights."""
    names = [f"x{i}" for i in range(len(inputs))]
    weights = {name: Dense(value) for name, value in (weights or {}).items()}
    made = tuple(f"y{i}" for i in range(outputs))
    node = Node(op, "node", (*names, *weights), made, attributes)
    specs = tuple(TensorSpec(name, value.shape) for name, value in zip(names, inputs, strict=True))
    net = Network(Graph((node,), specs, made, tuple(weights)), weights)
    arrays = dict(zip(names, inputs, strict=True))
    return list(Engine(net, isa=isa).run(arrays).values()), list(reference.run(net, arrays).values())


def close(pair, terms):
    """Within `terms` roundings of sums of numbers below one."""
    for got, want in zip(*pair, strict=True):
        np.testing.assert_allclose(got, want, rtol=terms * EPSILON, atol=terms * EPSILON)


def same(pair):
    """To the bit."""
    for got, want in zip(*pair, strict=True):
        np.testing.assert_array_equal(got, want.astype(np.float32))


def values(data, shape):
    """Numbers in [−1, 1) of this shape."""
    return np.random.default_rng(data.draw(st.integers(0, 99))).uniform(-1, 1, shape).astype(np.float32)


@few
@given(st.data(), st.lists(st.integers(1, 9), min_size=1, max_size=6), isas)
def test_transposition(data, shape, isa):
    """Any order of axes."""
    axes = data.draw(st.permutations(range(len(shape))))
    same(run("Transpose", [values(data, shape)], isa, perm=tuple(axes)))


@few
@given(st.data(), st.lists(st.integers(1, 9), min_size=1, max_size=4), isas)
def test_slices(data, shape, isa):
    """Any start, end and step of every axis, forwards and backwards."""
    starts, ends, steps = [], [], []
    for extent in shape:
        first = data.draw(st.integers(0, extent - 1))
        step = data.draw(st.sampled_from((-3, -1, 1, 2)))
        starts.append(first)
        ends.append(data.draw(st.integers(first + 1, extent + 2)) if step > 0 else -extent - 5)
        steps.append(step)
    same(run("Slice", [values(data, shape)], isa, starts=tuple(starts), ends=tuple(ends), steps=tuple(steps)))


@few
@given(st.data(), st.lists(st.integers(3, 9), min_size=2, max_size=4), isas)
def test_padding(data, shape, isa):
    """Every mode, before and after, cutting too."""
    mode = data.draw(st.sampled_from(("constant", "reflect", "edge", "wrap")))
    pads = tuple(data.draw(st.integers(-1, 1)) for _ in range(2 * len(shape)))
    same(run("Pad", [values(data, shape)], isa, pads=pads, mode=mode, value=0.5))


@few
@given(st.data(), st.lists(st.integers(1, 9), min_size=1, max_size=4), isas)
def test_choosing_and_joining(data, shape, isa):
    """Gather with any indices, Concat of several tensors and Split into several, along any axis."""
    axis = data.draw(st.integers(0, len(shape) - 1))
    x = values(data, shape)
    indices = data.draw(st.lists(st.integers(-shape[axis], shape[axis] - 1), min_size=1, max_size=12))
    same(run("Gather", [x], isa, axis=axis, indices=tuple(indices)))
    counts = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=11))
    parts = [values(data, (*shape[:axis], count, *shape[axis + 1 :])) for count in counts]
    same(run("Concat", parts, isa, axis=axis))
    whole = np.concatenate(parts, axis)
    same(run("Split", [whole], isa, outputs=len(counts), axis=axis, split=tuple(counts)))


@few
@given(st.data(), st.lists(st.integers(1, 5), min_size=1, max_size=5), isas)
def test_broadcasting(data, shape, isa):
    """Either operand of either rank broadcast along any axes."""
    ops = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Max": np.maximum}
    op = data.draw(st.sampled_from(sorted(ops)))
    operands = []
    for _ in range(2):
        kept = [extent if data.draw(st.booleans()) else 1 for extent in shape]
        operands.append(values(data, kept[data.draw(st.integers(0, len(shape) - 1)) :]))
    (got,), _ = run(op, operands, isa)
    np.testing.assert_array_equal(got, ops[op](*operands))


@few
@given(st.data(), st.lists(st.integers(1, 7), min_size=1, max_size=5), isas)
def test_reductions(data, shape, isa):
    """Any set of axes."""
    axes = tuple(axis for axis in range(len(shape)) if data.draw(st.booleans()))
    x, kept = values(data, shape), data.draw(st.integers(0, 1))
    for op in ("ReduceMean", "ReduceSum", "ReduceProd"):
        close(run(op, [x], isa, axes=axes, keepdims=kept), 2 * x.size)
    for op in ("ReduceMax", "ReduceMin"):
        same(run(op, [x], isa, axes=axes, keepdims=kept))


@few
@given(st.data(), st.tuples(extents, st.integers(1, 70), extents), isas)
def test_along_an_axis(data, shape, isa):
    """Softmax and its logarithm, LRN, layer normalisation: every length against the width of a vector."""
    x, (_, axis, inner) = values(data, shape), shape
    close(run("Softmax", [x], isa, axis=1), 8 + axis)
    close(run("LogSoftmax", [x], isa, axis=1), 8 + axis)
    close(run("Softmax", [x], isa, axis=-1), 8 + inner)
    size = data.draw(st.integers(1, axis + 3))
    beta = data.draw(st.sampled_from((0.75, 0.5, 1.0)))
    close(run("LRN", [x], isa, size=size, alpha=0.5, beta=beta), 8 + size)
    scale = {"scale": values(data, (axis, inner)), "offset": values(data, (inner,))}
    # The variance of few elements may be near nothing, and epsilon is what bounds the amplification of roundings.
    close(run("LayerNormalization", [x], isa, scale, axis=1, epsilon=1e-2), 10 * (8 + axis * inner))


@few
@given(st.data(), st.lists(st.integers(1, 3), max_size=3), st.tuples(extents, extents, st.integers(1, 40)), isas)
def test_products(data, batch, sizes, isa):
    """MatMul of two computed tensors, either broadcast along the batch; Gemm of two with both transpositions."""
    m, n, k = sizes
    shared = [extent if data.draw(st.booleans()) else 1 for extent in batch]
    a, b = values(data, (*batch, m, k)), values(data, (*shared, k, n))
    close(run("MatMul", [a, b], isa), k + 2)
    turned = {"transA": data.draw(st.integers(0, 1)), "transB": data.draw(st.integers(0, 1))}
    a = values(data, (k, m) if turned["transA"] else (m, k))
    b = values(data, (n, k) if turned["transB"] else (k, n))
    addend = values(data, data.draw(st.sampled_from([(m, n), (m, 1), (1, n), (n,), (1,)])))
    for operands, weights in (([a, b, addend], {}), ([a], {"b": b, "c": addend})):
        close(run("Gemm", operands, isa, weights, alpha=0.5, beta=2.0, **turned), 2 * (k + 6))


@few
@given(st.data(), isas)
def test_transposed_convolution(data, isa):
    """Any window, stride, dilation, padding, output padding and groups, over one axis and over two."""
    axes = data.draw(st.sampled_from((1, 2)))
    draw = lambda low, high: tuple(data.draw(st.integers(low, high)) for _ in range(axes))  # noqa: E731
    groups, window, strides, dilations = data.draw(st.integers(1, 2)), draw(1, 4), draw(1, 3), draw(1, 3)
    how = {
        "strides": strides,
        "dilations": dilations,
        "pads": (*draw(0, 2), *draw(0, 2)),
        "output_padding": tuple(data.draw(st.integers(0, stride - 1)) for stride in strides),
        "group": groups,
    }
    x = values(data, (data.draw(st.integers(1, 2)), 2 * groups, *draw(1, 6)))
    weights = {"w": values(data, (2 * groups, 3, *window))}
    if data.draw(st.booleans()):
        weights["b"] = values(data, (3 * groups,))
    try:
        pair = run("ConvTranspose", [x], isa, weights, **how)
    except GraphError:
        return  # nothing is left of the output, or its padding is none
    close(pair, 40)


@few
@given(st.data(), isas)
def test_lstm(data, isa):
    """Every direction, with and without biases, first states and peepholes; all three results."""
    steps, batch, features, hidden = (data.draw(st.integers(1, most)) for most in (5, 3, 9, 21))
    direction = data.draw(st.sampled_from(("forward", "reverse", "bidirectional")))
    d = 2 if direction == "bidirectional" else 1
    shapes = {
        "x": (steps, batch, features),
        "w": (d, 4 * hidden, features),
        "r": (d, 4 * hidden, hidden),
        "b": (d, 8 * hidden),
        "h": (d, batch, hidden),
        "c": (d, batch, hidden),
        "p": (d, 3 * hidden),
    }
    given_ = {"x", "w", "r"} | {name for name in "bhcp" if data.draw(st.booleans())}
    arrays = {name: values(data, shape) for name, shape in shapes.items() if name in given_}
    order = [name if name in given_ else "" for name in ("x", "w", "r", "b", "", "h", "c", "p")]
    weights = {name: Dense(value) for name, value in arrays.items() if name != "x"}
    count = data.draw(st.integers(1, 3))
    made = ("y", "last", "cell")[:count]
    node = Node("LSTM", "node", tuple(order), made, {"direction": direction, "hidden_size": hidden})
    net = Network(Graph((node,), (TensorSpec("x", shapes["x"]),), made, tuple(weights)), weights)
    inputs = {"x": arrays["x"]}
    pair = Engine(net, isa=isa).run(inputs), reference.run(net, inputs)
    close([list(values_.values()) for values_ in pair], 40 * (features + hidden))


@few
@given(st.data(), st.integers(1, 9), st.integers(1, 9), isas)
def test_resizing(data, height, width, isa):
    """Every mode, up and down, each axis by a factor of its own."""
    x = values(data, (1, 2, height, width))
    sizes = (data.draw(extents), data.draw(extents))
    for mode, terms in (("nearest", 0), ("linear", 16), ("cubic", 64)):
        pair = run("Resize", [x], isa, axes=(2, 3), sizes=sizes, mode=mode, antialias=0)
        same(pair) if mode == "nearest" else close(pair, terms)
