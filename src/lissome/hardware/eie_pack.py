"""EIE's coding of a matrix, and its arithmetic bit by bit (Han et al., ISCA 2016, sections III and IV).

Row i belongs to PE i mod `pes`. A PE keeps its rows of each column as entries of a 4-bit code and a 4-bit run of zeros
before it; a longer run takes filler entries whose weight is 0. Codes point into one table of 16 weights in 16-bit fixed
point, of which code 0 is the filler's 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.errors import HardwareError
from lissome.hardware.units import check_count
from lissome.weights import Codebook, CodedWeight, Sparse

CODES = 16
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, eq=False)
class Places:
    """Where the non-zeros of a matrix (rows, columns) are, in the order of EIE's memories: by column, PE, row.

    group: int64, column · pes + PE of each. local: the row within its PE. source: index of each in the order given.
    """

    rows: int
    columns: int
    pes: int
    group: NDArray[np.int64]
    local: NDArray[np.int64]
    source: NDArray[np.int64]

    @classmethod
    def of(cls, rows: int, columns: int, positions: NDArray[np.int64], pes: int) -> Places:
        """From flat row-major positions of the non-zeros."""
        check_count(pes, "the number of PEs")
        row, column = np.divmod(positions, columns)
        group, local = column * pes + row % pes, row // pes
        order = np.argsort(group * (rows // pes + 1) + local, kind="stable")
        return cls(rows, columns, pes, group[order], local[order], order)

    def runs(self) -> NDArray[np.int64]:
        """Zeros before each non-zero in its PE and column."""
        before = np.concatenate([[-1], self.local[:-1]])
        first = np.concatenate([[True], self.group[1:] != self.group[:-1]])[: self.group.size]
        return self.local - np.where(first, -1, before[: self.group.size]) - 1

    def entries(self, run_bits: int = 4) -> NDArray[np.int64]:
        """Entries of each column and PE, fillers included: int64 (columns, pes)."""
        each = 1 + (self.runs() >> run_bits)
        counts = np.bincount(self.group, weights=each, minlength=self.columns * self.pes)
        return counts.astype(np.int64).reshape(self.columns, self.pes)


@dataclass(frozen=True, eq=False)
class Packed:
    """A matrix (rows, columns) as EIE's memories hold it.

    codes, runs: uint8, one an entry, by column and within it by PE. pointers: int64 (columns · pes + 1), where each
    column of each PE begins. table: int16 (16,), weights times 2^weight_fraction.
    """

    rows: int
    columns: int
    pes: int
    codes: NDArray[np.uint8]
    runs: NDArray[np.uint8]
    pointers: NDArray[np.int64]
    table: NDArray[np.int16]
    weight_fraction: int

    @property
    def fillers(self) -> int:
        """Entries that stand for no weight."""
        return int((self.codes == 0).sum())

    def local_rows(self) -> NDArray[np.int64]:
        """Row within its PE of every entry, read from the runs alone as the hardware does."""
        steps = np.cumsum(self.runs.astype(np.int64) + 1)
        begins = self.pointers[:-1]
        base = np.concatenate([[0], steps])[begins]
        rows: NDArray[np.int64] = steps - np.repeat(base, np.diff(self.pointers)) - 1
        return rows

    def multiply(self, x: NDArray[np.int16]) -> NDArray[np.int16]:
        """W · x in the machine's arithmetic; x and the result are int16 of one fixed-point format.

        For each input that is not zero, in order: product of 16 × 16 bits, rounded to nearest at the inputs' fraction,
        added with saturation to the 16-bit output of its row. Raises HardwareError for an input of another shape.
        """
        if x.shape != (self.columns,) or x.dtype != np.int16:
            raise HardwareError(f"EIE takes {self.columns} int16 inputs, found {x.dtype} of shape {x.shape}")
        spread = np.repeat(np.tile(np.arange(self.pes), self.columns), np.diff(self.pointers))
        row = self.local_rows() * self.pes + spread
        weight = self.table[self.codes].astype(np.int64)
        half = 1 << self.weight_fraction >> 1
        y = np.zeros(self.rows + self.pes, np.int64)  # a filler may point to a row that only other PEs have
        starts = self.pointers[:: self.pes]
        for column in np.flatnonzero(x):
            part = slice(int(starts[column]), int(starts[column + 1]))
            product = (weight[part] * int(x[column]) + half) >> self.weight_fraction
            y[row[part]] = np.clip(y[row[part]] + product, INT16.min, INT16.max)
        return y[: self.rows].astype(np.int16)


def pack(weight: CodedWeight, pes: int, run_bits: int = 4, *, inputs_first: bool = False) -> Packed:
    """A shared weight (rows, columns), or (columns, rows) when its inputs come first, as EIE keeps it.

    Raises HardwareError when it is no matrix, is not shared, or has more than 15 values that are not zero.
    """
    if len(weight.shape) != 2:
        raise HardwareError(f"EIE multiplies matrices; this weight has shape {weight.shape}")
    rows, columns = weight.shape[::-1] if inputs_first else weight.shape
    positions, codes, values = stored(weight)
    if inputs_first:
        positions = turned(positions, rows, columns)
    table, fraction = fixed_point(values)
    places = Places.of(rows, columns, positions, pes)
    runs = places.runs()
    longest = 1 << run_bits
    ends = np.cumsum(1 + runs // longest)
    total = int(ends[-1]) if ends.size else 0
    packed_codes, packed_runs = np.zeros(total, np.uint8), np.full(total, longest - 1, np.uint8)
    packed_codes[ends - 1] = codes[places.source]
    packed_runs[ends - 1] = runs % longest
    pointers = np.concatenate([[0], np.cumsum(places.entries(run_bits).reshape(-1))])
    return Packed(rows, columns, pes, packed_codes, packed_runs, pointers, table, fraction)


def turned(positions: NDArray[np.int64], rows: int, columns: int) -> NDArray[np.int64]:
    """Flat positions in a matrix (rows, columns) of those in its transpose."""
    column, row = np.divmod(positions, rows)
    return row * columns + column


def stored(weight: CodedWeight) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.float32]]:
    """Flat positions of the weights that are not zero, the code of each, and the table: entry 0 is 0."""
    shared = weight.values if isinstance(weight, Sparse) else weight
    if not isinstance(shared, Codebook):
        raise HardwareError(
            f"EIE needs shared weights, found {weight.describe()}: compress it with share.KMeans(bits=4)"
        )
    kept = np.flatnonzero(shared.codebook)
    if kept.size >= CODES:
        raise HardwareError(
            f"EIE's table has {CODES} weights, one of them 0; this codebook has {kept.size} others: share.KMeans(4)"
        )
    renamed = np.zeros(shared.codebook.size, np.uint8)
    renamed[kept] = np.arange(1, kept.size + 1)
    codes = renamed[shared.codes.reshape(-1)]
    present = np.flatnonzero(codes)
    positions = weight.positions if isinstance(weight, Sparse) else np.arange(codes.size)
    table = np.zeros(CODES, np.float32)
    table[1 : kept.size + 1] = shared.codebook[kept]
    return positions[present], codes[present], table


def fixed_point(values: NDArray[np.float32]) -> tuple[NDArray[np.int16], int]:
    """The values in 16-bit fixed point with as many fraction bits, 0 to 15, as the largest allows; and how many."""
    largest = float(np.abs(values).max(initial=0.0))
    fraction = next((bits for bits in range(15, -1, -1) if round(largest * 2**bits) <= INT16.max), None)
    if fraction is None:
        raise HardwareError(f"a weight of {largest:g} does not fit 16-bit fixed point; rescale the layer")
    return np.rint(values.astype(np.float64) * 2**fraction).astype(np.int16), fraction
