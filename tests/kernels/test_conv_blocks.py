"""Convolution on blocks of channels: every kernel, schedule, activation and residual against the reference."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from one_kernel import names, run

from engine_problems import assert_close, uniform
from lissome.errors import GraphError
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, layout, reference
from lissome.runtime.layout import blocked
from lissome.runtime.native import native
from lissome.runtime.schedule import PIXELS, Schedule, default

pytestmark = pytest.mark.native

DENSE = names("conv_f32_direct") + names("conv_f32_first")
DEPTHWISE = names("conv_f32_depthwise")
ACTIVATIONS = {
    "none": lambda y: y,
    "relu": lambda y: np.maximum(y, 0),
    "clip": lambda y: np.clip(y, np.float32(-0.25), np.float32(0.5)),
    "leaky_relu": lambda y: np.where(y < 0, y * np.float32(-0.25), y),
    "hard_swish": lambda y: y * np.clip(y / 6 + 0.5, 0, 1),
}


def _isa(kernel):
    return kernel.rpartition("_")[2]


def _with_nan(x, block):
    """In blocks, with NaN behind the last channel: no kernel may read that."""
    ones = layout.to_blocked(np.ones_like(x), block)
    return np.where(ones == 1, layout.to_blocked(x, block), np.float32(np.nan))


def _convolve(kernel, shape, schedule, operands, activation):
    """By `kernel`; operands: x, weight, bias, residual, the last two or None."""
    x, weight, bias, residual = operands
    block, lanes = kernels.blocks(kernel)
    out = blocked((shape.n, shape.k, shape.p, shape.q), lanes)
    ints, vectors = (
        (shape.values(), 1) if schedule is None else ((*shape.values(), *schedule.values()), schedule.vectors)
    )
    packed = native.pack_blocks(weight.reshape(-1), shape.values(), block, lanes, vectors, schedule is None)
    inputs = [_with_nan(x, block)] + ([] if residual is None else [layout.to_blocked(residual, lanes)])
    builder = native.Builder()
    numbers = [builder.input(array.size, number) for number, array in enumerate(inputs)]
    y = builder.output(math.prod(out), 0)
    builder.step(kernel, numbers, [y], ints, [], packed, bias, (activation, -0.25, 0.5))
    return layout.to_plain(run(builder, inputs, out, 2), shape.k, lanes)


def _check(kernel, shape, schedule, seed, options):
    """options: activation, whether there is a bias, whether a residual."""
    activation, biased, added = options
    rng = np.random.default_rng(seed)
    x, weight = uniform(rng, shape.n, shape.c, shape.h, shape.w), uniform(rng, shape.k, shape.depth)
    bias = uniform(rng, shape.k) if biased else None
    residual = uniform(rng, shape.n, shape.k, shape.p, shape.q) if added else None
    got = _convolve(kernel, shape, schedule, (x, weight, bias, residual), activation)
    dense = weight.reshape(shape.k, shape.c // shape.groups, shape.r, shape.s).astype(np.float64)
    want = reference.conv(x.astype(np.float64), dense, bias, shape) + (residual if added else 0)
    magnitude = reference.conv(np.abs(x.astype(np.float64)), np.abs(dense), np.abs(bias) if biased else None, shape)
    magnitude += np.abs(residual) if added else 0
    what = f"{kernel} {shape} {schedule} {activation} bias {biased} residual {added}"
    assert_close(got, ACTIVATIONS[activation](want), magnitude, shape.depth + 4, what)


_options = st.tuples(st.sampled_from(sorted(ACTIVATIONS)), st.booleans(), st.booleans())
_windows = st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 3)] * 2, *[st.integers(0, 3)] * 4)


@st.composite
def dense_shapes(draw, block, lanes):
    """Any convolution that blocks of channels can do, small: more than one group only of whole blocks."""
    n, h, w, r, s = (draw(st.integers(1, most)) for most in (2, 9, 40, 4, 5))
    groups = draw(st.sampled_from([1, 1, 2]))
    unit_in, unit_out = (block, lanes) if groups > 1 else (1, 1)
    c, k = (
        draw(st.integers(1, 2 if groups > 1 else 35)) * unit_in,
        draw(st.integers(1, 2 if groups > 1 else 70)) * unit_out,
    )
    try:
        return ConvShape(n, c * groups, h, w, k * groups, r, s, groups, *draw(_windows))
    except GraphError:  # the window does not fit
        assume(False)


@st.composite
def schedules(draw, isa):
    """Any schedule: all orders, widths, and tiles from one to more than there is."""
    vectors = draw(st.integers(1, 4))
    tiles = [draw(st.integers(1, most)) for most in (PIXELS[isa][vectors - 1], 4, 4, 10, 50)]
    return Schedule(draw(st.integers(0, 2)), vectors, *tiles)


@pytest.mark.parametrize("kernel", DENSE)
@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**31), _options)
def test_dense_of_any_shape_and_schedule(kernel, data, seed, options):
    """However its loops are cut and ordered, a convolution gives the reference's output."""
    shape = data.draw(dense_shapes(*kernels.blocks(kernel)))
    _check(kernel, shape, data.draw(schedules(_isa(kernel))), seed, options)


@pytest.mark.parametrize("kernel", DEPTHWISE)
@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**31), _options)
def test_depthwise_of_any_shape(kernel, data, seed, options):
    """One filter a channel, whatever the filter, stride, dilation and padding."""
    n, c, h, w, r, s = (data.draw(st.integers(1, most)) for most in (2, 35, 12, 40, 5, 6))
    window = data.draw(st.one_of(_windows, st.just((1, 1, 1, 1, 1, 1, 1, 1)), st.just((2, 2, 1, 1, 2, 2, 2, 2))))
    try:
        shape = ConvShape(n, c, h, w, c, r, s, c, *window)
    except GraphError:
        assume(False)
    _check(kernel, shape, None, seed, options)


@pytest.mark.parametrize("kernel", DENSE)
def test_the_default_schedule_at_sizes_of_networks(kernel):
    """Layers wider, deeper and larger than any tile."""
    isa, (block, lanes) = _isa(kernel), kernels.blocks(kernel)
    for values in (
        (1, 70, 30, 31, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (1, 520, 7, 7, 130, 1, 1),
        (2, 3, 40, 61, 66, 7, 7, 1, 2, 2),
    ):
        shape = ConvShape(*values)
        _check(kernel, shape, default(shape, lanes, isa, block), 5, ("relu", True, True))


@pytest.mark.parametrize("kernel", DENSE + DEPTHWISE)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_in_its_window_and_group(kernel, bad):
    """NaN and infinity reach every output whose window sees them, zero weights included, and no other group's."""
    block, lanes = kernels.blocks(kernel)
    depthwise = kernel in DEPTHWISE
    groups, c, k = (19, 19, 19) if depthwise else (2, 2 * block, 2 * lanes)
    shape = ConvShape(2, c, 7, 9, k, 3, 3, groups, 1, 1, 1, 1, 1, 1, 1, 1)
    x, weight = np.ones((2, c, 7, 9), np.float32), np.zeros((k, shape.depth), np.float32)
    x[1, 0, 3, 4] = bad
    schedule = None if depthwise else default(shape, lanes, _isa(kernel), block)
    got = _convolve(kernel, shape, schedule, (x, weight, None, None), "relu")
    want = np.zeros(got.shape, bool)
    want[1, : k // groups, 2:5, 3:6] = True
    np.testing.assert_array_equal(np.isnan(got), want)


@pytest.mark.parametrize("kernel", DENSE)
def test_weights_of_another_schedule_are_refused(kernel):
    """A panel is as wide as the schedule says, groups fill their blocks, and no tile is empty."""
    block, lanes = kernels.blocks(kernel)
    shape = ConvShape(1, 2 * block, 4, 4, 2 * lanes, 1, 1)
    packed = native.pack_blocks(np.ones(shape.k * shape.c, np.float32), shape.values(), block, lanes, 2, False)
    schedule = (0, 2, 4, 1, 1, 1, 4)
    elements = 2 * block * 16, 2 * lanes * 16

    def build(values, schedule, weights):
        builder = native.Builder()
        builder.step(
            kernel, [builder.input(elements[0], 0)], [builder.output(elements[1], 0)], (*values, *schedule), [], weights
        )
        builder.build([1])

    build(shape.values(), schedule, packed)
    for wrong in (
        (0, 1, *schedule[2:]),
        (),
        (3, *schedule[1:]),
        (0, 5, *schedule[2:]),
        (0, 2, 4, 0, 1, 1, 4),
        schedule[:6],
    ):
        with pytest.raises(ValueError, match=r"packed|schedule|numbers"):
            build(shape.values(), wrong, packed)
    with pytest.raises(ValueError, match=r"groups fill"):
        native.pack_blocks(np.ones(3 * 2 * 3, np.float32), (1, 6, 4, 4, 9, 1, 1, 3, *[1] * 4, *[0] * 4), 4, 4, 1, False)
    with pytest.raises(ValueError, match=r"1 to 64"):
        native.pack_blocks(np.ones(shape.k * shape.c, np.float32), shape.values(), 0, lanes, 1, False)
    with pytest.raises(ValueError, match=r"weights"):
        native.pack_blocks(np.ones(3, np.float32), shape.values(), block, lanes, 1, False)


@pytest.mark.parametrize("isa", kernels.instruction_sets())
@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 40), st.integers(1, 600))
def test_reordering_there_and_back(isa, n, c, area):
    """Into blocks with zeros behind the last channel, and back to the same bytes."""
    lanes = kernels.lanes(isa)
    x = np.arange(n * c * area, dtype=np.float32).reshape(n, c, 1, area)
    there, back = native.Builder(), native.Builder()
    shape = blocked(x.shape, lanes)
    there.step(f"reorder_f32_block_{isa}", [there.input(x.size, 0)], [there.output(math.prod(shape), 0)], (n, c, area))
    laid = run(there, [x], shape, 2)
    np.testing.assert_array_equal(laid, layout.to_blocked(x, lanes))
    back.step(f"reorder_f32_plain_{isa}", [back.input(laid.size, 0)], [back.output(x.size, 0)], (n, c, area))
    np.testing.assert_array_equal(run(back, [laid], x.shape, 2), x)
