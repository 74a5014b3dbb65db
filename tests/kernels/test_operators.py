"""Every operator of a graph, on every instruction set, against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest

from engine_problems import EPSILON
from lissome.graph import Graph, Node, TensorSpec, shapes
from lissome.network import Network
from lissome.runtime import kernels, lower, plan, reference
from lissome.runtime.engine import Engine
from lissome.weights import Dense
from operators import SAMPLES, network

pytestmark = pytest.mark.native

ISAS = kernels.instruction_sets()
#: operators that only move elements, or round once as NumPy does in float32: the same to the bit
EXACT = (
    *("Abs", "Ceil", "Concat", "DepthToSpace", "Expand", "Flatten", "Floor", "Gather", "GlobalMaxPool", "Identity"),
    *("Max", "MaxPool", "Min", "Neg", "Pad", "ReduceMax", "ReduceMin", "Relu", "Reshape", "Round", "Sign", "Slice"),
    *("SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Binarize"),
)


def judge(op, got, want):
    """Equal where nothing is computed, else within some tens of roundings: samples are small and of order one."""
    for name, value in want.items():
        assert got[name].shape == value.shape, name
        if op in EXACT:
            np.testing.assert_array_equal(got[name], value.astype(np.float32))
        else:
            np.testing.assert_allclose(got[name], value, rtol=32 * EPSILON, atol=32 * EPSILON)


def test_the_engine_has_every_operator():
    """What a graph may have, the engine runs; the two operators of codes have tests of their own (test_codes.py)."""
    assert set(lower.OPERATORS) == set(shapes.OPERATORS)
    assert set(shapes.OPERATORS) == set(SAMPLES) | {"QuantizeLinear", "DequantizeLinear"}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_operators(op, isa):
    """One node of each operator."""
    net, x = network(op)
    x = x.astype(np.float32)
    judge(op, Engine(net, isa=isa).run({"x": x}), reference.run(net, {"x": x}))


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_nan_goes_where_numpy_lets_it_go(op):
    """With NaN and infinities among the inputs, results are not numbers exactly where the reference's are not."""
    net, x = network(op)
    x = x.astype(np.float32)
    x.reshape(-1)[[1, -2, x.size // 2]] = np.nan, np.inf, -np.inf
    got, want = Engine(net).run({"x": x}), reference.run(net, {"x": x})
    for name, value in want.items():
        np.testing.assert_array_equal(np.isnan(got[name]), np.isnan(value), err_msg=op)
        infinite = np.isinf(value)
        np.testing.assert_array_equal(got[name][infinite], value[infinite], err_msg=op)


@pytest.mark.parametrize("op", sorted(SAMPLES))
def test_threads_change_no_bit(op, monkeypatch):
    """One thread or four, the same bytes."""
    monkeypatch.setattr(plan, "WORK_EACH", 1)
    net, x = network(op)
    x = x.astype(np.float32)
    alone, together = Engine(net, threads=1).run({"x": x}), Engine(net, threads=4).run({"x": x})
    for name, value in alone.items():
        assert value.tobytes() == together[name].tobytes(), name


def leave_the_batch_alone():
    """Operators whose sample has a batch and neither reduces, moves nor broadcasts it."""
    changing = {"Concat", "Expand", "Flatten", "ReduceProd", "Unsqueeze"}
    return sorted(op for op, sample in SAMPLES.items() if len(sample[0]) == 4 and op not in changing)


@pytest.mark.parametrize("op", leave_the_batch_alone())
def test_batches(op):
    """A network planned for a batch of five gives what the reference gives."""
    extents, others, attributes, count = SAMPLES[op]
    weights = {f"w{i}": Dense(value) for i, value in enumerate(others)}
    outputs = tuple(f"y{i}" for i in range(count))
    node = Node(op, "node", ("x", *weights), outputs, attributes)
    net = Network(Graph((node,), (TensorSpec("x", ("N", *extents[1:])),), outputs, tuple(weights)), weights)
    x = np.random.default_rng(3).uniform(-1, 1, (5, *extents[1:])).astype(np.float32)
    judge(op, Engine(net).run({"x": x}), reference.run(net, {"x": x}))


def test_scalars_and_vectors():
    """Tensors without a batch, of one axis or of none, run as any others."""
    nodes = (
        Node("ReduceSum", "sum", ("x",), ("s",), {"keepdims": 0}),
        Node("Mul", "scale", ("x", "s"), ("m",)),
        Node("MatMul", "dot", ("m", "m"), ("d",)),
        Node("Sub", "rest", ("s", "d"), ("y",)),
    )
    net = Network(Graph(nodes, (TensorSpec("x", (7,)),), ("y", "m")), {})
    x = np.random.default_rng(4).uniform(-1, 1, 7).astype(np.float32)
    judge("Mul", Engine(net).run({"x": x}), reference.run(net, {"x": x}))
