"""Convolution of bits: equal to NumPy bit by bit, on every instruction set, for any shape."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from integer_reference import conv_sums
from one_kernel import names

from lissome.errors import GraphError
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, layout
from lissome.runtime.native import native

pytestmark = pytest.mark.native

F = np.float32
KERNELS = names("conv_b1_")
ISAS = [name.removeprefix("binarize_b1_") for name in names("binarize_b1_")]


def _isa(kernel):
    return next(isa for isa in sorted(ISAS, key=len, reverse=True) if kernel.endswith(f"_{isa}"))


def convolve(kernel, x, weight, shape, options, *, workers=2):
    """Signs of x (n, c, h, w), convolved by `kernel`. options: scale, bias, vectors, activation."""
    scale, bias, vectors, activation = options
    isa = _isa(kernel)
    _, lanes = kernels.blocks(kernel)
    laid = layout.to_blocked(x, lanes)
    out = layout.extents(shape.n, shape.k, shape.p, shape.q, lanes)
    word = 16 if isa in ("avx2", "avx512") else 32  # channels (native/binary/bits.h)
    words = shape.n * -(-shape.c // word) * 4 * shape.h * shape.w
    builder = native.Builder()
    source, bits, y = builder.input(laid.size, 0), builder.arena(words, 0, 1), builder.output(math.prod(out), 0)
    builder.step(f"binarize_b1_{isa}", [source], [bits], (shape.n, shape.c, shape.h * shape.w))
    packed = native.pack_bits(kernel, weight.reshape(-1), shape.values(), vectors, scale, bias)
    builder.step(kernel, [bits], [y], (*shape.values(), vectors), (), packed, None, activation)
    made = np.full(math.prod(out), F(np.nan))
    builder.build([workers] * 2).run([laid.reshape(-1)], [made], None)
    return layout.to_plain(made.reshape(out), shape.k, lanes)


def expected(x, weight, shape, options):
    """The same in NumPy: sums of ±1 and weights, exact; then float32."""
    scale, bias, _, activation = options
    signs = np.where(x >= 0, 1, -1)
    sums = conv_sums(signs, weight.reshape(shape.k, shape.c, shape.r, shape.s), np.zeros(shape.k, np.int64), shape, 0)
    made = sums.astype(F) * scale.reshape(1, -1, 1, 1) + bias.reshape(1, -1, 1, 1)
    return np.maximum(made, 0) if activation[0] == "relu" else made


def operands(seed, shape, *, ternary):
    """Inputs with zeros of both signs, NaN and infinity; weights; a scale and a bias a filter."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((shape.n, shape.c, shape.h, shape.w)).astype(F)
    x.reshape(-1)[:5] = [0.0, -0.0, np.nan, np.inf, -np.inf][: x.size]
    choices = (-1, 0, 1) if ternary else (-1, 1)
    weight = rng.choice(choices, (shape.k, shape.depth)).astype(np.int8)
    return x, weight, rng.uniform(0.1, 2, shape.k).astype(F), rng.normal(size=shape.k).astype(F)


def check(kernel, shape, seed, vectors, activation):
    """The kernel's result is NumPy's."""
    x, weight, scale, bias = operands(seed, shape, ternary="ternary" in kernel)
    options = scale, bias, vectors, (activation, 0.0, 0.0)
    got = convolve(kernel, x, weight, shape, options)
    np.testing.assert_array_equal(got, expected(x, weight, shape, options))


@st.composite
def shapes(draw):
    """Any convolution of one group, small."""
    n, c, h, w = (draw(st.integers(1, most)) for most in (2, 100, 9, 30))
    k, r, s = (draw(st.integers(1, most)) for most in (70, 4, 5))
    window = [draw(st.integers(1, most)) for most in (3, 3, 3, 3)] + [draw(st.integers(0, 3)) for _ in range(4)]
    try:
        return ConvShape(n, c, h, w, k, r, s, 1, *window)
    except GraphError:  # the window does not fit
        assume(False)


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=40, deadline=None)
@given(shapes(), st.integers(0, 2**31), st.integers(1, 4), st.sampled_from(["none", "relu"]))
@example(ConvShape(1, 300, 1, 1, 130, 1, 1), 0, 2, "none")  # a linear layer
@example(ConvShape(1, 64, 3, 40, 20, 3, 21, 1, 1, 1, 1, 1, 1, 10, 1, 10), 0, 1, "none")  # many taps
@example(ConvShape(1, 8000, 1, 2, 3, 1, 1), 0, 1, "none")  # sums beyond 16 bits' part
def test_any_shape(kernel, shape, seed, vectors, activation):
    """Sums of ±1 and of weights of ±1 or −1, 0 and 1 are exact, padding is 0, scale and bias are rounded once each."""
    check(kernel, shape, seed, vectors, activation)


@pytest.mark.parametrize("kernel", KERNELS)
def test_sizes_of_networks(kernel):
    """Wider and deeper than a register block, all counts at their largest: no byte overflows."""
    shape = ConvShape(1, 512, 14, 15, 96, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    check(kernel, shape, 3, 2, "none")
    options = np.ones(96, F), np.zeros(96, F), 4, ("none", 0.0, 0.0)
    x, weight = np.full((1, 512, 14, 15), -1, F), np.ones((96, shape.depth), np.int8)
    np.testing.assert_array_equal(convolve(kernel, x, weight, shape, options), expected(x, weight, shape, options))


@pytest.mark.parametrize("kernel", KERNELS)
def test_weights_that_are_none_are_refused(kernel):
    """Zeros in one plane of bits, other numbers, groups, wrong sizes, another layer's weights: an exception."""
    shape, scale, bias = ConvShape(1, 4, 3, 3, 2, 3, 3), np.ones(2, F), np.zeros(2, F)
    weight = np.ones(2 * 36, np.int8)
    bad = {
        "number": (np.full(2 * 36, 2, np.int8), shape.values(), 1, scale, bias),
        "size": (weight[1:], shape.values(), 1, scale, bias),
        "scales": (weight, shape.values(), 1, scale[1:], bias),
        "vectors": (weight, shape.values(), 5, scale, bias),
        "groups": (weight[:36], ConvShape(1, 4, 3, 3, 2, 3, 3, 2).values(), 1, scale, bias),
    }
    if "binary" in kernel:
        bad["zero"] = (weight * 0, shape.values(), 1, scale, bias)
    for arguments in bad.values():
        with pytest.raises(ValueError, match=r"weights|filter|group"):
            native.pack_bits(kernel, *arguments)
    packed = native.pack_bits(kernel, weight, shape.values(), 1, scale, bias)
    for values in ((*shape.values(), 2), (*ConvShape(1, 4, 4, 4, 2, 3, 3).values(), 1), shape.values()):
        builder = native.Builder()
        with pytest.raises(ValueError, match=r"packed|another size|panel"):
            _build(builder, (kernel, [builder.arena(36, 0, 1)], [builder.output(16, 0)], values, (), packed))


def _build(builder, step):
    builder.step(*step)
    builder.build([1])
