"""Systolic arrays: cycles of a matrix product by dataflow, and the TPU v1 (Jouppi et al., ISCA 2017) built on them.

A product of m × k by k × n runs on an array of rows × columns in folds. Stationary weights: a fold keeps rows × columns
of the weights while m inputs stream through; stationary inputs: the same with inputs and weights exchanged;
stationary outputs: a fold keeps rows × columns of the m × n outputs while k products stream.

The TPU shifts the next tile of weights in while the array computes, and fetches tiles ahead from DRAM into a FIFO of 4.
Modelled: fetch, shift, fill and drain of tiles; waiting for weights; the outputs of a layer passing the activation unit
before the next layer can begin; element-wise layers at 256 values a cycle. Left out: the host and PCIe, issue of
instructions, refresh of the DRAM, 16-bit operands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware.estimate import Estimate, LayerEstimate, by_layer
from lissome.hardware.units import MIB, BytesPerSecond, Hertz, Seconds, check_count, check_rate, gbps, mhz
from lissome.hardware.workload import MOVEMENT, Layer, Workload

Dataflow: TypeAlias = Literal["weight", "input", "output"]
CLOCK_HZ: Final = mhz(700)
DRAM: Final = gbps(34)
# Cycles from a row of 256 accumulators to the moment when the next layer may read it: activation, buffer, set-up of the
# next product. FITTED to CNN0's non-matrix cycles in table 3 (21.8 %); the other five workloads are predicted with it.
ACTIVATION_CYCLES: Final = 2.3


@dataclass(frozen=True)
class Systolic:
    """An array of rows × columns multiply-adds; what `dataflow` names stays in place."""

    rows: int = 256
    columns: int = 256
    dataflow: Dataflow = "weight"

    def __post_init__(self) -> None:
        check_count(self.rows, "the rows of a systolic array")
        check_count(self.columns, "the columns of a systolic array")
        if self.dataflow not in ("weight", "input", "output"):
            raise HardwareError(f"a systolic array keeps weight, input or output in place, not {self.dataflow!r}")

    def mapped(self, m: int, n: int, k: int) -> tuple[int, int, int]:
        """Extents along the array's rows, along its columns, and in time."""
        return {"weight": (k, n, m), "input": (k, m, n), "output": (m, n, k)}[self.dataflow]

    def folds(self, m: int, n: int, k: int) -> int:
        """Parts that the product is cut into."""
        along_rows, along_columns, _ = self.mapped(m, n, k)
        return math.ceil(along_rows / self.rows) * math.ceil(along_columns / self.columns)

    def cycles(self, m: int, n: int, k: int) -> int:
        """Cycles with memory that never stalls and no fold begun before the last has drained.

        A fold is `rows` cycles of loading what stays, the stream, and rows + columns − 2 of skew. Outputs that stayed
        are drained while the next fold streams, so that such a fold has no loading.
        """
        for extent in (m, n, k):
            check_count(extent, "an extent of a product")
        time = self.mapped(m, n, k)[2]
        loading = 0 if self.dataflow == "output" else self.rows
        return self.folds(m, n, k) * (loading + time + self.rows + self.columns - 2)

    def utilisation(self, m: int, n: int, k: int) -> float:
        """Multiply-adds over what the array could do in `cycles`."""
        return m * n * k / (self.cycles(m, n, k) * self.rows * self.columns)


@dataclass(frozen=True)
class Counters:
    """Cycles of one layer, by what the TPU's counters tell apart (table 3): they add up to `total`."""

    active: float = 0.0
    weight_stall: float = 0.0
    weight_shift: float = 0.0
    non_matrix: float = 0.0
    useful_macs: float = 0.0

    @property
    def total(self) -> float:
        """All cycles."""
        return self.active + self.weight_stall + self.weight_shift + self.non_matrix

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.active + other.active,
            self.weight_stall + other.weight_stall,
            self.weight_shift + other.weight_shift,
            self.non_matrix + other.non_matrix,
            self.useful_macs + other.useful_macs,
        )


@dataclass(frozen=True)
class TPU:
    """TPU v1: sizes and rates of Jouppi et al., section 2 and table 2; 8-bit weights and activations."""

    array: Systolic = Systolic()
    clock_hz: Hertz = CLOCK_HZ
    dram: BytesPerSecond = DRAM
    unified_buffer_bytes: int = 24 * MIB
    accumulator_rows: int = 4096
    fifo_tiles: int = 4
    activation_cycles: float = ACTIVATION_CYCLES

    name = "tpu"

    def __post_init__(self) -> None:
        check_rate(self.clock_hz, "Hz", "the clock of the TPU")
        check_rate(self.dram, "B/s", "the weight memory of the TPU")
        for what in ("unified_buffer_bytes", "accumulator_rows", "fifo_tiles"):
            check_count(getattr(self, what), f"{what} of the TPU")
        if self.array.dataflow != "weight":
            raise HardwareError("the TPU's array keeps weights in place; use Systolic for other dataflows")

    def estimate(self, workload: Workload) -> Estimate:
        """Time of each layer, its weights dense at 8 bits: the TPU has no sparsity, and its paper no energy a layer.

        A layer that does not fit is left out with the reason.
        """
        return by_layer("TPU v1", workload, self._estimated)

    def counters(self, layer: Layer) -> Counters:
        """Cycles of a layer by kind. Raises HardwareError when its activations do not fit the unified buffer."""
        images = layer.product.n if layer.product else 1
        elements = -(-(layer.inputs + layer.outputs) // images)  # a batch that does not fit goes image by image
        if elements > self.unified_buffer_bytes and layer.product:
            raise HardwareError(
                f"inputs and outputs of one image take {elements:,} bytes at 8 bits; the unified buffer has "
                f"{self.unified_buffer_bytes:,}"
            )
        if layer.product is None:
            return Counters(non_matrix=layer.operations / self.array.columns)
        return self._product(layer.product, layer.repeats)

    def _product(self, shape: ConvShape, repeats: int) -> Counters:
        """A product as passes of tiles: each keeps one tile of weights for as many inputs as the accumulators hold."""
        m = shape.n * shape.p * shape.q
        k, n = shape.depth, shape.k // shape.groups
        rows, columns = self.array.rows, self.array.columns
        tiles = math.ceil(k / rows) * math.ceil(n / columns) * shape.groups
        # Half of the accumulators take the next pass while the activation unit empties the other.
        block = min(m, self.accumulator_rows // 2)
        passes = math.ceil(m / block)
        fetch = rows * columns / self.dram * self.clock_hz  # a tile is read whole, whatever part of it is used
        held = tiles <= self.fifo_tiles  # then later passes find every tile in the FIFO
        fetched = tiles * (1 if held else passes)
        active = float(tiles * m)
        # A tile is shifted in while the one before is at work; what does not hide behind it shows.
        hidden = min(m / passes, rows)
        shift = tiles * passes * rows - tiles * passes * hidden
        waited = max(0.0, fetched * fetch - active - shift)
        if waited:  # an empty FIFO: the array has nothing to do while a tile is shifted in
            shift = float(fetched * rows)
            waited = max(0.0, fetched * fetch - active - shift)
        # The next layer reads what this one writes.
        drain = rows + columns + self.activation_cycles * m * math.ceil(n / columns) * shape.groups
        useful = shape.macs / (rows * columns)
        return Counters(active * repeats, waited * repeats, shift * repeats, drain * repeats, useful * repeats)

    def _estimated(self, layer: Layer) -> LayerEstimate:
        if layer.op in MOVEMENT:
            return LayerEstimate(layer.name, layer.op, 0, Seconds(0.0), "nothing")
        found = self.counters(layer)
        kinds = {"array": found.active, "weights": found.weight_stall, "shift": found.weight_shift}
        bound = max({**kinds, "activation": found.non_matrix}.items(), key=lambda item: item[1])[0]
        seconds = Seconds(found.total / self.clock_hz)
        used = found.useful_macs / found.total if layer.macs and found.total else None
        return LayerEstimate(layer.name, layer.op, layer.macs, seconds, bound, found.total, utilisation=used)
