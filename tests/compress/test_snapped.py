"""Methods whose weights take values from a small set: each against its paper's equations, and its gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lissome.compress.apply import coded_parameters, compress_
from lissome.compress.binarize import BinaryConnect, BinaryWeight, TernaryWeight, TrainedTernary
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import DynamicFixedPoint, Format, Log
from lissome.compress.quantize.fixed_point import accumulator_bits
from lissome.errors import RecipeError
from lissome.weights import Codebook, Dense, Sparse
from lissome.weights.formats import FORMATS, round_to
from methods import layer

matrices = npst.arrays(
    np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.floats(-100, 100, width=32)
)


def snapped(values, method):
    """What the network sees of `values`."""
    module = layer(values)
    compress_(module, [method])
    return module.weight.detach().numpy()


def gradients(values, method, upstream):
    """Gradient of the original weights (and of other parameters) for this gradient of the snapped ones."""
    module = layer(values)
    compress_(module, [method])
    module.weight.backward(torch.tensor(np.asarray(upstream, np.float32)))
    found = {name.rpartition(".")[2]: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return found["original"].numpy(), found


@given(matrices)
def test_binary_connect_is_the_sign(values):
    """+1 for positive weights, −1 for negative ones; 0 stays, as pruned."""
    np.testing.assert_array_equal(snapped(values, BinaryConnect()), np.sign(values))


def test_binary_connect_passes_gradients_inside_one():
    """The straight-through gradient where |w| ≤ 1, none outside: such a weight would only grow."""
    found, _ = gradients([[0.5, -1.0, 1.5, -2.0]], BinaryConnect(), [[1, 2, 3, 4]])
    np.testing.assert_array_equal(found, [[1, 2, 0, 0]])


def test_stochastic_signs_have_the_chance_of_the_hard_sigmoid():
    """While training, +1 with probability clip((w + 1) / 2, 0, 1) within 4 standard errors; in evaluation the sign."""
    weights = np.array([-1.5, -0.6, -0.1, 0.3, 0.8, 2.0], np.float32)
    module = layer(np.repeat(weights[:, None], 4000, axis=1))
    compress_(module, [BinaryConnect(stochastic=True)])
    torch.manual_seed(0)
    share = (module.train().weight.detach().numpy() > 0).mean(1)
    chance = np.clip((weights + 1) / 2, 0, 1)
    assert (np.abs(share - chance) <= 4 * np.sqrt(chance * (1 - chance) / 4000)).all()
    np.testing.assert_array_equal(module.eval().weight.detach().numpy()[:, 0], np.sign(weights))


@given(matrices)
def test_binary_weight_is_the_best_scaled_sign(values):
    """Equation 6: each filter is ± the mean magnitude of its entries that are not 0; no other α comes closer."""
    found = snapped(values, BinaryWeight())
    for row, binary in zip(values.astype(np.float64), found, strict=True):
        alive = row != 0
        alpha = np.abs(row[alive]).mean() if alive.any() else 0.0
        np.testing.assert_allclose(binary, np.sign(row) * alpha, rtol=1e-5, atol=1e-30)
        error = ((row - binary) ** 2).sum()
        for other in (0.9 * alpha, 1.1 * alpha):
            assert error <= ((row - np.sign(row) * other) ** 2).sum() * (1 + 1e-6) + 1e-12


def test_binary_weight_has_the_papers_gradient():
    """∂C/∂W = ∂C/∂W̃ · (1/n + α 1[|w| ≤ 1]), filter by filter."""
    found, _ = gradients([[0.5, -1.5, 1.0], [0.25, 0.25, -0.25]], BinaryWeight(), [[1, 1, 2], [3, 1, 1]])
    np.testing.assert_allclose(
        found, [[1 / 3 + 1, 1 / 3, 2 / 3 + 2], [1 + 0.75, 1 / 3 + 0.25, 1 / 3 + 0.25]], rtol=1e-6
    )


@given(matrices)
def test_ternary_weight_follows_its_equations(values):
    """Δ = 0.7 mean |w| over what is not 0, α the mean magnitude above Δ."""
    wide = np.abs(values.astype(np.float64))
    alive = np.count_nonzero(wide)
    large = wide > 0.7 * wide.sum() / max(alive, 1)
    alpha = wide[large].mean() if large.any() else 0.0
    np.testing.assert_allclose(snapped(values, TernaryWeight()), np.sign(values) * large * alpha, rtol=1e-6, atol=1e-30)


@given(matrices)
def test_trained_ternary_starts_at_the_means_of_its_sides(values):
    """Above 0.05 max |w| the mean of the positive ones, below minus that the mean of the negative ones."""
    threshold = np.float32(0.05) * np.abs(values).max()
    up, down = values > threshold, values < -threshold
    expected = np.zeros_like(values)
    expected[up] = values[up].astype(np.float64).mean() if up.any() else 0
    expected[down] = values[down].astype(np.float64).mean() if down.any() else 0
    np.testing.assert_allclose(snapped(values, TrainedTernary()), expected, rtol=1e-5, atol=1e-30)


def test_trained_ternary_has_the_papers_gradients():
    """Equations 7 and 8: scales get their members' sums, originals the gradient times Wp, 1 or Wn."""
    values = [[2.0, 4.0, 0.1, -1.0, -3.0]]
    found, others = gradients(values, TrainedTernary(), [[1, 2, 3, 4, 5]])
    np.testing.assert_allclose(found, [[3 * 1, 3 * 2, 3, 2 * 4, 2 * 5]], rtol=1e-6)
    np.testing.assert_allclose(others["scales"].numpy(), [1 + 2, -(4 + 5)], rtol=1e-6)


@pytest.mark.parametrize("method", [BinaryConnect(), BinaryWeight(), TernaryWeight(), TrainedTernary()], ids=str)
def test_binary_and_ternary_weights_pack_as_codes(method):
    """A codebook of two or three values (per filter where they are scaled so), sparse behind a mask."""
    torch.manual_seed(0)
    for before in ([], [Magnitude(sparsity=0.5)]):
        module = layer(np.random.default_rng(0).normal(size=(4, 40)))
        compress_(module, [*before, method])
        coded = coded_parameters(module)["weight"]
        values = coded.values if before else coded
        assert isinstance(coded, Sparse if before else Codebook)
        assert isinstance(values, Codebook)
        assert values.codebook.size <= (8 if isinstance(method, BinaryWeight) else 3)


@given(matrices, st.sampled_from(FORMATS))
def test_format_is_the_rounding_of_that_format(values, fmt):
    """What formats.round_to says, bit for bit, and the coded weight stores that format."""
    module = layer(values)
    compress_(module, [Format(format=fmt)])
    np.testing.assert_array_equal(module.weight.detach().numpy(), round_to(values, fmt))
    coded = coded_parameters(module)["weight"]
    assert isinstance(coded, Dense)
    assert coded.format == fmt


def test_format_holds_what_is_too_large_at_its_largest_number():
    """1e6 becomes 448 in float8 and 65,504 in float16, with its sign."""
    assert snapped([[1e6, -1e6]], Format(format="float8_e4m3")).tolist() == [[448, -448]]
    assert snapped([[1e6, -1e6]], Format(format="float16")).tolist() == [[65504, -65504]]


@given(matrices, st.integers(2, 12))
def test_dynamic_fixed_point_is_an_integer_times_a_power_of_two_that_fits(values, bits):
    """Integers times 2^−f, in two's complement, f the largest at which the largest magnitude's whole part fits."""
    found = snapped(values, DynamicFixedPoint(bits=bits)).astype(np.float64)
    largest = float(np.abs(values).max())
    whole = np.floor(np.log2(largest)) + 1 if largest else 1
    scale = 2.0 ** (bits - 1 - whole)
    expected = np.clip(np.round(values.astype(np.float64) * scale), -(2 ** (bits - 1)), 2 ** (bits - 1) - 1) / scale
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_block_floating_point_has_a_power_for_each_block():
    """Blocks of a filter are rounded as layers of their own; the last one may be short."""
    values = np.array([[100.0, 3.0, 0.011, 0.02, 5.0], [0.5, 0.25, 8.0, 1.0, 0.001]], np.float32)
    found = snapped(values, DynamicFixedPoint(bits=4, block=2))
    for row, rounded in zip(values, found, strict=True):
        for at in range(0, 5, 2):
            alone = snapped(row[None, at : at + 2], DynamicFixedPoint(bits=4))
            np.testing.assert_array_equal(rounded[at : at + 2], alone[0])


def test_stochastic_rounding_is_right_on_average():
    """While training, the mean over many draws is the weight, within 4 standard errors; in evaluation, the nearest."""
    module = layer(np.full((1, 20_000), 0.3, np.float32))
    with torch.no_grad():
        module.weight[0, 0] = 1.0
    compress_(module, [DynamicFixedPoint(bits=4, rounding="stochastic")])
    torch.manual_seed(0)
    drawn = module.train().weight.detach().numpy()[0, 1:]
    assert set(np.unique(drawn)) == {0.25, 0.5}
    assert drawn.mean() == pytest.approx(0.3, abs=4 * 0.1 / np.sqrt(20_000))
    assert (module.eval().weight.detach().numpy()[0, 1:] == 0.25).all()


def test_accumulators_are_as_wide_as_the_worst_sum():
    """2b + log2 N bits hold N products of the most negative b-bit numbers; twice as many need one more."""
    for bits, products in ((8, 9), (8, 2304), (10, 1), (4, 256)):
        width = accumulator_bits(bits, products)
        worst = products * (2 ** (bits - 1)) ** 2
        assert worst <= 2 ** (width - 1) - 1
        assert accumulator_bits(bits, 2 * products) == width + 1


@given(matrices, st.sampled_from(["2", "sqrt2"]), st.integers(2, 6))
def test_log_domain_is_a_power_within_reach(values, base, bits):
    """The sign times b^round(log_b |w|) where that is among the exponents kept, else 0."""
    pace = {"2": 1.0, "sqrt2": 0.5}[base]
    wide = values.astype(np.float64)
    with np.errstate(divide="ignore"):
        exponents = np.round(np.log2(np.abs(wide)) / pace)
    lowest = exponents.max() - (2 ** (bits - 1) - 2) if wide.any() else 0
    expected = np.where(exponents >= lowest, np.sign(wide) * 2.0 ** (np.maximum(exponents, -400) * pace), 0)
    np.testing.assert_allclose(snapped(values, Log(bits=bits, base=base)), expected, rtol=1e-6, atol=1e-45)


def test_products_with_powers_of_two_are_shifts():
    """Integer activations times log weights of base 2 are exact shifts."""
    weights = snapped(np.random.default_rng(0).normal(size=(3, 50)), Log(bits=4))
    mantissas = np.unique(np.frexp(np.abs(weights[weights != 0]))[0])
    assert mantissas.tolist() == [0.5]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        (TernaryWeight, {"threshold": 0.0}),
        (TrainedTernary, {"threshold": 1.0}),
        (Format, {"format": "float12"}),
        (DynamicFixedPoint, {"bits": 1}),
        (DynamicFixedPoint, {"rounding": "up"}),
        (DynamicFixedPoint, {"block": 0}),
        (Log, {"bits": 9}),
        (Log, {"base": "e"}),
    ],
)
def test_impossible_options_are_refused(method, options):
    """Each option outside its range is a RecipeError that names the method."""
    with pytest.raises(RecipeError, match=method.__name__):
        method(**options)


@pytest.mark.parametrize(
    "method", [BinaryWeight(), TernaryWeight(), TrainedTernary(), DynamicFixedPoint(), Log()], ids=str
)
@pytest.mark.parametrize("value", [0.0, 0.3, -2.0])
def test_constant_layers(method, value):
    """A layer of zeros stays one, and one of equal values keeps them within the method's coarsest step."""
    found = snapped(np.full((3, 4), value), method)
    assert np.unique(found).size == 1
    assert abs(found[0, 0] - value) <= 0.5 * abs(value)
