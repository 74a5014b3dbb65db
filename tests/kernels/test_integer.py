"""Kernels on 8-bit codes: equal to NumPy bit by bit, on every instruction set, for any shape, zero and range."""

from __future__ import annotations

import math

import integer_reference as ref
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from integer_reference import Codes
from one_kernel import names

from lissome.errors import GraphError
from lissome.graph.conv_shape import ConvShape, PoolShape
from lissome.runtime import kernels, layout
from lissome.runtime.native import native

pytestmark = pytest.mark.native

F = np.float32
DENSE = [name for stem in ("conv_i8_direct", "conv_i8_first") for name in names(stem) if "_f32_" not in name]
DEPTHWISE = [name for name in names("conv_i8_depthwise") if "_f32_" not in name]
GEMM = [name for name in names("gemm_i8") if "_f32_" not in name]
ISAS = [name.removeprefix("add_i8_") for name in names("add_i8_")]


def _isa(kernel):
    return next(isa for isa in sorted(ISAS, key=len, reverse=True) if kernel.endswith(f"_{isa}"))


class Line:
    """Steps on codes: floats that are codes go in, and the codes or floats that the last kernel makes come out."""

    def __init__(self, isa):
        self.isa, self.builder, self.at, self.inputs = isa, native.Builder(), 0, []
        self.lanes = kernels.lanes("avx512" if isa.startswith("avx512") else isa)

    def arena(self, elements, width):
        offset = self.at
        self.at += -(-elements * width // 64) * 64
        return self.builder.arena(elements, offset, width)

    def codes(self, x, block, zero):
        """A tensor of the codes x, (n, c, h, w), in blocks; what fills a block is `zero`."""
        n, c, h, w = x.shape
        self.inputs.append(x.astype(F))
        source = self.builder.input(x.size, len(self.inputs) - 1)
        made = self.arena(math.prod(layout.extents(n, c, h, w, block)), 1)
        # As codes already: zero + round((x − zero) / 1).
        kernel = f"quantize_i8_{'block' if block == self.lanes else 'image'}_{self.isa}"
        shifted = (x.astype(F) - zero).astype(F)
        self.inputs[-1] = shifted
        self.builder.step(kernel, [source], [made], (n, c, h * w, 0, zero, 0, 255), (1.0,))
        return made

    def result(self, tensor, elements):
        """The codes of a tensor, flat, as floats."""
        y = self.builder.output(elements, 0)
        self.builder.step(f"dequantize_i8_{self.isa}", [tensor], [y], (elements, 1, 1, 0, 0, 0, 255), (1.0,))

    def run(self, extents, channels, block):
        return layout.to_plain(run_steps(self.builder, self.inputs, extents), channels, block)


def run_steps(builder, inputs, shape):
    """Any number of steps, each with two workers."""
    guard, count = 64, math.prod(shape)
    memory = np.full(count + 2 * guard, F(12345.5))
    program = builder.build([2] * steps_of(builder))
    program.run([np.ascontiguousarray(x).reshape(-1) for x in inputs], [memory[guard:-guard]], None)
    assert (memory[:guard] == 12345.5).all()
    assert (memory[-guard:] == 12345.5).all()
    return memory[guard:-guard].reshape(shape)


def steps_of(builder):
    """How many steps a builder holds."""
    for count in range(1, 9):
        try:
            builder.build([1] * count)
        except ValueError as error:
            if "number of workers" not in str(error):
                raise
        else:
            return count
    raise AssertionError("too many steps")


def convolve(kernel, problem, *, floats=False):
    """By `kernel`: the codes, or floats, that it makes of a problem."""
    shape, line = problem["shape"], Line(_isa(kernel))
    block_in, block_out = kernels.blocks(kernel)
    out = layout.extents(shape.n, shape.k, shape.p, shape.q, block_out)
    x = line.codes(problem["x"], block_in, problem["x_zero"])
    operands, added = [x], problem.get("residual")
    if added is not None:
        operands.append(line.codes(added, block_out, problem["r_zero"]))
    packed = native.pack_bytes(
        kernel,
        problem["weight"].reshape(-1),
        shape.values(),
        problem["vectors"],
        problem["x_zero"],
        problem["bias"],
        problem["scale"],
    )
    to, total = problem["to"], problem.get("sum", Codes(0))
    codes = (
        problem["vectors"],
        problem["x_zero"],
        to.zero,
        to.low,
        to.high,
        problem.get("r_zero", 0),
        total.zero,
        total.low,
        total.high,
    )
    factors = problem.get("factors", ())
    if floats:
        y = line.builder.output(math.prod(out), 0)
        line.builder.step(
            kernel.replace(f"_{line.isa}", f"_f32_{line.isa}"),
            operands,
            [y],
            (*shape.values(), *codes),
            factors,
            packed,
        )
    else:
        y = line.arena(math.prod(out), 1)
        line.builder.step(kernel, operands, [y], (*shape.values(), *codes), factors, packed)
        line.result(y, math.prod(out))
    return line.run(out, shape.k, block_out)


def expected(problem, *, floats=False):
    """The same in NumPy."""
    shape = problem["shape"]
    filters = problem["weight"].reshape(shape.k, -1, shape.r, shape.s)
    made = ref.scaled(ref.conv_sums(problem["x"], filters, problem["bias"], shape, problem["x_zero"]), problem["scale"])
    if floats:
        return made
    codes = problem["to"].round(made)
    if "residual" in problem:
        zeros = (problem["to"].zero, problem["r_zero"])
        return ref.add(codes, problem["residual"], zeros, problem["factors"], problem["sum"])
    return codes


codes = st.integers(0, 255)


@st.composite
def ranges(draw):
    """Where results go: any zero and any range of codes."""
    low, high = sorted((draw(codes), draw(codes)))
    return Codes(draw(codes), *draw(st.sampled_from([(0, 255), (low, high)])))


def fill(rng, shape, options):
    """Operands for a shape. options: x_zero, ranges, how far weights reach, and whether a residual is added."""
    x_zero, to, total, reach, added = options
    weight = rng.integers(-reach, reach + 1, (shape.k, shape.depth), dtype=np.int8)
    spread = 80 * reach * math.sqrt(shape.depth) + 1
    problem = {
        "shape": shape,
        "x": rng.integers(0, 256, (shape.n, shape.c, shape.h, shape.w)),
        "weight": weight,
        "bias": rng.integers(-1000, 1000, shape.k),
        "scale": (rng.uniform(20, 200, shape.k) / spread).astype(F),
        "x_zero": x_zero,
        "to": to,
    }
    if added:
        problem["residual"] = rng.integers(0, 256, (shape.n, shape.k, shape.p, shape.q))
        problem |= {
            "r_zero": int(rng.integers(0, 256)),
            "sum": total,
            "factors": tuple(rng.uniform(0.1, 2, 2).astype(F).tolist()),
        }
    return problem


_windows = st.tuples(*[st.integers(1, 4)] * 2, *[st.integers(1, 3)] * 2, *[st.integers(0, 3)] * 4)
_options = st.tuples(
    st.sampled_from([0, 128, 255, 3]), ranges(), ranges(), st.sampled_from([1, 20, 127]), st.booleans()
)
SATURATING = (0, Codes(0), Codes(7), 127, True)


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


@pytest.mark.parametrize("kernel", DENSE)
@settings(max_examples=25, deadline=None)
@given(st.data(), st.integers(0, 2**31), _options, st.integers(1, 4))
def test_dense_of_any_shape(kernel, data, seed, options, vectors):
    """A convolution of codes is NumPy's, with any zero, range of codes, panel width and residual."""
    shape = data.draw(dense_shapes(*kernels.blocks(kernel)))
    problem = fill(np.random.default_rng(seed), shape, options) | {"vectors": vectors}
    np.testing.assert_array_equal(convolve(kernel, problem), expected(problem))


@pytest.mark.parametrize("kernel", DENSE)
@pytest.mark.parametrize("vectors", [1, 2, 3, 4])
def test_dense_at_sizes_of_networks(kernel, vectors):
    """Layers wider and deeper than a register block, with inputs and weights whose pairwise sums leave 16 bits."""
    for values in (
        (1, 130, 14, 15, 70, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
        (2, 3, 40, 61, 66, 7, 7, 1, 2, 2),
        (1, 260, 7, 7, 130, 1, 1),
    ):
        shape = ConvShape(*values)
        problem = fill(np.random.default_rng(5), shape, SATURATING) | {"vectors": vectors}
        problem["x"][...] = np.where(problem["x"] < 128, 255, problem["x"])
        np.testing.assert_array_equal(convolve(kernel, problem), expected(problem))


@pytest.mark.parametrize("kernel", DENSE + DEPTHWISE)
def test_sums_as_floats(kernel):
    """The kernels that end in float32 give the scaled sum, rounded once."""
    groups = 37 if kernel in DEPTHWISE else 1
    shape = ConvShape(1, 37, 9, 10, 37, 3, 3, groups, 1, 1, 1, 1, 1, 1, 1, 1)
    problem = fill(np.random.default_rng(2), shape, (9, Codes(0), Codes(0), 127, False)) | {"vectors": 2}
    np.testing.assert_array_equal(convolve(kernel, problem, floats=True), expected(problem, floats=True))


@pytest.mark.parametrize("kernel", DEPTHWISE)
@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 2**31), _options)
def test_depthwise_of_any_shape(kernel, data, seed, options):
    """One filter a channel, whatever the filter, stride, dilation, padding and zero."""
    n, c, h, w, r, s = (data.draw(st.integers(1, most)) for most in (2, 35, 12, 40, 5, 6))
    window = data.draw(st.one_of(_windows, st.just((1, 1, 1, 1, 1, 1, 1, 1)), st.just((2, 2, 1, 1, 2, 2, 2, 2))))
    try:
        shape = ConvShape(n, c, h, w, c, r, s, c, *window)
    except GraphError:
        assume(False)
    problem = fill(np.random.default_rng(seed), shape, (*options[:4], False)) | {"vectors": 1}
    np.testing.assert_array_equal(convolve(kernel, problem), expected(problem))


@pytest.mark.parametrize("kernel", GEMM)
@settings(max_examples=40, deadline=None)
@given(
    st.tuples(st.integers(1, 30), *[st.integers(1, 150)] * 2, st.integers(1, 4)), st.integers(0, 2**31), codes, ranges()
)
@example((1, 130, 1000, 4), 0, 0, Codes(3))
def test_linear_layers(kernel, extents, seed, x_zero, to):
    """A linear layer is a convolution of one pixel, as codes and as floats."""
    m, n, k, vectors = extents
    line, shape = Line(_isa(kernel)), ConvShape(m, k, 1, 1, n, 1, 1)
    problem = fill(np.random.default_rng(seed), shape, (x_zero, to, to, 127, False)) | {"vectors": vectors}
    bank = (
        problem["weight"].reshape(-1),
        ConvShape(1, k, 1, 1, n, 1, 1).values(),
        vectors,
        x_zero,
        problem["bias"],
        problem["scale"],
    )
    ints = (m, n, k, vectors, x_zero, to.zero, to.low, to.high, 0, 0, 0, 0)
    out = layout.extents(m, n, 1, 1, line.lanes)
    x, y = line.codes(problem["x"], line.lanes, x_zero), line.arena(math.prod(out), 1)
    line.builder.step(kernel, [x], [y], ints, (), native.pack_bytes(kernel, *bank))
    line.result(y, math.prod(out))
    np.testing.assert_array_equal(line.run(out, n, line.lanes), expected(problem))
    floats = kernel.replace("gemm_i8_", "gemm_i8_f32_")
    line = Line(_isa(kernel))
    x, y = line.codes(problem["x"], line.lanes, x_zero), line.builder.output(math.prod(out), 0)
    line.builder.step(floats, [x], [y], ints, (), native.pack_bytes(floats, *bank))
    np.testing.assert_array_equal(line.run(out, n, line.lanes), expected(problem, floats=True))


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(0, 2**31), codes, ranges())
def test_pooling(isa, data, seed, x_zero, to):
    """Largest and mean of windows of any size, padding counted or not."""
    n, c, h, w, r, s = (data.draw(st.integers(1, most)) for most in (2, 35, 12, 20, 4, 4))
    try:
        shape = PoolShape(
            n, c, h, w, r, s, *data.draw(_windows), data.draw(st.integers(0, 1)), data.draw(st.integers(0, 1))
        )
    except GraphError:
        assume(False)
    x = np.random.default_rng(seed).integers(0, 256, (n, c, h, w))
    scale = data.draw(st.floats(1 / 64, 3, width=32))
    for kind, want in (("max", ref.max_pool(x, shape)), ("average", ref.average_pool(x, shape, x_zero, scale, to))):
        line = Line(isa)
        out = layout.extents(n, c, shape.p, shape.q, line.lanes)
        y = line.arena(math.prod(out), 1)
        source = line.codes(x, line.lanes, x_zero)
        ints = (*shape.values(), x_zero, to.zero, to.low, to.high)
        line.builder.step(f"pool_i8_{kind}_{isa}", [source], [y], ints, (scale,))
        line.result(y, math.prod(out))
        np.testing.assert_array_equal(line.run(out, c, line.lanes), want)


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=25, deadline=None)
@given(st.tuples(st.integers(1, 20), st.integers(1, 300)), st.integers(0, 2**31), st.tuples(codes, codes), ranges())
def test_addition(isa, extents, seed, zeros, to):
    """The sum of two tensors of codes, each with its own scale and zero."""
    c, area = extents
    rng, line = np.random.default_rng(seed), Line(isa)
    a, b = rng.integers(0, 256, (2, 1, c, 1, area))
    factors = rng.uniform(0, 2, 2).astype(F)
    out = layout.extents(1, c, 1, area, line.lanes)
    operands = [line.codes(v, line.lanes, zero) for v, zero in zip((a, b), zeros, strict=True)]
    y, count = line.arena(math.prod(out), 1), math.prod(out)
    line.builder.step(f"add_i8_{isa}", operands, [y], (count, *zeros, to.zero, to.low, to.high), factors.tolist())
    line.result(y, count)
    want = ref.add(a, b, zeros, factors, to)
    np.testing.assert_array_equal(line.run(out, c, line.lanes), want)


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=25, deadline=None)
@given(
    st.tuples(st.integers(1, 2), st.integers(1, 40), st.integers(1, 1200)),
    st.integers(0, 2**31),
    ranges(),
    st.booleans(),
)
def test_quantize_and_back(isa, extents, seed, to, image):
    """Codes of real numbers are ONNX's, in blocks and plain; NaN becomes the lowest, and infinity an end."""
    n, c, area = extents
    c = min(c, 4) if image else c
    rng, line = np.random.default_rng(seed), Line(isa)
    x, scale = (rng.standard_normal((n, c, 1, area)) * 3).astype(F), float(F(rng.uniform(0.01, 0.1)))
    x.reshape(-1)[:3] = [np.nan, np.inf, -np.inf][: x.size]
    with np.errstate(invalid="ignore"):
        want = to.round(x / F(scale))
    block = 4 if image else line.lanes
    out = layout.extents(n, c, 1, area, block)
    made, source = line.arena(math.prod(out), 1), line.builder.input(x.size, 0)
    kernel = f"quantize_i8_{'image' if image else 'block'}_{isa}"
    line.builder.step(kernel, [source], [made], (n, c, area, 0, to.zero, to.low, to.high), (scale,))
    line.result(made, math.prod(out))
    got = run_steps(line.builder, [x], out)
    np.testing.assert_array_equal(layout.to_plain(got, c, block), want)
    if c % block:
        assert (got[:, -1, :, :, c % block :] == to.zero).all(), "zeros behind the last channel"
    flat = Line(isa)
    source, made, y = flat.builder.input(x.size, 0), flat.arena(x.size, 1), flat.builder.output(x.size, 0)
    flat.builder.step(
        f"quantize_i8_lanes_{isa}", [source], [made], (x.size, 1, 1, 0, to.zero, to.low, to.high), (scale,)
    )
    flat.builder.step(f"dequantize_i8_{isa}", [made], [y], (x.size, 1, 1, to.zero, 0, 0, 255), (scale,))
    got = run_steps(flat.builder, [x], x.shape)
    np.testing.assert_array_equal(got, (want.astype(F) - F(to.zero)) * F(scale))


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=15, deadline=None)
@given(st.integers(1, 2), st.integers(1, 40), st.integers(1, 1200), codes)
def test_reordering_there_and_back(isa, n, c, area, zero):
    """From blocks to plain codes and back, with the zero behind the last channel."""
    line, x = Line(isa), np.random.default_rng(c).integers(0, 256, (n, c, 1, area))
    out = layout.extents(n, c, 1, area, line.lanes)
    blocks, plain, again = line.codes(x, line.lanes, 0), line.arena(x.size, 1), line.arena(math.prod(out), 1)
    line.builder.step(f"reorder_i8_plain_{isa}", [blocks], [plain], (n, c, area, 0, zero, 0, 255), (1.0,))
    line.builder.step(f"reorder_i8_block_{isa}", [plain], [again], (n, c, area, 0, zero, 0, 255), (1.0,))
    line.result(again, math.prod(out))
    got = run_steps(line.builder, line.inputs, out)
    np.testing.assert_array_equal(layout.to_plain(got, c, line.lanes), x)
    if c % line.lanes:
        assert (got[:, -1, :, :, c % line.lanes :] == zero).all()


@pytest.mark.parametrize("kernel", DENSE + DEPTHWISE)
def test_what_does_not_fit_is_refused(kernel):
    """Sums that could leave int32, weights of another layer, codes that are none: an exception, no wrong answer."""
    depthwise = kernel in DEPTHWISE
    shape = ConvShape(1, 4, 3, 3, 4, 3, 3, 4 if depthwise else 1)
    weight, bias, scale = np.full(4 * shape.depth, 127, np.int8), np.zeros(4, np.int64), np.ones(4, F)

    def pack(values=None, **other):
        given = {"weight": weight, "bias": bias, "scale": scale, "x_zero": 0, "vectors": 1} | other
        return native.pack_bytes(
            kernel,
            given["weight"],
            values or shape.values(),
            given["vectors"],
            given["x_zero"],
            given["bias"],
            given["scale"],
        )

    for wrong in (
        {"bias": bias + 2**31 - 255 * 127 * shape.depth},
        {"bias": bias - 2**40},
        {"scale": scale * F(np.inf)},
        {"x_zero": 256},
        {"vectors": 5},
        {"weight": weight[1:]},
        {"bias": bias[1:]},
    ):
        with pytest.raises(ValueError, match=r"int32|filter"):
            pack(**wrong)
    other = (
        ConvShape(1, 4, 3, 3, 4, 1, 1, 4) if depthwise else ConvShape(1, 4, 3, 3, 4, 1, 9, 1, 1, 1, 1, 1, 0, 3, 0, 3)
    )
    good = (1, 0, 0, 0, 255, 0, 0, 0, 255)
    for values, numbers, packed in (
        (shape.values(), good, pack(other.values(), weight=np.ones(4 * other.depth, np.int8))),
        (shape.values(), (1, 0, 0, 9, 8, 0, 0, 0, 255), pack()),
        (shape.values(), (1, 0, 256, 0, 255, 0, 0, 0, 255), pack()),
        (shape.values(), (2, *good[1:]), pack()),
        (shape.values(), good[1:], pack()),
        (shape.values(), good, None),
    ):
        line = Line(_isa(kernel))
        x = line.codes(np.zeros((1, 4, 3, 3)), kernels.blocks(kernel)[0], 0)
        y = line.arena(line.lanes * -(-4 // line.lanes), 1)
        with pytest.raises(ValueError, match=r"packed|another shape|code|number"):
            _build(line, (kernel, [x], [y], (*values, *numbers), (), packed))


def _build(line, step):
    line.builder.step(*step)
    line.builder.build([1, 1])
