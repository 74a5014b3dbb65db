"""The dataflows that Eyeriss was compared with, under one area (Chen et al., ISCA 2016, sections IV and VI).

Each keeps something else in its units: row stationary (RS) rows of all three, weight stationary (WS) a weight, output
stationary a sum, of one filter's outputs (OSA), of several filters' (OSB) or of one output of many filters (OSC); no
local reuse (NLR) nothing. What a unit does not keep in registers is room in the buffer: of 256 units, RS has 512 B in
each and 128 KiB of buffer. Costs are the paper's, a multiply-add being 1; mappings are the mapper's, for least energy.

ASSUMED: a byte of registers takes the area of 1.6 bytes of the buffer, with which NLR's buffer is 2.6 times RS's, as we
believe the paper has it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware.array import DIMS, OPERANDS, UNBOUNDED, Array, Memory
from lissome.hardware.mapper import best
from lissome.hardware.nest import MappingCost
from lissome.hardware.units import KIB

SIDE: Final = 16
WORD_BITS: Final = 16
REGISTER, HOP, BUFFER, DRAM = 1.0, 2.0, 6.0, 200.0
RS_REGISTER_BYTES: Final = 512
RS_BUFFER_BYTES: Final = 128 * KIB
REGISTER_AREA: Final = 1.6  # of a byte, in bytes of the buffer. ASSUMED, see above


@dataclass(frozen=True)
class Dataflow:
    """words: registers of a unit by operand. rows, columns: loops that may run along the array's two sides."""

    name: str
    words: tuple[tuple[str, int], ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def buffer_bytes(self) -> int:
        """What the area of 256 units leaves for the buffer."""
        own = sum(words for _, words in self.words) * WORD_BITS // 8
        return RS_BUFFER_BYTES + round(SIDE**2 * max(0, RS_REGISTER_BYTES - own) * REGISTER_AREA)

    def arrays(self, shape: ConvShape) -> Iterator[Array]:
        """The array with each pair of unrollings that the dataflow allows for a layer."""
        sizes = dict(zip(DIMS, (shape.n, 1, shape.k // shape.groups, shape.c // shape.groups), strict=False))
        sizes |= {"p": shape.p, "q": shape.q, "r": shape.r, "s": shape.s}
        seen = set()
        for rows, columns in itertools.product(self.rows, self.columns):
            unroll = _unroll(rows, sizes, SIDE) + _unroll(columns, sizes, SIDE)
            if len({dim for dim, _ in unroll}) == len(unroll) and unroll not in seen:
                seen.add(unroll)
                yield self._array(unroll)

    def _array(self, unroll: tuple[tuple[str, int], ...]) -> Array:
        registers = tuple(
            Memory(f"registers of {operand}", (operand,), words * WORD_BITS, REGISTER / WORD_BITS, REGISTER / WORD_BITS)
            for operand in OPERANDS
            for name, words in self.words
            if name == operand
        )
        everywhere = "".join(dim for dim, _ in unroll)
        buffer = Memory(
            "buffer", OPERANDS, 8 * self.buffer_bytes, BUFFER / WORD_BITS, BUFFER / WORD_BITS, across=everywhere
        )
        dram = Memory("DRAM", OPERANDS, UNBOUNDED, DRAM / WORD_BITS, DRAM / WORD_BITS, across=everywhere)
        bits = (WORD_BITS,) * 4
        return Array(self.name, unroll, (*registers, buffer, dram), 1.0, *bits, HOP / WORD_BITS, latched=False)


# A string of two loops shares a side: the first as wide as it is, the second by as many as then fit.
DATAFLOWS: Final = (
    Dataflow("RS", (("weights", 224), ("inputs", 12), ("outputs", 20)), ("rk", "rc"), ("p", "pk", "q", "n")),
    Dataflow("WS", (("weights", 1),), ("k",), ("c", "rc", "sc")),
    Dataflow("OSA", (("outputs", 1),), ("p", "pn"), ("q", "qn")),
    Dataflow("OSB", (("outputs", 1),), ("k",), ("q", "p", "n")),
    Dataflow("OSC", (("outputs", 1),), ("k",), ("n",)),
    Dataflow("NLR", (), ("k",), ("c",)),
)


def cheapest(dataflow: Dataflow, shape: ConvShape) -> MappingCost:
    """The mapping of least energy among the unrollings of a dataflow; energies in multiply-adds.

    Raises HardwareError when none fits.
    """
    found: list[MappingCost] = []
    why = ""
    for array in dataflow.arrays(shape):
        try:
            found.append(best(array, shape).cost())
        except HardwareError as error:
            why = str(error)
    if not found:
        raise HardwareError(f"no mapping of the layer on {dataflow.name}: {why}")
    return min(found, key=lambda cost: cost.total_pj)


def _unroll(dims: str, sizes: dict[str, int], room: int) -> tuple[tuple[str, int], ...]:
    found = []
    for dim in dims:
        width = min(sizes[dim], room)
        if width > 1:
            found.append((dim, width))
            room //= width
    return tuple(found)
