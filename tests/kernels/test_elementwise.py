"""Elementwise kernels, softmax and batch normalisation on every instruction set against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from engine_problems import EPSILON, assert_close, single, uniform
from lissome.runtime import kernels, reference
from lissome.runtime.engine import Engine
from lissome.runtime.native import native
from lissome.weights import Dense

pytestmark = pytest.mark.native

ISAS = kernels.instruction_sets()
EXTREMES = np.array([0.0, -0.0, 1e-30, -1e-30, 88.0, -88.0, 200.0, -200.0, np.inf, -np.inf, np.nan], np.float32)


def _both(net, x, isa):
    return Engine(net, isa=isa)(x), reference.run(net, {"x": x})["y"]


def _everywhere():
    """Floats of every sign and size, denormal ones too, and many where the functions bend."""
    rng = np.random.default_rng(0)
    anywhere = rng.integers(0, 2**32, 40_000, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = [rng.uniform(-width, width, 20_000).astype(np.float32) for width in (1, 20, 110)]
    return np.concatenate([anywhere, *near, EXTREMES])


#: operator → units in the last place that its kernel may be off
UNITS = {
    **dict.fromkeys(("Reciprocal", "Sqrt"), 0.5),
    **dict.fromkeys(("Cos", "Log", "Sin"), 1),
    **dict.fromkeys(("Elu", "Exp", "Softsign", "Tanh"), 2),
    **dict.fromkeys(("Erf", "Sigmoid", "Softplus"), 3),
    **dict.fromkeys(("Abs", "Ceil", "Floor", "Identity", "Neg", "Relu", "Round", "Sign"), 0),
}
#: those that subtract nearly equal numbers somewhere, so that they are off by as many units of their argument
UNITS_OF_ARGUMENT = {"Gelu": 1.5, "HardSwish": 1.5, "LeakyRelu": 1, "Mish": 2, "Swish": 2}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", [*UNITS, *UNITS_OF_ARGUMENT])
def test_functions(op, isa):
    """Within the documented units in the last place of the reference over all floats; NaN and infinity where it has."""
    x = _everywhere()[None]
    got, want = _both(single(op, x.shape[1:]), x, isa)
    with np.errstate(over="ignore"):
        rounded = want.astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(rounded))
    np.testing.assert_array_equal(np.isposinf(got), np.isposinf(rounded))
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(rounded))
    finite = np.isfinite(rounded)
    scale = rounded if op in UNITS else np.maximum(np.abs(x), np.abs(rounded))
    unit = np.maximum(np.spacing(np.abs(scale[finite])).astype(np.float64), 2.0**-149)
    error = np.abs(got[finite] - want[finite]) / unit
    assert error.max() <= (UNITS | UNITS_OF_ARGUMENT)[op], f"{op} at {x[finite][error.argmax()]!r}"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize(
    ("shape", "other"),
    [((5,), (5,)), ((3, 4, 5), (4, 1)), ((3, 4, 5), (3, 1, 1)), ((2, 7), (1,)), ((2, 1, 3), (4, 1, 2, 6, 1))],
    ids=str,
)
def test_operators_broadcast_as_numpy_does(op, shape, other, isa):
    """Arithmetic of an activation and a weight equals NumPy's in float32, to the bit."""
    rng = np.random.default_rng(1)
    x, w = uniform(rng, 3, *shape), uniform(rng, *other)
    got, _ = _both(single(op, shape, {"w": Dense(w)}), x, isa)
    functions = {
        "Add": np.add,
        "Sub": np.subtract,
        "Mul": np.multiply,
        "Div": np.divide,
        "Max": np.maximum,
        "Min": np.minimum,
    }
    np.testing.assert_array_equal(got, functions[op](x, w))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("axis", [1, 2, -1])
def test_softmax(axis, isa):
    """Large inputs survive, and the result is the reference's within the rounding of exp and of the sum."""
    x = uniform(np.random.default_rng(2), 3, 5, 7) * np.float32(100)
    got, want = _both(single("Softmax", (5, 7), axis=axis), x, isa)
    # exp amplifies the rounding of its argument, which is up to 200, and the sum adds a rounding a term.
    np.testing.assert_allclose(got, want, rtol=(200 + 2 * 7 + 4) * EPSILON, atol=1e-38)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(5,), (5, 3), (5, 3, 9)], ids=str)
def test_batch_normalization(shape, isa):
    """Scale and shift a channel, folded once, give what the formula gives."""
    rng = np.random.default_rng(3)
    names = ("scale", "offset", "mean", "variance")
    values = [uniform(rng, 5), uniform(rng, 5), uniform(rng, 5), np.abs(uniform(rng, 5)) + np.float32(0.1)]
    net = single("BatchNormalization", shape, dict(zip(names, map(Dense, values), strict=True)), epsilon=1e-3)
    x = uniform(rng, 4, *shape)
    got, want = _both(net, x, isa)
    factor, along = np.abs(values[0]) / np.sqrt(values[3] + 1e-3), (-1, *(1,) * (len(shape) - 1))
    magnitude = np.abs(x) * factor.reshape(along) + (np.abs(values[1]) + np.abs(values[2]) * factor).reshape(along)
    assert_close(got, want, magnitude, 3, "batch normalisation")


ACTIVATIONS = {
    ("relu", 0.0, 0.0): lambda x: np.maximum(x, 0),
    ("clip", -1.0, 6.0): lambda x: np.clip(x, -1, 6),
    ("leaky_relu", 0.25, 0.0): lambda x: np.where(x < 0, 0.25 * x, x),
    ("hard_swish", 0.0, 0.0): lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
}


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a[0])
def test_activations_fused_into_a_kernel(activation, isa):
    """What a kernel applies last is the function of that name, at every length, NaN and infinity included."""
    for count in (1, 3, 16, 37):
        x = np.resize(np.concatenate([EXTREMES, uniform(np.random.default_rng(4), 26) * 9]), count)
        builder = native.Builder()
        ends = [builder.input(count, 0), builder.input(count, 1)], [builder.output(count, 0)]
        builder.step(f"binary_f32_add_{isa}", *ends, [count, 1, 1], activation=activation)
        got = np.empty(count, np.float32)
        builder.build([1]).run([x, np.zeros(count, np.float32)], [got], None)
        with np.errstate(invalid="ignore"):
            want = ACTIVATIONS[activation](x.astype(np.float64))
        np.testing.assert_allclose(got, want, rtol=4 * EPSILON, atol=4e-7)
