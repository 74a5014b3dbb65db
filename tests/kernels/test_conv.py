"""Every convolution kernel on every instruction set against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from conv_bound import bound
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_kernel import conv, names

from engine_problems import assert_close, uniform, weight_forms
from lissome.errors import GraphError
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import reference
from lissome.runtime.algorithms import Layer, of_kernel
from lissome.runtime.kernels import adds_residual
from lissome.runtime.step import NONE

pytestmark = pytest.mark.native

KERNELS = [name for name in names("conv_f32_") if "separable" not in name]  # two layers: test_separable.py
#: those for some groups or few channels only have tests of any shape in test_conv_blocks.py, test_channelwise.py
PARTIAL = ("channelwise", "depthwise", "direct", "first")

# n, c, h, w, k, r, s, groups, strides, dilations, pads top left bottom right.
PROBLEMS = {
    "one": (1, 1, 1, 1, 1, 1, 1),
    "lenet conv1": (2, 1, 28, 28, 20, 5, 5),
    "lenet conv2": (1, 20, 12, 12, 50, 5, 5),
    "1x1": (3, 7, 5, 9, 13, 1, 1),
    "1x1 of 1x1": (33, 17, 1, 1, 12, 1, 1),
    "padded": (1, 3, 8, 8, 5, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "lopsided padding": (2, 2, 6, 5, 3, 3, 2, 1, 1, 1, 1, 1, 0, 2, 1, 3),
    "padding wider than the window": (1, 1, 2, 3, 2, 2, 2, 1, 1, 1, 1, 1, 4, 3, 5, 4),
    "stride 2": (1, 3, 9, 10, 4, 3, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1),
    "stride 3 by 2": (2, 2, 11, 13, 3, 2, 4, 1, 3, 2),
    "stride past the end": (1, 1, 4, 4, 2, 2, 2, 1, 100, 77),
    "dilated": (1, 2, 12, 11, 3, 3, 3, 1, 1, 1, 2, 3),
    "stride and dilation": (1, 2, 17, 19, 3, 3, 3, 1, 2, 3, 3, 2, 2, 1, 0, 3),
    "groups": (2, 6, 7, 7, 9, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1),
    "depthwise": (1, 8, 6, 6, 8, 3, 3, 8, 1, 1, 1, 1, 1, 1, 1, 1),
    "one dimension": (2, 3, 1, 50, 4, 1, 7, 1, 1, 2, 1, 1, 0, 3, 0, 3),
    "one wide": (1, 3, 40, 1, 5, 3, 1),
    "whole image": (4, 5, 6, 7, 11, 6, 7),
    "large": (1, 3, 70, 90, 2, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "offsets past 16 bits": (1, 40, 45, 45, 2, 3, 3),
    "two panels of filters": (2, 40, 12, 13, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "deep": (1, 300, 7, 7, 33, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    "5x5 of many": (2, 37, 14, 9, 40, 5, 5, 1, 1, 1, 1, 1, 2, 2, 2, 2),
    "1x1 of many": (2, 80, 16, 17, 40, 1, 1),
    "1x1 in groups": (2, 12, 8, 10, 9, 1, 1, 3),
}


ACTIVATIONS = (NONE, ("relu", 0.0, 0.0), ("clip", -0.5, 0.75), ("leaky_relu", 0.1, 0.0))


def _refused(kernel, shape):
    return of_kernel(kernel).refuses(Layer(shape, 1.0, kernel.rpartition("_")[2]))


def _activate(y, activation):
    kind, low, high = activation
    with np.errstate(all="ignore"):
        if kind == "relu":
            return np.maximum(y, 0)
        if kind == "clip":
            return np.clip(y, np.float32(low), np.float32(high))
        return np.where(y < 0, np.float32(low) * y, y) if kind == "leaky_relu" else y


def _check(kernel, shape, weight, x, bias, *, residual=None, activation=NONE):
    dense, added = weight.to_dense().astype(np.float64), 0 if residual is None else residual.astype(np.float64)
    with np.errstate(all="ignore"):
        want = _activate(reference.conv(x.astype(np.float64), dense, bias, shape) + added, activation)
        terms, magnitude = bound(kernel, np.abs(x.astype(np.float64)), np.abs(dense), shape)
        magnitude += np.abs(added) + (0 if bias is None else np.abs(bias)[:, None, None])
    got = conv(kernel, x, weight, bias, shape, residual=residual, activation=activation)
    assert_close(got, want, magnitude, terms + 2, f"{kernel} {shape} {weight.describe()}")


def _weight_shape(shape):
    return shape.k, shape.c // shape.groups, shape.r, shape.s


@pytest.mark.parametrize(
    ("kernel", "problem"),
    [(k, p) for k in KERNELS for p, values in PROBLEMS.items() if not _refused(k, ConvShape(*values))],
)
def test_named_shapes(kernel, problem):
    """Strides, padding, dilation, groups and remainders, alone and together, for every form of weight."""
    shape = ConvShape(*PROBLEMS[problem])
    rng = np.random.default_rng(len(problem))
    x, bias = uniform(rng, shape.n, shape.c, shape.h, shape.w), uniform(rng, shape.k)
    added = uniform(rng, shape.n, shape.k, shape.p, shape.q) if adds_residual(kernel) else None
    for i, weight in enumerate(weight_forms(rng, _weight_shape(shape)).values()):
        options = {"residual": added if i % 2 else None, "activation": ACTIVATIONS[i % len(ACTIVATIONS)]}
        _check(kernel, shape, weight, x, bias if i % 3 else None, **options)


_steps = st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 3)] * 2, *[st.integers(0, 3)] * 4)


@st.composite
def conv_shapes(draw, kernel):
    """Any convolution that the kernel can do, small."""
    n, c, h, w = (draw(st.integers(1, most)) for most in (3, 3, 12, 40))
    try:
        if "winograd" in kernel:
            taps = int(kernel.rpartition("_")[0][-1])
            pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
            c, k = draw(st.integers(1, 40)), draw(st.integers(1, 40))
            return ConvShape(n, c, h, w, k, taps, taps, 1, 1, 1, 1, 1, *pads)
        k, r, s, groups = (draw(st.integers(1, most)) for most in (4, 4, 5, 3))
        steps = draw(_steps)
        shape = ConvShape(n, c * groups, h, w, k * groups, r, s, groups, *steps)
        return ConvShape(n, c, h, w, k, r, s, 1, *steps[:2], 1, 1, *steps[4:]) if _refused(kernel, shape) else shape
    except GraphError:  # the window does not fit
        assume(False)


@pytest.mark.parametrize("kernel", [name for name in KERNELS if not any(part in name for part in PARTIAL)])
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.data())
def test_any_shape(kernel, seed, data):
    """Any convolution that the kernel can do gives the reference's output."""
    shape = data.draw(conv_shapes(kernel))
    rng = np.random.default_rng(seed)
    forms = weight_forms(rng, _weight_shape(shape))
    weight = forms[data.draw(st.sampled_from(sorted(forms)))]
    x = uniform(rng, shape.n, shape.c, shape.h, shape.w)
    _check(kernel, shape, weight, x, uniform(rng, shape.k), activation=data.draw(st.sampled_from(ACTIVATIONS)))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_goes_where_numpy_lets_it(kernel, bad):
    """NaN and infinity reach exactly the outputs whose window sees them, through pruned weights too."""
    rng = np.random.default_rng(9)
    shapes = [
        ConvShape(2, 4, 9, 8, 6, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1),
        ConvShape(2, 2, 9, 8, 3, 3, 2, 1, 2, 3, 2, 1, 2, 1, 0, 1),
        ConvShape(2, 5, 9, 8, 20, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        ConvShape(2, 5, 9, 8, 20, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        ConvShape(2, 5, 8, 8, 20, 1, 1),
    ]
    for shape in [shape for shape in shapes if not _refused(kernel, shape)]:
        x = uniform(rng, shape.n, shape.c, shape.h, shape.w)
        x[1, 0, 4, 3] = bad
        for weight in weight_forms(rng, _weight_shape(shape)).values():
            _check(kernel, shape, weight, x, uniform(rng, shape.k), activation=("relu", 0.0, 0.0))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("n", [1, 5])
def test_the_number_of_workers_changes_no_bit(kernel, n):
    """One, two or four workers, more or fewer than images: the same bits."""
    rng = np.random.default_rng(13)
    shapes = [
        ConvShape(n, 6, 14, 15, 8, 3, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1),
        ConvShape(n, 40, 14, 15, 80, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        ConvShape(n, 6, 14, 15, 80, 5, 5, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    ]
    for shape in [shape for shape in shapes if not _refused(kernel, shape)]:
        x, bias = uniform(rng, n, shape.c, shape.h, shape.w), uniform(rng, shape.k)
        for weight in weight_forms(rng, _weight_shape(shape)).values():
            alone = conv(kernel, x, weight, bias, shape)
            for workers in (2, 4):
                assert conv(kernel, x, weight, bias, shape, workers=workers).tobytes() == alone.tobytes()
