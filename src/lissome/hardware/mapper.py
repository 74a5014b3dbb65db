"""The mapper: for a layer and an array, the loop order and the tiles of least energy or least delay.

Every cut of an operand is a vector of loop extents, and the cuts of one nest form a chain in which each divides the
next. What crosses a cut depends on its vector alone (ZigZag, Mei et al., IEEE TC 2021, counts the same), so that the
best chain is a shortest path over the lattice of divisors: exact, without listing orders. Only the capacity of a memory
that several operands share ties cuts together: its split among them is tried in `SPLITS` parts.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware.array import DIMS, OPERANDS, Array, Memory, Operand
from lissome.hardware.nest import MappingCost, Nest, kept_bits, steps, transfer

Goal: TypeAlias = Literal["energy", "delay"]
State: TypeAlias = tuple[int, ...]  # cuts made of each operand
Grid: TypeAlias = NDArray[np.float64]
SPLITS: Final = 24
ROUNDS: Final = 12  # of raising the price of the slowest memory, for least delay


@functools.lru_cache(maxsize=1024)
def best(array: Array, shape: ConvShape, goal: Goal = "energy") -> Nest:
    """The nest of least energy, or of least cycles and then energy. Raises HardwareError when no tile fits."""
    if goal not in ("energy", "delay"):
        raise HardwareError(f"a mapping is for least energy or delay, not {goal!r}")
    lattice = _Lattice(array, shape)
    price = {m.name: (m.read_pj_per_bit, m.write_pj_per_bit) for m in array.memories}
    found = lattice.search(price, array.hop_pj_per_bit)
    return found if goal == "energy" else _fastest(lattice, found, price)


def _fastest(lattice: _Lattice, found: Nest, energy: Mapping[str, tuple[float, float]]) -> Nest:
    """Least of the largest of several sums: the slowest memory's bits become dearer until none is slowest alone."""
    array, weight = lattice.array, dict.fromkeys((m.name for m in lattice.array.memories), 1.0)
    kept, cost = found, found.cost()
    least = (cost.cycles, cost.total_pj)
    for _ in range(ROUNDS):
        if least[0] <= cost.compute_cycles:
            break
        for name, cycles in cost.memory_cycles.items():
            weight[name] *= math.exp(4 * (cycles / cost.cycles - 1))
        price = {}
        for m in array.memories:
            wide = math.prod(width for dim, width in array.unroll if dim not in m.across)
            slow = weight[m.name] / m.bits_per_cycle / wide
            price[m.name] = (slow + 1e-9 * energy[m.name][0], slow + 1e-9 * energy[m.name][1])
        nest = lattice.search(price, 0.0)
        cost = nest.cost()
        if (cost.cycles, cost.total_pj) < least:
            kept, least = nest, (cost.cycles, cost.total_pj)
    return kept


@dataclass(frozen=True, eq=False)
class _Lattice:
    """All vectors of loop extents of a layer: one axis for each prime of each loop, its powers along the axis."""

    array: Array
    shape: ConvShape
    axes: tuple[tuple[str, int, int], ...] = field(init=False)  # loop, prime, power
    tile: Mapping[str, Grid] = field(init=False)

    def __post_init__(self) -> None:
        axes = [(d, prime, power) for d, size in steps(self.array, self.shape).items() for prime, power in primes(size)]
        object.__setattr__(self, "axes", tuple(axes))
        grid = np.indices([power + 1 for _, _, power in axes], dtype=np.float64)
        tile = {dim: np.ones(grid.shape[1:]) for dim in DIMS}
        for (dim, prime, _), powers in zip(axes, grid, strict=True):
            tile[dim] = tile[dim] * float(prime) ** powers
        object.__setattr__(self, "tile", tile)

    def search(self, price: Mapping[str, tuple[float, float]], hop: float) -> Nest:
        """The cheapest chain at these prices of a bit read and written by memory, and handed to a unit."""
        costs = {(o, level): self._cost(o, level, price, hop) for o, level in self._cuts()}
        allowed = self._allowed()
        splits = next(iter(allowed.values())).shape[0]
        ends = tuple(len(self.array.chain(operand)) for operand in OPERANDS)
        least: dict[State, Grid] = {}
        for state in itertools.product(*(range(end + 1) for end in ends)):
            reached = np.full((splits, *self.tile["n"].shape), 0.0 if not any(state) else np.inf)
            for index, operand in enumerate(OPERANDS):
                if state[index]:
                    before = (*state[:index], state[index] - 1, *state[index + 1 :])
                    cut = (operand, state[index] - 1)
                    np.minimum(reached, np.where(allowed[cut], least[before] + costs[cut], np.inf), out=reached)
            for axis in range(1, reached.ndim):
                np.minimum.accumulate(reached, axis=axis, out=reached)
            least[state] = reached
        final = least[ends].reshape(splits, -1)[:, -1]
        if not np.isfinite(final).any():
            raise HardwareError(
                f"no tile of {self.shape.k} filters, {self.shape.c} channels, window {self.shape.r}×{self.shape.s} "
                f"fits the memories of {self.array.name}: its smallest are too small for one step"
            )
        return self._nest(self._path(int(final.argmin()), ends, least, costs, allowed))

    def _cuts(self) -> Iterator[tuple[Operand, int]]:
        """Every boundary that an operand crosses: its index, and its memories but for the outermost one's outside."""
        for operand in OPERANDS:
            for level in range(len(self.array.chain(operand))):
                yield operand, level

    def _cost(self, operand: Operand, level: int, price: Mapping[str, tuple[float, float]], hop: float) -> Grid:
        moved = transfer(self.array, self.shape, operand, level, self.tile)
        read, write = price[moved.outer.name]
        cost = moved.read * read + moved.written * write + moved.hopped * hop
        if moved.inner:
            read, write = price[moved.inner.name]
            cost = cost + moved.given * read + moved.taken * write
        return np.asarray(cost, np.float64)

    def _allowed(self) -> dict[tuple[Operand, int], NDArray[np.bool_]]:
        """Where each cut may be, for every split of the shared memories: bool (splits, lattice)."""
        shared = [m for m in self.array.memories if len(m.holds) > 1 and math.isfinite(m.capacity_bits)]
        ways = [list(self._splits(memory)) for memory in shared]
        budgets = [
            {(m.name, operand): bits for m, way in zip(shared, chosen, strict=True) for operand, bits in way.items()}
            for chosen in itertools.product(*ways)
        ]
        allowed: dict[tuple[Operand, int], NDArray[np.bool_]] = {}
        for operand, level in self._cuts():
            if level == 0:  # the multiply-add keeps one element
                one = math.prod(self.tile[dim] for dim in self.array.held(operand)) == 1
                allowed[operand, level] = np.broadcast_to(one, (len(budgets), *np.shape(one)))
                continue
            memory = self.array.chain(operand)[level - 1]
            kept = np.asarray(kept_bits(self.array, self.shape, operand, level - 1, self.tile))
            rooms = [budget.get((memory.name, operand), memory.capacity_bits) for budget in budgets]
            allowed[operand, level] = np.stack([kept <= room for room in rooms])
        return allowed

    def _splits(self, memory: Memory) -> Iterator[dict[Operand, float]]:
        """Parts of a shared memory for each operand: at sizes that tiles of all operands but the last really have."""
        sizes = []
        count = max(2, round(SPLITS ** (1 / (len(memory.holds) - 1))))
        for operand in memory.holds[:-1]:
            level = self.array.chain(operand).index(memory)
            kept = np.unique(np.asarray(kept_bits(self.array, self.shape, operand, level, self.tile)))
            kept = kept[kept <= memory.capacity_bits]
            picked = np.unique(np.linspace(0, kept.size - 1, min(kept.size, count)).round().astype(int))
            sizes.append(kept[picked])
        fits = False
        for parts in itertools.product(*sizes):
            rest = memory.capacity_bits - sum(parts)
            if rest > 0:
                fits = True
                yield dict(zip(memory.holds, (*map(float, parts), rest), strict=True))
        if not fits:
            raise HardwareError(
                f"one step of the layer does not fit {memory.name} of {self.array.name}, "
                f"{memory.capacity_bits:,.0f} bits"
            )

    def _path(
        self,
        split: int,
        ends: State,
        least: Mapping[State, Grid],
        costs: Mapping[tuple[Operand, int], Grid],
        allowed: Mapping[tuple[Operand, int], NDArray[np.bool_]],
    ) -> list[tuple[tuple[int, ...], Operand]]:
        """The chain from its outer end: powers of the vector at each cut, and whose cut it is."""
        state, at = ends, tuple(power for _, _, power in self.axes)
        path: list[tuple[tuple[int, ...], Operand]] = []
        while any(state):
            box = tuple(slice(0, power + 1) for power in at)
            for index, operand in enumerate(OPERANDS):
                if not state[index]:
                    continue
                before = (*state[:index], state[index] - 1, *state[index + 1 :])
                cut = (operand, state[index] - 1)
                whole = least[before][split][box] + costs[cut][box]
                reached = np.where(allowed[cut][split][box], whole, np.inf)
                place = np.unravel_index(reached.argmin(), reached.shape)
                if reached[place] == least[state][split][at]:
                    at, state = tuple(map(int, place)), before
                    path.append((at, operand))
                    break
        return path[::-1]

    def _nest(self, path: list[tuple[tuple[int, ...], Operand]]) -> Nest:
        """Loops between one vector of the chain and the next, small primes of one loop joined."""
        loops: list[tuple[str, int]] = []
        cuts: dict[Operand, list[int]] = {operand: [] for operand in OPERANDS}
        at = (0,) * len(self.axes)
        for to, operand in [*path, (tuple(power for _, _, power in self.axes), None)]:
            sizes: dict[str, int] = {}
            for (dim, prime, _), low, high in zip(self.axes, at, to, strict=True):
                sizes[dim] = sizes.get(dim, 1) * prime ** (high - low)
            loops += [(dim, size) for dim, size in sizes.items() if size > 1]
            at = to
            if operand:
                cuts[operand].append(len(loops))
        return Nest(self.array, self.shape, tuple(loops), {operand: tuple(found) for operand, found in cuts.items()})


def primes(number: int) -> list[tuple[int, int]]:
    """Prime factors and their powers, the smallest first."""
    found: list[tuple[int, int]] = []
    prime = 2
    while number > 1:
        power = 0
        while number % prime == 0:
            number, power = number // prime, power + 1
        if power:
            found.append((prime, power))
        prime = prime + 1 if prime * prime <= number else max(number, prime + 1)
    return found


__all__ = ["Goal", "MappingCost", "best", "primes"]
