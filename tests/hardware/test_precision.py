"""Precision-scalable multiply-adds: the same bits from every unit, and costs that move the way they should."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lissome.errors import HardwareError
from lissome.hardware.precision import UNITS, ScalableMac


@given(st.integers(1, 8), st.integers(0, 10_000))
def test_units_compute_the_same_bits(weight_bits, seed):
    """Serial and gated units give the product's sum, wrapped to the accumulator, for any widths and signs."""
    rng = np.random.default_rng(seed)
    half = 1 << weight_bits - 1
    weight, x = rng.integers(-half, half, 50), rng.integers(-128, 128, 50)
    total = rng.integers(-(1 << 23), 1 << 23, 50)
    wanted = (total + weight * x + (1 << 23)) % (1 << 24) - (1 << 23)
    for unit in UNITS:
        np.testing.assert_array_equal(ScalableMac(unit).multiply_add(weight, x, total, weight_bits), wanted)


def test_what_scaling_saves_and_what_it_costs():
    """Fewer bits save energy on scalable units only; at full precision they cost more than a fixed one, serial most."""
    fixed, gated, serial = (ScalableMac(unit) for unit in UNITS)
    assert fixed.energy_pj(2, 2) == fixed.energy_pj(8, 8)
    for unit in (gated, serial):
        energies = [unit.energy_pj(bits, bits) for bits in range(1, 9)]
        assert energies == sorted(energies)
        assert energies[0] < 0.6 * fixed.energy_pj(1, 1)
    assert serial.energy_pj(4, 4) > fixed.energy_pj(4, 4) > gated.energy_pj(4, 4)
    assert 0 < gated.overhead() < 0.3
    assert serial.overhead() > 1
    assert fixed.overhead() == 0
    assert serial.area_um2 < fixed.area_um2 < gated.area_um2


def test_only_serial_units_trade_time():
    """A serial unit takes a cycle for each bit of the weight, the others one."""
    assert [ScalableMac(unit).cycles(5) for unit in UNITS] == [1, 1, 5]


def test_operands_that_do_not_fit_are_refused():
    """Too many bits, values outside them, an unknown unit: each is told."""
    for wrong, message in (
        (lambda: ScalableMac("optical"), "fixed, gated, serial, not 'optical'"),
        (lambda: ScalableMac(bits=0), "at least 1"),
        (lambda: ScalableMac().cycles(9), "weight of 9 bits does not fit"),
        (lambda: ScalableMac().energy_pj(8, 9), "input of 9 bits does not fit"),
        (lambda: ScalableMac().multiply_add(np.array([4]), np.array([0]), np.array([0]), 3), "outside 3 signed bits"),
    ):
        with pytest.raises(HardwareError, match=message):
            wrong()
