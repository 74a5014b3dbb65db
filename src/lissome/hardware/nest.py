"""A loop nest on an array: which loops run inside which memory, what moves because of it, and how it prints.

The loops run one inside another, the innermost first. Each operand has its own cuts: loops below a cut find all that
they need of the operand in that memory, loops above it bring the next tile. Loops right above a cut that use the same
tile again bring nothing. An unfinished sum travels both ways, the first time too: it is read as zero.

Left out: reuse of the rows that neighbouring tiles of inputs have in common; filling and emptying at the start and end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware.array import DIMS, OPERANDS, RELEVANT, Array, Memory, Operand

Extents: TypeAlias = Mapping[str, "Number"]
Number: TypeAlias = "float | NDArray[np.float64]"
Value = TypeVar("Value", float, NDArray[np.float64])
REDUCTION = "crs"


def extents(shape: ConvShape) -> dict[str, int]:
    """How often each loop of a layer runs."""
    groups = shape.groups
    sizes = (shape.n, groups, shape.k // groups, shape.c // groups, shape.p, shape.q, shape.r, shape.s)
    return dict(zip(DIMS, sizes, strict=True))


def steps(array: Array, shape: ConvShape) -> dict[str, int]:
    """How often each loop steps when the array does its unrolled part at once."""
    return {dim: math.ceil(extent / array.widths.get(dim, 1)) for dim, extent in extents(shape).items()}


def elements(operand: Operand, tile: Mapping[str, Value], shape: ConvShape) -> Value:
    """Elements of an operand that a tile of these extents touches; rows and columns of inputs that overlap once."""
    if operand == "inputs":
        rows = _reach(tile["p"], tile["r"], shape.stride_h, shape.dilation_h, shape.h)
        columns = _reach(tile["q"], tile["s"], shape.stride_w, shape.dilation_w, shape.w)
        return tile["n"] * tile["g"] * tile["c"] * rows * columns
    value = tile["g"] * tile["k"]
    for dim in RELEVANT[operand]:
        if dim not in "gk":
            value = value * tile[dim]
    return value


def _reach(outputs: Value, window: Value, stride: int, dilation: int, there: int) -> Value:
    """Input rows under so many output rows: no more than are there, nor than the windows have."""
    reach = (outputs - 1) * stride + (window - 1) * dilation + 1
    least: Value = np.minimum(np.minimum(reach, outputs * window), there)
    return least


@dataclass(frozen=True)
class Moved:
    """Bits that one memory reads and writes for a layer, all its instances together."""

    read: float = 0.0
    written: float = 0.0


@dataclass(frozen=True)
class MappingCost:
    """cycles: the array's own. memory_cycles: of each memory's port. energy_pj: by memory, "compute" and "hops"."""

    compute_cycles: float
    memory_cycles: Mapping[str, float]
    energy_pj: Mapping[str, float]
    moved: Mapping[str, Moved]

    @property
    def cycles(self) -> float:
        """The slowest of computing and each memory: all work at the same time."""
        return max(self.compute_cycles, *self.memory_cycles.values())

    @property
    def total_pj(self) -> float:
        """All energy."""
        return sum(self.energy_pj.values())

    @property
    def bound_by(self) -> str:
        """What takes `cycles`."""
        slowest = max(self.memory_cycles, key=lambda name: self.memory_cycles[name])
        return slowest if self.memory_cycles[slowest] > self.compute_cycles else "compute"


@dataclass(frozen=True)
class Transfer:
    """Bits across one boundary: between memory `inner` (None: the multiply-adds) and `outer`.

    read, written: of `outer`. taken, given: by and from `inner`, all its instances. Between unrolled units each bit
    taken or given is a hop; units that add to one sum pass it along, and only the first takes what is read.
    """

    inner: Memory | None
    outer: Memory
    read: Number
    written: Number
    taken: Number
    given: Number

    @property
    def hopped(self) -> Number:
        """Bits that reach or leave a unit; none where one instance of `outer` serves one unit."""
        within = set(self.inner.across) if self.inner else set()
        return self.taken + self.given if set(self.outer.across) - within else 0.0


def transfer(array: Array, shape: ConvShape, operand: Operand, level: int, tile: Mapping[str, Value]) -> Transfer:
    """What crosses below the operand's memory `level` when loops of these extents are inside; all runs of them."""
    chain, total, actual = array.chain(operand), steps(array, shape), extents(shape)
    wide = {dim: actual[dim] / total[dim] for dim in DIMS}  # on average, where a loop does not divide
    outer, inner = chain[level], chain[level - 1] if level else None
    fills = math.prod(total.values()) / math.prod(tile[dim] for dim in DIMS)
    outside = elements(operand, _spread(tile, wide, outer.across), shape) * _instances(wide, outer.across) * fills
    across = inner.across if inner else ""
    inside = elements(operand, _spread(tile, wide, across), shape) * _instances(wide, across) * fills
    if operand != "outputs":
        bits = array.bits(operand)
        return Transfer(inner, outer, outside * bits, 0.0, inside * bits, 0.0)
    unfinished = unfinished_sums(total, tile)
    up = np.where(unfinished, array.sum_bits, array.output_bits)
    down = np.where(unfinished, array.sum_bits, 0)
    # Parts of one sum that units make side by side are added on their way: they leave the inner memory as sums.
    added = math.prod(wide[dim] for dim in REDUCTION if dim in outer.across and dim not in across) > 1
    if added:
        return Transfer(inner, outer, outside * down, outside * up, outside * down, inside * array.sum_bits)
    return Transfer(inner, outer, outside * down, outside * up, inside * down, inside * up)


def unfinished_sums(total: Mapping[str, int], tile: Mapping[str, Value]) -> NDArray[np.bool_]:
    """Whether loops outside the tile add to the same outputs."""
    rest = math.prod(total[dim] for dim in REDUCTION) / math.prod(tile[dim] for dim in REDUCTION)
    return np.asarray(rest > 1)


def _spread(tile: Mapping[str, Value], wide: Mapping[str, float], across: str) -> dict[str, Value]:
    """The tile of a memory that units along `across` share."""
    return {dim: tile[dim] * wide[dim] if dim in across else tile[dim] for dim in DIMS}


def _instances(wide: Mapping[str, float], across: str) -> float:
    return math.prod(wide[dim] for dim in DIMS if dim not in across)


def kept_bits(array: Array, shape: ConvShape, operand: Operand, level: int, tile: Mapping[str, Value]) -> Number:
    """Bits of the operand in one instance of its memory `level` when loops of these extents are inside it.

    Outputs take the room of sums: they are not finished while the loops inside still run.
    """
    actual = extents(shape)
    wide = {dim: float(min(array.widths.get(dim, 1), actual[dim])) for dim in DIMS}
    found = elements(operand, _spread(tile, wide, array.chain(operand)[level].across), shape)
    return found * array.bits(operand, finished=False)


@dataclass(frozen=True)
class Nest:
    """Loops of a layer, the innermost first, as (dim, steps); cuts: for each operand, loops inside each memory but
    the last, before them those that the multiply-adds do with one element.
    """

    array: Array
    shape: ConvShape
    loops: tuple[tuple[str, int], ...]
    cuts: Mapping[Operand, tuple[int, ...]]

    def tile(self, count: int) -> dict[str, float]:
        """Extents of the `count` innermost loops."""
        inside = self.loops[:count]
        return {dim: float(math.prod(size for name, size in inside if name == dim)) for dim in DIMS}

    def check(self) -> None:
        """Raise HardwareError when loops are missing, cuts are out of order or a tile does not fit its memory."""
        wanted = steps(self.array, self.shape)
        done = {dim: int(size) for dim, size in self.tile(len(self.loops)).items()}
        if done != wanted:
            raise HardwareError(f"the nest does {done} steps; the layer needs {wanted}")
        used = dict.fromkeys((memory.name for memory in self.array.memories), 0.0)
        for operand in OPERANDS:
            chain, cuts = self.array.chain(operand), self.cuts[operand]
            if len(cuts) != len(chain) or list(cuts) != sorted(cuts) or cuts[-1] > len(self.loops):
                raise HardwareError(f"{operand} need {len(chain)} cuts in order, not {cuts}")
            if any(size > 1 and dim in self.array.held(operand) for dim, size in self.loops[: cuts[0]]):
                raise HardwareError(f"a multiply-add keeps one element of its {operand}, not those of {cuts[0]} loops")
            for level, cut in enumerate(cuts[1:]):
                kept = kept_bits(self.array, self.shape, operand, level, self.tile(cut))
                used[chain[level].name] += float(kept)
        for memory in self.array.memories:
            if used[memory.name] > memory.capacity_bits:
                raise HardwareError(
                    f"{memory.name} of {self.array.name} would hold {used[memory.name]:,.0f} bits; "
                    f"it has {memory.capacity_bits:,.0f}"
                )

    def cost(self) -> MappingCost:
        """Cycles and energy of the layer under this nest."""
        array, shape = self.array, self.shape
        read = dict.fromkeys((memory.name for memory in array.memories), 0.0)
        written, hops = dict(read), 0.0
        for operand in OPERANDS:
            for level, cut in enumerate(self.cuts[operand]):
                found = transfer(array, shape, operand, level, self.tile(self._stationary(operand, level, cut)))
                read[found.outer.name] += float(found.read)
                written[found.outer.name] += float(found.written)
                if found.inner:
                    read[found.inner.name] += float(found.given)
                    written[found.inner.name] += float(found.taken)
                hops += float(found.hopped)
        wide = {dim: float(array.widths.get(dim, 1)) for dim in DIMS}
        energy, cycles = {"compute": shape.macs * array.mac_pj}, {}
        for memory in array.memories:
            name = memory.name
            energy[name] = read[name] * memory.read_pj_per_bit + written[name] * memory.write_pj_per_bit
            cycles[name] = (read[name] + written[name]) / memory.bits_per_cycle / _instances(wide, memory.across)
        if array.hop_pj_per_bit:
            energy["hops"] = hops * array.hop_pj_per_bit
        moved = {name: Moved(read[name], written[name]) for name in read}
        return MappingCost(math.prod(steps(array, shape).values()), cycles, energy, moved)

    def _stationary(self, operand: Operand, level: int, cut: int) -> int:
        """The cut, moved up over loops that use the same tile again."""
        moving = RELEVANT[operand] if level else self.array.held(operand)
        while cut < len(self.loops) and self.loops[cut][0] not in moving:
            cut += 1
        return cut

    def __str__(self) -> str:
        """The nest, the outermost loop first; beside each loop the memories whose tile is complete below it."""
        lines, depth = [], 0
        for index in range(len(self.loops), -1, -1):
            names = [
                f"{operand} in {self.array.chain(operand)[level - 1].name}"
                for operand in OPERANDS
                for level, cut in enumerate(self.cuts[operand])
                if level and cut == index
            ]
            if names:
                lines.append("  " * depth + f"[{'; '.join(names)}]")
            if index:
                dim, size = self.loops[index - 1]
                lines.append("  " * depth + f"for {dim} in {size}:")
                depth += 1
        together = ", ".join(f"{dim} by {width}" for dim, width in self.array.unroll)
        return "\n".join([*lines, "  " * depth + f"side by side: {together}"])
