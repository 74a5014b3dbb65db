"""Multiply-adds whose precision can be chosen: data-gated and bit-serial units, bit by bit, with what each costs.

The families are those of Camus et al., "Review and benchmarking of precision-scalable multiply-accumulate unit
architectures", JETCAS 2019. A data-gated unit is a full multiplier of which unused low bits stand still: same time,
less switching. A bit-serial unit adds one shifted, gated copy of the input for each bit of the weight: a small adder,
one cycle a bit, and an accumulator that is written at every one of them.

Energy and area are composed of Horowitz's operations at 45 nm: a multiplier by its partial products, an adder by its
bits, a flip-flop as a bit of an adder (assumed). Not calibrated against a synthesis; left out: clock tree, control, and
the wiring of gates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.hardware.energy import ADD_PJ, ADD_UM2, MULTIPLY_UM2, integer_multiply_pj
from lissome.hardware.units import Picojoules, check_count

Unit: TypeAlias = Literal["fixed", "gated", "serial"]
UNITS: Final[tuple[Unit, ...]] = ("fixed", "gated", "serial")
ADD_BIT_PJ: Final = ADD_PJ["int32"] / 32
REGISTER_BIT_PJ: Final = ADD_BIT_PJ  # of a flip-flop, not of a register file. ASSUMED: as an adder's bit
ADD_BIT_UM2: Final = ADD_UM2["int32"] / 32
MULTIPLY_BIT_UM2: Final = MULTIPLY_UM2["int8"] / 64  # of one partial product


@dataclass(frozen=True)
class ScalableMac:
    """A multiply-add of at most `bits` by `bits`, signed, with an accumulator of 2 · bits + `guard_bits`."""

    unit: Unit = "gated"
    bits: int = 8
    guard_bits: int = 8

    def __post_init__(self) -> None:
        check_count(self.bits, "the bits of a multiply-add")
        check_count(self.guard_bits, "the guard bits of an accumulator")
        if self.unit not in UNITS:
            raise HardwareError(f"a multiply-add is {', '.join(UNITS)}, not {self.unit!r}")

    @property
    def sum_bits(self) -> int:
        """Bits of the accumulator."""
        return 2 * self.bits + self.guard_bits

    def cycles(self, weight_bits: int) -> int:
        """Cycles of one multiply-add. Raises HardwareError for more bits than there are."""
        self._check(weight_bits, self.bits)
        return weight_bits if self.unit == "serial" else 1

    def energy_pj(self, weight_bits: int, input_bits: int) -> Picojoules:
        """Energy of one multiply-add of operands of these widths, its accumulator's register included."""
        self._check(weight_bits, input_bits)
        accumulate = self.sum_bits * (ADD_BIT_PJ + REGISTER_BIT_PJ)
        if self.unit == "serial":
            # One gated copy of the input and one accumulation a bit, and the weight's register shifts along.
            each = input_bits * ADD_BIT_PJ + accumulate + self.bits * REGISTER_BIT_PJ
            return Picojoules(weight_bits * each)
        wide = (self.bits, self.bits) if self.unit == "fixed" else (weight_bits, input_bits)
        gates = 2 * self.bits * ADD_BIT_PJ if self.unit == "gated" else 0.0  # one gate on each bit of an operand
        return Picojoules(integer_multiply_pj(*wide) + gates + accumulate)

    def overhead(self) -> float:
        """Energy at full precision over that of a unit of fixed precision, less one: what being scalable costs."""
        fixed = ScalableMac("fixed", self.bits, self.guard_bits).energy_pj(self.bits, self.bits)
        return self.energy_pj(self.bits, self.bits) / fixed - 1

    @property
    def area_um2(self) -> float:
        """Area of the multiplier or its serial stand-in, and of the accumulator's adder and register."""
        accumulator = 2 * self.sum_bits * ADD_BIT_UM2  # a register bit is taken to be as large as an adder's
        if self.unit == "serial":
            return accumulator + 2 * self.bits * ADD_BIT_UM2
        gates = 2 * self.bits * ADD_BIT_UM2 / 4 if self.unit == "gated" else 0.0
        return accumulator + self.bits**2 * MULTIPLY_BIT_UM2 + gates

    def multiply_add(
        self, weight: NDArray[np.int64], x: NDArray[np.int64], total: NDArray[np.int64], weight_bits: int
    ) -> NDArray[np.int64]:
        """Add weight · x to the total as the unit does, wrapped to its accumulator; int64 of one shape.

        Raises HardwareError for operands that do not fit: weights in weight_bits, inputs in `bits`, both signed.
        """
        self._check(weight_bits, self.bits)
        for values, width, what in ((weight, weight_bits, "weight"), (x, self.bits, "input")):
            if values.size and not -(1 << width - 1) <= values.min() <= values.max() < 1 << width - 1:
                raise HardwareError(f"a {what} is outside {width} signed bits: {values.min()} to {values.max()}")
        if self.unit == "serial":
            for bit in range(weight_bits):
                term = np.where(weight >> bit & 1, x << bit, 0)
                # The sign bit counts negative.
                total = self._wrapped(total - term if bit == weight_bits - 1 else total + term)
            return total
        return self._wrapped(total + weight * x)

    def _wrapped(self, total: NDArray[np.int64]) -> NDArray[np.int64]:
        half = 1 << self.sum_bits - 1
        return (total + half) % (2 * half) - half

    def _check(self, weight_bits: int, input_bits: int) -> None:
        for width, what in ((weight_bits, "weight"), (input_bits, "input")):
            check_count(width, f"the bits of a {what}")
            if width > self.bits:
                raise HardwareError(f"a {what} of {width} bits does not fit a multiply-add of {self.bits}")
