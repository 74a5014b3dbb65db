"""EIE: a cycle-level model of the efficient inference engine (Han et al., ISCA 2016).

Modelled: rows interleaved over PEs; 4-bit runs with filler zeros; zero inputs skipped by the tree of leading non-zero
detectors, which finds one a cycle; a queue of inputs before each PE, the fullest of which holds up the broadcast; one
entry a cycle in a PE, and one cycle for a column in which it has none; outputs in passes and inputs in batches of as
many as the register files hold, each batch loading and writing back the register files.

Left out: hazards in the adder (the paper bypasses them), the pointers' capacity (VGG-6 has 25,089 columns of pointers,
more than the 32 KB that we believe the paper gives), and any layer that is no product of a shared matrix and a vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.hardware.eie_pack import Packed, Places, pack, stored, turned
from lissome.hardware.estimate import Estimate, LayerEstimate, by_layer
from lissome.hardware.units import KIB, Hertz, Milliwatts, Seconds, check_count, check_rate, energy_pj, mhz
from lissome.hardware.workload import MOVEMENT, Layer, Workload

CLOCK_HZ: Final = mhz(800)
ENTRY_BITS: Final = 8  # a code and a run
# Table II, one PE at 45 nm: power in mW and area in um2 by module.
POWER_MW: Final = {"queue": 0.112, "pointers": 1.807, "weights": 4.955, "arithmetic": 1.162, "activations": 1.122}
AREA_UM2: Final = {
    "queue": 758,
    "pointers": 121_849,
    "weights": 469_412,
    "arithmetic": 3_110,
    "activations": 18_934,
    "filler cells": 23_961,
}


@dataclass(frozen=True)
class Timing:
    """Cycles of one matrix and vector. busy: entries processed, all PEs together; columns: inputs broadcast."""

    cycles: int
    busy: int
    columns: int
    pes: int

    @property
    def theoretical_cycles(self) -> float:
        """Cycles if the entries, fillers included, were spread evenly and no PE ever waited (table IV's row)."""
        return self.busy / self.pes

    @property
    def load_efficiency(self) -> float:
        """Share of PE cycles that process an entry."""
        return self.busy / (self.cycles * self.pes) if self.cycles else 0.0


@dataclass(frozen=True)
class EIE:
    """64 PEs at 800 MHz in 45 nm. Sizes: section VI and table II; queue depth 8: section VI.C, figure 8."""

    pes: int = 64
    clock_hz: Hertz = CLOCK_HZ
    queue_depth: int = 8
    run_bits: int = 4
    register_words: int = 64  # source and destination activations that a PE holds
    weight_bytes: int = 128 * KIB  # a PE's SRAM of entries, 8 bits each
    power_mw: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(POWER_MW))
    area_um2: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(AREA_UM2))

    name = "eie"

    def __post_init__(self) -> None:
        for what in ("pes", "queue_depth", "run_bits", "register_words", "weight_bytes"):
            check_count(getattr(self, what), f"{what} of EIE")
        check_rate(self.clock_hz, "Hz", "the clock of EIE")

    @property
    def watts(self) -> float:
        """Power of all PEs."""
        return self.pes * sum(self.power_mw.values()) / 1000

    @property
    def area_mm2(self) -> float:
        """Area of all PEs."""
        return self.pes * sum(self.area_um2.values()) / 1e6

    def estimate(self, workload: Workload) -> Estimate:
        """Time and energy of the layers that EIE can do; the others are left out, each with its reason."""
        return by_layer(
            f"EIE, {self.pes} PEs at {self.clock_hz / 1e6:g} MHz",
            workload,
            lambda layer: self._layer(layer, workload.batch),
        )

    def time(self, rows: int, columns: int, positions: NDArray[np.int64], active: NDArray[np.int64]) -> Timing:
        """Cycles of a matrix whose non-zeros are at flat `positions`, and an input that is not zero at `active`.

        Raises HardwareError when a PE's part of the matrix does not fit its memory.
        """
        height = self.pes * self.register_words
        row = positions // columns
        cycles, busy, held = 0, 0, np.zeros(self.pes, np.int64)
        for top in range(0, rows, height):
            inside = positions[(row >= top) & (row < top + height)] - top * columns
            entries = Places.of(min(height, rows - top), columns, inside, self.pes).entries(self.run_bits)
            held += entries.sum(axis=0)
            busy += int(entries[active].sum())
            for left in range(0, columns, height):
                batch = active[(active >= left) & (active < left + height)]
                # A batch reads the source registers from SRAM and writes the destination's back, a word a cycle.
                moved = -(-min(height, columns - left) // self.pes) + -(-min(height, rows - top) // self.pes)
                cycles += self._drain(entries[batch]) + moved
        if int(held.max(initial=0)) > self.weight_bytes:
            raise HardwareError(
                f"a PE would keep {int(held.max()):,} entries of one byte; its SRAM has {self.weight_bytes:,} bytes: "
                "prune more, or give EIE more PEs"
            )
        return Timing(cycles, busy, active.size, self.pes)

    def _drain(self, entries: NDArray[np.int64]) -> int:
        """Cycles until every PE is done with these columns: int64 (columns, pes) entries each."""
        work = np.maximum(entries, 1)
        finished = np.zeros(self.pes, np.int64)
        taken = np.zeros(len(work), np.int64)  # when the last PE takes a column off its queue
        sent = 0
        for column, each in enumerate(work):
            sent += 1
            if column >= self.queue_depth:
                sent = max(sent, int(taken[column - self.queue_depth]))
            begun = np.maximum(finished, sent)
            taken[column] = begun.max()
            finished = begun + each
        return int(finished.max(initial=0))

    def matrix_reads(self, entries: NDArray[np.int64], active: NDArray[np.int64], width_bits: int) -> int:
        """Reads of the entries' memories, all PEs together, when one brings `width_bits`: entries are 8 bits each.

        entries: int64 (columns, pes), as `Places.entries` counts them; a PE's follow one another without a gap. active:
        columns that are read. A column that begins inside a word reads that word again.
        """
        check_count(width_bits, "the width of an SRAM")
        each = max(1, width_bits // ENTRY_BITS)
        ends = np.cumsum(entries, axis=0)
        first, last = (ends - entries) // each, (ends - 1) // each
        return int(np.where(entries > 0, last - first + 1, 0)[active].sum())

    def pack(self, layer: Layer) -> Packed:
        """The layer's weight as the memories of the PEs hold it. Raises HardwareError as `eie_pack.pack` does."""
        if layer.weight is None:
            raise HardwareError("EIE multiplies by stored weights; this layer has none")
        return pack(layer.weight, self.pes, self.run_bits, inputs_first=layer.inputs_first)

    def _layer(self, layer: Layer, batch: int) -> LayerEstimate:
        if layer.op in MOVEMENT or layer.op == "Relu":
            # Values stay where they are; ReLU is in the unit that writes activations.
            return LayerEstimate(layer.name, layer.op, 0, Seconds(0.0), "nothing")
        if layer.weight is None or layer.product is None or layer.op not in ("Gemm", "MatMul"):
            raise HardwareError("EIE does fully connected layers only")
        positions, _, _ = stored(layer.weight)
        rows, columns = layer.product.k, layer.product.c
        if layer.inputs_first:
            positions = turned(positions, rows, columns)
        # Which inputs are zero is not known: a fixed draw of as many as the workload says.
        active = random_inputs(columns, layer.input_density)
        return self.priced(layer.name, layer.op, layer.macs, self.time(rows, columns, positions, active), batch)

    def priced(self, name: str, op: str, macs: int, timing: Timing, batch: int = 1) -> LayerEstimate:
        """A timing as an estimate: each vector of the batch takes the same, and each module draws power all along."""
        cycles = timing.cycles * batch
        seconds = Seconds(cycles / self.clock_hz)
        energy = {part: energy_pj(Milliwatts(mw * self.pes), seconds) for part, mw in self.power_mw.items()}
        bound = "entries" if timing.load_efficiency > 0.8 else "load imbalance"
        return LayerEstimate(name, op, macs, seconds, bound, cycles, energy, timing.load_efficiency)


def random_places(
    rows: int, columns: int, density: float, seed: int, *, balanced_over: int | None = None
) -> NDArray[np.int64]:
    """Flat positions of non-zeros drawn independently, each with probability `density`.

    balanced_over: every PE of so many gets the same number of non-zeros in every column, to within one: the limit of
    load-balance-aware pruning (Han et al., ESE, FPGA 2017, section 3).
    """
    if not 0 < density <= 1:
        raise HardwareError(f"a density is above 0 and at most 1, not {density}")
    rng = np.random.default_rng(seed)
    if balanced_over is None:
        size = rows * columns
        gaps = rng.geometric(density, int(size * density + 8 * np.sqrt(size * density) + 16))
        places = np.cumsum(gaps) - 1
        return places[places < size]
    check_count(balanced_over, "the number of PEs")
    own = [np.arange(pe, rows, balanced_over) for pe in range(min(rows, balanced_over))]
    parts: list[NDArray[np.int64]] = []
    for pe_rows in own:
        wanted = pe_rows.size * density
        count = np.floor(wanted * np.arange(1, columns + 1)).astype(np.int64)
        count = np.diff(count, prepend=0)
        rank = np.argsort(rng.random((columns, pe_rows.size)), axis=1)
        column, place = np.nonzero(np.arange(pe_rows.size) < count[:, None])
        parts.append(pe_rows[rank[column, place]] * columns + column)
    return np.sort(np.concatenate(parts))


def random_inputs(columns: int, density: float, seed: int = 0) -> NDArray[np.int64]:
    """Indices of inputs that are not zero, in order: a fixed draw of that share of `columns`."""
    return np.sort(np.random.default_rng(seed).permutation(columns)[: round(columns * density)])
