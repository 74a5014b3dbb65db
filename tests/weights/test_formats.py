"""Number formats against torch's own conversions: every bit pattern, every tie, both sides of every overflow."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lissome.errors import WeightError
from lissome.weights.formats import FORMATS, ITEMSIZE, from_bits, round_to, to_bits

NARROW = {
    "bfloat16": (torch.bfloat16, np.uint16),
    "float16": (torch.float16, np.uint16),
    "float8_e4m3": (torch.float8_e4m3fn, np.uint8),
    "float8_e5m2": (torch.float8_e5m2, np.uint8),
}


def every_pattern(fmt):
    """All bit patterns of a narrow format, in increasing order."""
    _, bits = NARROW[fmt]
    return np.arange(np.iinfo(bits).max + 1, dtype=bits)


def torch_values(bits, fmt):
    """The float32 values that torch reads from bit patterns."""
    return torch.from_numpy(bits.copy()).view(NARROW[fmt][0]).to(torch.float32).numpy()


def torch_bits(values, fmt):
    """The bit patterns that torch rounds float32 values to."""
    dtype, bits = NARROW[fmt]
    storage = torch.from_numpy(np.array(values, dtype=np.float32)).to(dtype)
    return storage.view(torch.uint8).numpy().view(bits)


def positive_finite(fmt):
    """Every finite value from 0 up that the format holds, in order, as float32."""
    values = torch_values(every_pattern(fmt), fmt)
    values = values[: values.size // 2]
    return values[np.isfinite(values)]


@pytest.mark.parametrize("fmt", NARROW)
def test_every_bit_pattern_reads_as_torch_reads_it(fmt):
    """from_bits is total: each pattern gives torch's value, sign of zero and NaN-ness included."""
    bits = every_pattern(fmt)
    ours, theirs = from_bits(bits, fmt), torch_values(bits, fmt)
    number = ~np.isnan(theirs)
    assert np.array_equal(np.isnan(ours), ~number)
    assert np.array_equal(ours[number].view(np.uint32), theirs[number].view(np.uint32))


@pytest.mark.parametrize("fmt", NARROW)
def test_every_number_survives_the_round_trip(fmt):
    """to_bits(from_bits(b)) == b for every pattern that is not NaN."""
    bits = every_pattern(fmt)
    bits = bits[~np.isnan(torch_values(bits, fmt))]
    again = to_bits(from_bits(bits, fmt), fmt)
    assert again.dtype == bits.dtype
    assert np.array_equal(again, bits)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("fmt", NARROW)
def test_ties_go_to_even_and_their_neighbours_do_not(fmt, sign):
    """Between each two adjacent values: the exact middle rounds to even, one float32 step off it to the nearer."""
    values = positive_finite(fmt)
    low, high = values[:-1].astype(np.float64), values[1:].astype(np.float64)
    middle = ((low + high) / 2).astype(np.float32)
    exact = middle.astype(np.float64) == (low + high) / 2
    low_bits = np.arange(low.size)
    below, above = np.nextafter(middle, np.float32(0)), np.nextafter(middle, np.float32(np.inf))
    signed = 0 if sign > 0 else 1 << (8 * ITEMSIZE[fmt] - 1)
    even = low_bits + (low_bits & 1)
    assert exact.all()
    assert np.array_equal(to_bits(sign * middle, fmt), even | signed)
    assert np.array_equal(to_bits(sign * below, fmt), low_bits | signed)
    assert np.array_equal(to_bits(sign * above, fmt), (low_bits + 1) | signed)


@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False), fmt=st.sampled_from(sorted(NARROW)))
def test_any_float_rounds_as_torch_rounds_it(value, fmt):
    """to_bits equals torch's conversion wherever the value fits the format."""
    if abs(value) <= positive_finite_max(fmt):
        values = np.array([value], dtype=np.float32)
        assert np.array_equal(to_bits(values, fmt), torch_bits(values, fmt))


def positive_finite_max(fmt):
    """Largest finite value of the format."""
    return {"bfloat16": 3.3895313892515355e38, "float16": 65504.0, "float8_e4m3": 448.0, "float8_e5m2": 57344.0}[fmt]


@pytest.mark.parametrize("fmt", NARROW)
def test_largest_value_is_torchs(fmt):
    """The limits that these tests use are the format's."""
    assert positive_finite(fmt)[-1] == np.float32(positive_finite_max(fmt))


@pytest.mark.parametrize(
    ("fmt", "value"),
    [
        ("float16", 65520.0),  # the middle between the largest value and what would follow: rounds up, to infinity
        ("bfloat16", np.finfo(np.float32).max),
        ("float8_e4m3", np.nextafter(np.float32(448), np.float32(np.inf))),
        ("float8_e5m2", 61440.0),
        ("float8_e4m3", np.inf),
        ("float8_e4m3", np.nan),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_overflow_is_an_error_that_names_value_and_format(fmt, value, sign):
    """A value past the format's range is never stored as infinity or as the largest value."""
    with pytest.raises(WeightError, match=rf"does not fit {fmt}; store it as float32 or rescale"):
        to_bits(np.array([0.0, sign * value], dtype=np.float32), fmt)


def test_just_below_overflow_still_fits():
    """float16's last value takes all that is nearer to it than to 65,536."""
    assert round_to(np.array([np.nextafter(np.float32(65520), np.float32(0))]), "float16") == 65504.0


@pytest.mark.parametrize("fmt", ["float16", "bfloat16", "float8_e5m2"])
def test_infinity_and_nan_stay_what_they_are(fmt):
    """The formats that have infinity and NaN keep them; refusing them is the coded weight's business."""
    values = np.array([np.inf, -np.inf, np.nan], dtype=np.float32)
    again = round_to(values, fmt)
    assert again[0] == np.inf
    assert again[1] == -np.inf
    assert np.isnan(again[2])


def test_float32_is_stored_bit_for_bit():
    """float32 is the identity, payload of NaN included."""
    bits = np.array([0, 1, 0x80000000, 0x7F800000, 0x7FC12345, 0xFFFFFFFF], dtype=np.uint32)
    assert np.array_equal(to_bits(from_bits(bits, "float32"), "float32"), bits)


@pytest.mark.parametrize("fmt", FORMATS)
def test_shape_is_kept_and_layout_does_not_matter(fmt):
    """Any shape, the empty one and a transposed view included, comes back in that shape."""
    values = (np.arange(12, dtype=np.float32) % 8).reshape(3, 4)
    for array in (values, values.T, values[:, ::2], np.zeros((0, 3), np.float32), np.float32(1.5).reshape(())):
        assert isinstance(round_to(array, fmt), np.ndarray)
        assert np.array_equal(round_to(array, fmt), array)
        assert to_bits(array, fmt).shape == array.shape
        assert to_bits(array, fmt).itemsize == ITEMSIZE[fmt]


@pytest.mark.parametrize("convert", [to_bits, from_bits])
def test_unknown_format_lists_those_that_exist(convert):
    """The error names what was asked and every format there is."""
    with pytest.raises(WeightError, match=r"'float4'; known: float32, bfloat16, float16, float8_e4m3, float8_e5m2"):
        convert(np.zeros(1, np.float32), "float4")
