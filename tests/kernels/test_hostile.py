"""Whatever Python hands to the native side, it is refused or it works: nothing is indexed unchecked."""

from __future__ import annotations

import numpy as np
import pytest
from one_kernel import names, step

from lissome.runtime.native import native

pytestmark = pytest.mark.native

F = np.float32
CONV = (1, 2, 5, 5, 3, 2, 2, 1, 1, 1, 1, 1, 0, 0, 0, 0)  # 50 inputs, 3 filters of 8 weights, 48 outputs
SOME = np.array([0, 3], np.int64)
TWO = np.ones(2, F)
WINOGRAD = (1, 3, 6, 6, 6, 3, 3, 1, 1, 1, 1, 1, 0, 0, 0, 0)  # 6 filters of 27 weights


def filters(rows, columns):
    """Ones, packed for the scalar im2col kernel."""
    panel = next(row[2] for row in native.kernels() if row[0] == "conv_f32_im2col_scalar")
    return native.pack_filters(np.ones(rows * columns, F), rows, columns, 1, panel)


@pytest.mark.parametrize(
    "positions",
    [[3, 0], [0, 0], [-1, 2], [0, 12], [0, 2**62]],
    ids=["descending", "twice", "negative", "past the end", "far past the end"],
)
def test_positions_outside_the_weight(positions):
    """Positions that do not increase within the weight are refused by both packers."""
    positions = np.array(positions, np.int64)
    with pytest.raises(ValueError, match="positions increase strictly"):
        native.pack_sell(3, 4, positions, TWO, None, None)
    positions[positions == 12] = 24
    with pytest.raises(ValueError, match="positions increase strictly"):
        native.pack_taps(CONV, positions, TWO, None, None)


@pytest.mark.parametrize(
    ("values", "codes", "table"),
    [
        (np.ones(3, F), None, None),
        (None, None, None),
        (None, np.array([0, 2], np.uint8), TWO),
        (None, np.array([0], np.uint8), TWO),
        (None, np.array([0, 0], np.uint8), np.zeros(257, F)),
    ],
    ids=["too many values", "neither", "code past the table", "too few codes", "table too long"],
)
def test_values_that_do_not_fit_positions(values, codes, table):
    """Every position has one value, or one code into the table."""
    with pytest.raises(ValueError, match=r"one value|points past"):
        native.pack_sell(3, 4, SOME, values, codes, table)


def test_slots_that_are_no_codes():
    """Slots hold codes into at most 63 values, each within them."""
    codes = np.zeros(2, np.uint8)
    for code, table in ((codes, np.zeros(64, F)), (codes + 2, TWO), (codes[:1], TWO)):
        with pytest.raises(ValueError, match=r"at most 63|one value|points past"):
            native.pack_slots(3, 4, SOME, code, table)
    with pytest.raises(ValueError, match="positions increase strictly"):
        native.pack_slots(3, 4, SOME[::-1].copy(), codes, TWO)
    with pytest.raises(ValueError, match="columns"):
        native.pack_slots(1, 2**24, SOME, codes, TWO)


def test_codes_that_are_none():
    """As many codes as weights, each within a table that its bits can name."""
    codes = np.zeros(12, np.uint8)
    for arguments in (
        (3, 4, codes[1:], TWO, 8, 4),
        (3, 4, codes + 2, TWO, 8, 4),
        (3, 4, codes, np.zeros(17, F), 8, 4),
        (3, 4, codes, np.zeros(33, F), 8, 5),
        (3, 4, codes, TWO[:0], 8, 4),
        (3, 4, codes, TWO, 0, 4),
        (3, 4, codes, TWO, 8, 3),
        (2**40, 2**40, codes, TWO, 8, 4),
    ):
        with pytest.raises(ValueError, match=r"codes|code points|extent|elements"):
            native.pack_codes(*arguments)


@pytest.mark.parametrize(("rows", "columns"), [(0, 4), (-1, 4), (2**40, 2**40), (2**62, 4)])
def test_impossible_matrices(rows, columns):
    """Extents below one, or whose product overflows, are refused before anything is allocated for them."""
    with pytest.raises(ValueError, match=r"extents are at least 1|fewer than"):
        native.pack_sell(rows, columns, np.zeros(0, np.int64), np.zeros(0, F), None, None)
    with pytest.raises(ValueError, match=r"extents are at least 1|fewer than"):
        native.pack_rows(np.ones(4, F), rows, columns)
    with pytest.raises(ValueError, match=r"extents are at least 1|fewer than"):
        native.pack_panels(np.ones(4, F), rows, columns, 8)
    with pytest.raises(ValueError, match=r"extents are at least 1|fewer than"):
        native.pack_filters(np.ones(4, F), rows, columns, 1, 8)


def test_filters_that_winograd_cannot_have():
    """Filters that are not square, grouped, of another size than the shape says, or without a kernel are refused."""
    cases = [
        (np.ones(161, F), WINOGRAD, 2, "k × c × r × s"),
        (np.ones(108, F), (*WINOGRAD[:6], 2, *WINOGRAD[7:]), 2, "square"),
        (np.ones(54, F), (*WINOGRAD[:7], 3, *WINOGRAD[8:]), 2, "one group"),
        (np.ones(162, F), WINOGRAD, 3, "Winograd kernels are"),
        (np.ones(162, F), WINOGRAD, 2**62, "Winograd kernels are"),
    ]
    for weight, shape, tile, message in cases:
        with pytest.raises(ValueError, match=message):
            native.pack_winograd(weight, shape, tile, 4)
    with pytest.raises(ValueError, match="a vector"):
        native.pack_winograd(np.ones(162, F), WINOGRAD, 2, 0)
    with pytest.raises(ValueError, match="k × c × r × s"):
        native.pack_mec(np.ones(161, F), WINOGRAD, 8)
    with pytest.raises(ValueError, match="a panel"):
        native.pack_mec(np.ones(162, F), WINOGRAD, 0)
    with pytest.raises(ValueError, match="finite points"):
        native.winograd_matrices(2, 3, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"groups divide|a panel"):
        native.pack_filters(np.ones(6, F), 3, 2, 2, 8)
    with pytest.raises(ValueError, match=r"groups divide|a panel"):
        native.pack_filters(np.ones(6, F), 3, 2, 1, 0)


@pytest.mark.parametrize("at", range(16))
@pytest.mark.parametrize("value", [-1, 0, 2**31, 2**62])
def test_convolutions_with_one_impossible_number(at, value):
    """Each number of a convolution in turn: refused, unless it is a padding of 0."""
    shape = list(CONV)
    shape[at] = value
    if at >= 12 and value == 0:
        assert native.conv_extents(shape) == (4, 4)
    else:
        with pytest.raises(ValueError, match=r"at least|divide|larger|fewer"):
            native.conv_extents(shape)


def _conv_builder(tensor_in=50, tensor_out=48):
    builder = native.Builder()
    return builder, builder.input(tensor_in, 0), builder.output(tensor_out, 0)


@pytest.mark.parametrize(
    ("elements", "message"), [((49, 48), "reads a tensor"), ((50, 47), "writes a tensor"), ((10**9, 48), "reads")]
)
def test_steps_that_contradict_their_tensors(elements, message):
    """A convolution whose input or output has another size is refused when the program is built."""
    builder, x, y = _conv_builder(*elements)
    step(builder, "conv_f32_im2col_scalar", (x, y), CONV, weights=filters(3, 8), bias=None)
    with pytest.raises(ValueError, match=message):
        builder.build([1])


def test_weights_of_another_shape_or_form():
    """Weights must be packed for this kernel and this very shape; a bias must have one value an output."""
    taps = native.pack_taps((*CONV[:2], 6, *CONV[3:]), SOME, TWO, None, None)
    rows = native.pack_rows(np.ones(24, F), 3, 8)
    cases = [
        ("conv_f32_sparse_scalar", taps, None, "another input"),
        ("conv_f32_sparse_scalar", rows, None, "not packed"),
        ("conv_f32_im2col_scalar", None, None, "not packed"),
        ("conv_f32_im2col_scalar", filters(2, 8), None, "another shape"),
        ("conv_f32_im2col_scalar", native.pack_filters(np.ones(24, F), 3, 8, 1, 5), None, "another width"),
        ("conv_f32_im2col_scalar", filters(3, 8), np.ones(2, F), "bias"),
    ]
    for kernel, weights, bias, message in cases:
        builder, x, y = _conv_builder()
        step(builder, kernel, (x, y), CONV, weights=weights, bias=bias)
        with pytest.raises(ValueError, match=message):
            builder.build([1])
    for tile, shape in ((2, WINOGRAD), (4, (*WINOGRAD[:7], 1, 2, *WINOGRAD[9:]))):
        packed = native.pack_winograd(np.ones(162, F), WINOGRAD, tile, 4)
        builder = native.Builder()
        extents = native.conv_extents(shape)
        ends = builder.input(4 * 36, 0), builder.output(8 * extents[0] * extents[1], 0)
        step(builder, "conv_f32_winograd_4x3_scalar", ends, shape, weights=packed)
        with pytest.raises(ValueError, match=r"another tile|cannot do this shape"):
            builder.build([1])
    for kernel in names("gemm_f32_panels"):
        builder = native.Builder()
        ends = builder.input(4, 0), builder.output(3, 0)
        step(builder, kernel, ends, (1, 3, 4), weights=native.pack_panels(np.ones(12, F), 3, 4, 5))
        with pytest.raises(ValueError, match="panels"):
            builder.build([1])


def test_tensors_outside_their_place():
    """Unknown, misaligned, misnumbered and read-only tensors are refused."""
    cases = [
        (lambda b: (b.input(12, 0), 7), "does not exist"),
        (lambda b: (-1, b.output(12, 0)), "does not exist"),
        (lambda b: (b.input(12, 0), b.arena(12, 4)), "aligned"),
        (lambda b: (b.input(12, 0), b.arena(12, -64)), "misplaced"),
        (lambda b: (b.input(12, 0), b.arena(2**60, 0)), "misplaced"),
        (lambda b: (b.input(12, 1), b.output(12, 0)), "numbered"),
        (lambda b: (b.input(12, 0), b.input(12, 1)), "writes to the arena or an output"),
        (lambda b: (b.output(12, 0), b.constant(np.ones(12, F))), "writes to the arena or an output"),
    ]
    for make, message in cases:
        builder = native.Builder()
        ends = make(builder)
        step(builder, "unary_f32_copy_scalar", ends, (12,))
        with pytest.raises(ValueError, match=message):
            builder.build([1])


@pytest.mark.parametrize(
    ("whole", "elements", "skip"), [(0, 12, 1), (0, 0, 0), (0, 1, -1), (3, 1, 0), (0, 2**62, 2**62)]
)
def test_parts_outside_their_tensor(whole, elements, skip):
    """A part must lie within a tensor that exists."""
    builder = native.Builder()
    builder.input(12, 0)
    with pytest.raises(ValueError, match="part"):
        builder.part(whole, elements, skip)


def test_parts_are_runs_of_their_tensor():
    """A step may read a part of an input and write a part of an output."""
    builder = native.Builder()
    x, y = builder.input(12, 0), builder.output(12, 0)
    step(builder, "unary_f32_copy_scalar", (builder.part(x, 4, 8), builder.part(y, 4, 2)), (4,))
    got = np.zeros(12, F)
    builder.build([1]).run([np.arange(12, dtype=F)], [got], None)
    np.testing.assert_array_equal(got, [0, 0, 8, 9, 10, 11, 0, 0, 0, 0, 0, 0])


def test_broadcasts_that_reach_outside():
    """Strides that would read past an operand, or run backwards, are refused."""
    for strides in ([100, 1], [-4, 1], [2**62, 1]):
        builder = native.Builder()
        a, b, y = builder.input(12, 0), builder.input(12, 1), builder.output(12, 0)
        builder.step("binary_f32_add_scalar", [a, b], [y], [3, 4, *strides, 4, 1])
        with pytest.raises(ValueError, match=r"stride|reads a tensor"):
            builder.build([1])


def test_runs_with_wrong_arrays():
    """Too few, too many or wrongly sized arrays never reach a kernel."""
    builder = native.Builder()
    step(builder, "unary_f32_copy_scalar", (builder.input(12, 0), builder.output(12, 0)), (12,))
    program = builder.build([1])
    x, y = np.arange(12, dtype=F), np.zeros(12, F)
    for inputs, outputs, seconds in (([], [y], None), ([x, x], [y], None), ([x[:11]], [y], None), ([x], [], None)):
        with pytest.raises(ValueError, match=r"array|pointer"):
            program.run(inputs, outputs, seconds)
    with pytest.raises(ValueError, match="one time"):
        program.run([x], [y], np.zeros(2))
    fixed = y.copy()
    fixed.flags.writeable = False
    wrong = x.astype(np.int32), x.astype(">f4"), np.zeros(24, F)[::2], x.astype(np.float16), memoryview(b"12"), 5, None
    for arrays in (*(([each], [y]) for each in wrong), *(([x], [each]) for each in (*wrong, fixed))):
        with pytest.raises(ValueError, match="array"):
            program.run(*arrays, None)
    for arrays in ((5, [y]), ([x], 5), (None, [y])):
        with pytest.raises(TypeError, match=r"tuple or a list|incompatible"):
            program.run(*arrays, None)
    with pytest.raises(ValueError, match="array"):
        program.run([x], [y], np.zeros(1, F))
    program.run((x.reshape(3, 4),), (y.reshape(2, 6),), np.zeros(1))
    np.testing.assert_array_equal(x, y)


def test_unknown_kernels_and_workers():
    """A kernel that does not exist, one of another operator, and an impossible number of workers."""
    builder = native.Builder()
    ends = builder.input(12, 0), builder.output(12, 0)
    for name, message in (("conv_f32_magic_avx2", "no kernel"), ("pool_f32_max_scalar", "as many numbers")):
        with pytest.raises(ValueError, match=message):
            step(builder, name, ends, (12,))
    with pytest.raises(ValueError, match="no activation"):
        builder.step("unary_f32_copy_scalar", *([end] for end in ends), [12], activation=("softplus", 0.0, 0.0))
    step(builder, "unary_f32_copy_scalar", ends, (12,))
    for workers in ([], [0], [257], [1, 1]):
        with pytest.raises(ValueError, match="worker"):
            builder.build(workers)


def _build(builder, *step_of):
    builder.step(*step_of)
    builder.build([1])


MOVE = (12, 12, 0, 0, 3, 4, 4, 1, 4, 1)  # elements of both sides, where they begin, extents, strides of both


@pytest.mark.parametrize(
    ("at", "value"),
    [
        *((0, 0), (0, 11), (0, 2**40), (1, 11), (2, -1), (2, 1), (2, 12), (3, 1), (3, -(2**62)), (4, 0), (4, 4)),
        *((5, 2**31), (6, 5), (6, -4), (6, 2**62), (7, -1), (8, 0), (8, 3), (8, -4), (9, 0), (9, 4), (9, 2**62)),
    ],
)
def test_moves_with_one_impossible_number(at, value):
    """A move that would leave either tensor, or write an element twice, is refused."""
    numbers = list(MOVE)
    numbers[at] = value
    builder = native.Builder()
    with pytest.raises(ValueError, match=r"move|stride|extents|elements"):
        step(builder, "move_f32_scalar", (builder.input(12, 0), builder.output(12, 0)), tuple(numbers))


def test_moves_between_other_tensors():
    """A move's tensors have the sizes that it was checked for."""
    for ends in ((11, 12), (12, 13)):
        builder = native.Builder()
        step(builder, "move_f32_scalar", (builder.input(ends[0], 0), builder.output(ends[1], 0)), MOVE)
        with pytest.raises(ValueError, match=r"reads a tensor|writes a tensor"):
            builder.build([1])


@pytest.mark.parametrize("indices", [[-2], [3], [2**40], [-(2**63)]])
def test_indices_outside_their_axis(indices):
    """Indices are within the axis, or -1."""
    with pytest.raises(ValueError, match="indices lie within"):
        native.pack_indices(np.array(indices, np.int64), 3)
    with pytest.raises(ValueError, match="indices lie within"):
        native.pack_weighted(np.array(indices, np.int64), np.ones(1, F), 1, 3)


def test_weighted_indices_that_contradict_each_other():
    """One weight an index, whole elements, and an element that is made of nothing has no tap inside."""
    two = np.array([0, 1], np.int64)
    for weights, taps in ((np.ones(1, F), 1), (TWO, 0), (TWO, 3), (TWO, -1)):
        with pytest.raises(ValueError, match="one weight for each index"):
            native.pack_weighted(two, weights, taps, 3)
    with pytest.raises(ValueError, match="all -1, or none"):
        native.pack_weighted(np.array([0, -1], np.int64), TWO, 2, 3)


@pytest.mark.parametrize("kernel", ["select_f32_scalar", "select_f32_blocked_scalar"])
@pytest.mark.parametrize(
    ("ints", "extent", "message"),
    [
        ((2, 3, 2, 2), 5, "another shape"),
        ((2, 3, 3, 2, 3), 5, "another shape"),
        ((2, 3, 2, 2, 2**31), 5, "extents"),
        ((2**20, 2**20, 2, 5), 5, "elements"),
        ((2, 3, 2), 5, "1 to 8 inputs"),
        ((2, 3, 2, *[1] * 9), 9, "1 to 8 inputs"),
        ((2, 3, 2, 0, 5), 5, "extents"),
    ],
)
def test_selections_that_contradict_their_indices(kernel, ints, extent, message):
    """Indices were packed for this many elements of inputs of these very extents."""
    block = 4 if "blocked" in kernel else 1
    builder = native.Builder()
    counts = ints[3:]
    ends = [builder.input(max(1, 6 * -(-count // block) * block), i) for i, count in enumerate(counts)]
    y = builder.output(6 * -(-ints[2] // block) * block, 0)
    packed = native.pack_indices(np.array([0, extent - 1], np.int64), extent)
    with pytest.raises(ValueError, match=message):
        _build(builder, kernel, ends, [y], ints, [0.0], packed)


@pytest.mark.parametrize(
    ("kernel", "ints", "floats", "message"),
    [
        ("unary_f32_clip_scalar", (6,), (0.0, 1.0, 2.0), "two constants"),
        ("reduce_f32_sum_scalar", (2, 3, 2**40), (), "extents"),
        ("reduce_f32_sum_scalar", (2, -3, 1), (), "extents"),
        ("layer_norm_f32_scalar", (2, 3), (), "constants"),
        ("lrn_f32_scalar", (1, 2, 3, 0), (1.0, 1.0, 1.0), "extents"),
        ("lrn_f32_blocked_scalar", (1, 2, 3, 2**40), (1.0, 1.0, 1.0), "extents"),
        ("lstm_f32_scalar", (1, 1, 3, 4, 3, 0, 0), (), "two directions"),
        ("lstm_f32_scalar", (1, 1, 3, 4, 1, 1, 0), (), "two directions"),
        ("product_f32_scalar", (2, 2, 2, 2, 1, 2), (1.0,), "a product"),
        ("product_f32_scalar", (2, 2, 2, -1, 1, 2, 1), (1.0,), "stride"),
        ("product_f32_scalar", (2, 2, 2, 2**50, 1, 2, 1), (1.0,), "stride"),
        ("resample_f32_scalar", (1, 1, 2, 0, 3), (0.0,), "extents"),
    ],
)
def test_numbers_that_an_operator_does_not_take(kernel, ints, floats, message):
    """Whatever numbers a step is given, they are refused by name or when its tensors are compared."""
    builder = native.Builder()
    ends = [builder.input(6, 0), builder.input(6, 1)], [builder.output(6, 0)]
    with pytest.raises(ValueError, match=message):
        _build(builder, kernel, *ends, ints, list(floats))


def test_recurrent_layers_of_another_width():
    """Hidden units are padded to this instruction set's vector, and every tensor has the size that follows."""
    weights = native.pack_panels(np.ones(48, F), 16, 3, 16)
    for units, gates, message in ((8, 32, "whole vectors"), (4, 15, "reads a tensor"), (4, 16, "another shape")):
        builder = native.Builder()
        inputs = [builder.input(count, i) for i, count in enumerate((gates, 3, 3, 12))]
        outputs = [builder.output(3, i) for i in range(3)]
        packed = weights if message != "another shape" else native.pack_panels(np.ones(32, F), 16, 2, 16)
        builder.step("lstm_f32_scalar", inputs, outputs, (1, 1, 3, units, 1, 0, 0), [], packed)
        with pytest.raises(ValueError, match=message):
            builder.build([1])
