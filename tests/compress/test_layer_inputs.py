"""What goes into a layer on a grid of its own: fixed point, powers of a base, and gradients of few bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from torch import nn

import lissome as ls
from lissome.compress.apply import bake_, compress_
from lissome.compress.prune import Magnitude
from lissome.compress.quantize import DynamicFixedPoint, Log
from lissome.compress.quantize.fixed_point import accumulators
from lissome.compress.quantize.layer_inputs import FixedGrid, LogGrid
from lissome.compress.schedule import Cubic
from lissome.errors import DataError, RecipeError

vectors = npst.arrays(np.float32, st.integers(1, 8), elements=st.floats(-100, 100, width=32))


def linear(inputs=6, outputs=4):
    """A layer with weights of a fixed draw."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, outputs))


@settings(max_examples=30)
@given(vectors, st.integers(2, 16), st.integers(-4, 8))
def test_fixed_point_rounds_and_saturates(x, bits, fraction):
    """Numbers k · 2^−f with k = clip(rint(x · 2^f)) to `bits` bits in two's complement, bit for bit."""
    half = 2.0 ** (bits - 1)
    want = np.clip(np.rint(x.astype(np.float64) * 2.0**fraction), -half, half - 1) / 2.0**fraction
    np.testing.assert_array_equal(
        FixedGrid(bits, fraction).before(torch.from_numpy(x)).numpy(), want.astype(np.float32)
    )


@settings(max_examples=30)
@given(vectors, st.integers(2, 8), st.sampled_from([1.0, 0.5]), st.integers(-3, 6))
def test_logarithms_round_and_saturate(x, bits, pace, top):
    """± 2^(pace · e), e the nearest exponent, no more than `top` and no less than its bits allow; 0 stays 0."""
    exact = np.log2(np.maximum(np.abs(x.astype(np.float64)), 1e-30)) / pace
    clear = np.abs(exact - np.floor(exact) - 0.5) > 1e-4  # where float32's logarithm cannot round to the other side
    exponents = np.clip(np.rint(exact), top - (2 ** (bits - 1) - 2), top)
    found = LogGrid(bits, pace, top).before(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found[clear], (np.sign(x) * 2.0 ** (pace * exponents))[clear], rtol=1e-5)


def test_the_first_batch_sets_the_format_and_training_widens_it():
    """Fraction bits follow the largest magnitude, of the first batch even in evaluation, later only while training."""
    model = linear()
    compress_(model, [DynamicFixedPoint(bits=8, activation_bits=8)])
    model.eval()(torch.full((1, 6), 3.0))
    assert accumulators(model)[0].activation_fraction_bits == 8 - 1 - 2
    model.eval()(torch.full((1, 6), 100.0))
    assert accumulators(model)[0].activation_fraction_bits == 8 - 1 - 2
    model.train()(torch.full((1, 6), 100.0))
    assert accumulators(model)[0].activation_fraction_bits == 8 - 1 - 7


@pytest.mark.parametrize(
    "method",
    [
        DynamicFixedPoint(bits=8, activation_bits=10),
        DynamicFixedPoint(bits=4, activation_bits=3),
        Log(bits=4, activation_bits=4),
        Log(bits=5, base="sqrt2", activation_bits=5),
    ],
)
def test_the_file_computes_what_was_trained(method, tmp_path):
    """Frozen, packed and run, the layer answers as the module: its inputs lie on the same grid."""
    model, x = linear(), torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    compress_(model, [method])
    want = model.eval()(x).detach().numpy()
    assert not np.allclose(want, linear()(x).detach().numpy(), atol=1e-4)
    ls.save(ls.freeze(model, example=x[:1]), tmp_path / "net.liss")
    np.testing.assert_allclose(ls.compile(tmp_path / "net.liss")(x.numpy()), want, atol=2e-5)
    bake_(model)
    np.testing.assert_allclose(model(x).detach().numpy(), want, atol=1e-6)


def test_gradients_of_few_bits_are_right_in_the_mean():
    """Each is k · 2^−f of its bits, and the mean of many draws is the gradient, within 4 standard errors."""
    model, x = linear(6, 2), torch.zeros(2000, 6)
    compress_(model, [DynamicFixedPoint(bits=16, gradient_bits=4)])
    upstream = torch.tensor([[0.3, -0.77]]).repeat(2000, 1)
    torch.manual_seed(0)
    (model.train()(x) * upstream).sum().backward()
    step = 2.0**-3  # f = 4 − 1 − 0, since the largest is below 1
    spread = step / 2 * 2000**0.5
    np.testing.assert_allclose(model[0].bias.grad.numpy(), [600, -1540], atol=4 * spread)
    model[0].bias.grad = None
    (model(x[:1]) * upstream[:1]).sum().backward()
    np.testing.assert_array_equal(model[0].bias.grad.numpy() / step, np.rint(model[0].bias.grad.numpy() / step))


def test_gradients_pass_straight_through():
    """Inputs on a grid get the gradient of what they became."""
    model, x = linear(), torch.randn(3, 6, requires_grad=True)
    compress_(model, [DynamicFixedPoint(bits=8, activation_bits=4)])
    model(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), model[0].weight.detach().sum(0).expand(3, 6).numpy(), rtol=1e-6)


def test_accumulators_are_told_by_layer():
    """2b + log2(N) bits: 8 + 10 + ⌈log2 6⌉; 33 do not fit into 32. Before any input there is nothing to tell."""
    model = linear()
    compress_(model, [DynamicFixedPoint(bits=8, activation_bits=10)])
    with pytest.raises(RecipeError, match="has seen no input yet"):
        accumulators(model)
    model(torch.ones(1, 6))
    (row,) = accumulators(model)
    assert (row.where, row.products, row.bits, row.overflows) == ("0.weight", 6, 21, False)
    wide = linear()
    compress_(wide, [DynamicFixedPoint(bits=16, activation_bits=14)])
    wide(torch.ones(1, 6))
    assert accumulators(wide)[0].overflows
    with pytest.raises(RecipeError, match="activation_bits"):
        accumulators(linear())


def test_inputs_sleep_while_pruning_rises():
    """Below full strength the layer sees its inputs as they are."""
    model, x = linear(), torch.randn(2, 6)
    compress_(model, [Magnitude(sparsity=0.5), Log(bits=4, activation_bits=2)])
    Cubic(model, end_step=10)
    np.testing.assert_array_equal(model(x).detach().numpy(), linear()(x).detach().numpy())


def test_inputs_that_are_not_finite_are_refused():
    """NaN would set no format: the layer is named."""
    model = linear()
    compress_(model, [Log(bits=4, activation_bits=4)])
    with pytest.raises(DataError, match=r"'0\.weight'"):
        model(torch.full((1, 6), torch.nan))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: DynamicFixedPoint(activation_bits=17), "activation_bits is 2 to 16"),
        (lambda: DynamicFixedPoint(gradient_bits=1), "gradient_bits is 2 to 16"),
        (lambda: Log(activation_bits=9), "activation_bits is 2 to 8"),
    ],
)
def test_bits_out_of_range_are_refused(make, told):
    """Each option says its range."""
    with pytest.raises(RecipeError, match=told):
        make()
