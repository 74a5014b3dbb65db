"""A spatial array of multiply-adds and the memories around it, as data: what the mapper maps layers onto.

The loops of a layer are n (images), g (groups), k (filters), c (channels), p, q (outputs) and r, s (window). `unroll`
says which of them run side by side on the array, and how wide; the others run one step after another.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from lissome.errors import HardwareError
from lissome.hardware.energy import DRAM_PJ, REGISTER_PJ, mac_pj, sram_pj
from lissome.hardware.units import KIB, Hertz, check_count, check_rate, mhz

Operand: TypeAlias = Literal["weights", "inputs", "outputs"]
OPERANDS: Final[tuple[Operand, ...]] = ("weights", "inputs", "outputs")
DIMS: Final = "ngkcpqrs"
# The loops that change which element of an operand is used; every other loop uses the same one again.
RELEVANT: Final = MappingProxyType({"weights": "gkcrs", "inputs": "ngcpqrs", "outputs": "ngkpq"})
UNBOUNDED: Final = math.inf
CLOCK_HZ: Final = mhz(500)


@dataclass(frozen=True)
class Memory:
    """One level. across: unrolled loops whose units share one instance; without a loop, each of its units has its own.

    capacity_bits, bits_per_cycle: of one instance, its reads and writes together; either may be `UNBOUNDED`.
    """

    name: str
    holds: tuple[Operand, ...]
    capacity_bits: float
    read_pj_per_bit: float
    write_pj_per_bit: float
    bits_per_cycle: float = UNBOUNDED
    across: str = ""

    def __post_init__(self) -> None:
        if not self.holds or set(self.holds) - set(OPERANDS):
            raise HardwareError(f"memory {self.name!r} holds some of {', '.join(OPERANDS)}, not {self.holds}")
        if set(self.across) - set(DIMS):
            raise HardwareError(f"memory {self.name!r} is shared across loops of {DIMS}, not {self.across!r}")
        for what in ("capacity_bits", "bits_per_cycle"):
            if not getattr(self, what) > 0:
                raise HardwareError(f"{what} of memory {self.name!r} is {getattr(self, what)}; it is positive")
        for what in ("read_pj_per_bit", "write_pj_per_bit"):
            if not (math.isfinite(getattr(self, what)) and getattr(self, what) >= 0):
                raise HardwareError(f"{what} of memory {self.name!r} is {getattr(self, what)}; it is 0 or more")


@dataclass(frozen=True)
class Array:
    """Multiply-adds side by side and their memories, the innermost first; the last holds all operands without bound.

    hop_pj_per_bit: of handing a bit from a shared memory to one unit. sum_bits: of an output that is not finished.
    latched: whether a multiply-add keeps the weight and input that its next step uses again, at no cost.
    """

    name: str
    unroll: tuple[tuple[str, int], ...]
    memories: tuple[Memory, ...]
    mac_pj: float
    weight_bits: int = 8
    input_bits: int = 8
    output_bits: int = 8
    sum_bits: int = 16
    hop_pj_per_bit: float = 0.0
    latched: bool = True
    clock_hz: Hertz = CLOCK_HZ

    def __post_init__(self) -> None:
        for dim, width in self.unroll:
            check_count(width, f"the unrolling of {dim!r} on {self.name}")
            if dim not in DIMS:
                raise HardwareError(f"{self.name} unrolls loops of {DIMS}, not {dim!r}")
        for what in ("weight_bits", "input_bits", "output_bits", "sum_bits"):
            check_count(getattr(self, what), f"{what} of {self.name}")
        check_rate(self.clock_hz, "Hz", f"the clock of {self.name}")
        last = self.memories[-1] if self.memories else None
        if last is None or set(last.holds) != set(OPERANDS) or last.capacity_bits != UNBOUNDED:
            raise HardwareError(f"the last memory of {self.name} holds weights, inputs and outputs, without bound")
        for operand in OPERANDS:
            chain = self.chain(operand)
            for inner, outer in itertools.pairwise(chain):
                if set(inner.across) & self.widths.keys() - set(outer.across):
                    raise HardwareError(f"{outer.name!r} of {self.name} is shared by fewer units than {inner.name!r}")

    def held(self, operand: Operand) -> str:
        """Loops that end a multiply-add's hold on an element: a sum goes to its memory and back at every step."""
        return RELEVANT[operand] if self.latched and operand != "outputs" else DIMS

    @property
    def macs(self) -> int:
        """Multiply-adds a cycle."""
        return math.prod(self.widths.values())

    @property
    def widths(self) -> dict[str, int]:
        """Width of each unrolled loop."""
        return dict(self.unroll)

    def chain(self, operand: Operand) -> tuple[Memory, ...]:
        """The memories that an operand goes through, from the multiply-adds outwards."""
        return tuple(memory for memory in self.memories if operand in memory.holds)

    def bits(self, operand: Operand, *, finished: bool = True) -> int:
        """Bits of an element; outputs that are not finished are sums."""
        if operand == "outputs":
            return self.output_bits if finished else self.sum_bits
        return self.weight_bits if operand == "weights" else self.input_bits


def weight_stationary(side: int = 16, *, buffer_bytes: int = 256 * KIB) -> Array:
    """Filters by channels side by side, 8 bits: 64 B of weights in each unit, sums added up along channels.

    A register of 16 sums a filter; one buffer of inputs and outputs; weights come straight from DRAM. Energies:
    Horowitz's at 45 nm, of the buffer by its capacity.
    """
    sram, register, dram = sram_pj(buffer_bytes, 1), REGISTER_PJ / 32, DRAM_PJ / 32
    return Array(
        f"weight-stationary {side}×{side}",
        (("k", side), ("c", side)),
        (
            Memory("weight registers", ("weights",), 64 * 8, register, register),
            Memory("sum registers", ("outputs",), 16 * 16, register, register, across="c"),
            Memory("buffer", ("inputs", "outputs"), 8 * buffer_bytes, sram, sram, 8 * 64, across="kc"),
            Memory("DRAM", OPERANDS, UNBOUNDED, dram, dram, 64, across="kc"),
        ),
        mac_pj("int8"),
    )


def output_stationary(side: int = 14, filters: int = 4, *, buffer_bytes: int = 128 * KIB) -> Array:
    """Outputs of `filters` filters side by side, 8 bits: each unit keeps one sum; three buffers of their own."""
    sram, register, dram = sram_pj(buffer_bytes, 1), REGISTER_PJ / 32, DRAM_PJ / 32
    everywhere = "pqk"
    buffers = tuple(
        Memory(f"buffer of {operand}", (operand,), 8 * buffer_bytes, sram, sram, 8 * 64, across=everywhere)
        for operand in OPERANDS
    )
    return Array(
        f"output-stationary {side}×{side}×{filters}",
        (("p", side), ("q", side), ("k", filters)),
        (
            Memory("sum registers", ("outputs",), 16, register, register),
            *buffers,
            Memory("DRAM", OPERANDS, UNBOUNDED, dram, dram, 64, across=everywhere),
        ),
        mac_pj("int8"),
    )
