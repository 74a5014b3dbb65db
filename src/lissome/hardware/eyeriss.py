"""Eyeriss: latency and traffic of convolutions by the row-stationary dataflow (Chen et al., JSSC 2017; ISCA 2016).

A set of R × e PEs makes e rows of outputs: filter rows stay, rows of inputs go diagonally, sums go up. r sets share the
channels and t sets the filters of a pass; a PE holds p filters of q channels. Names are those of table III.

Modelled: the passes of a mapping, their rounding up, the buffer's and scratch pads' capacities; filters loaded before a
pass; sums going to the buffer and back; inputs and outputs run-length coded in DRAM, over a 60 MHz link. Left out: what
the tables' total latency has beyond the processing latency, configuration, pooling, layers beyond the chip's shapes.
"""

from __future__ import annotations

import itertools
from dataclasses import astuple, dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from lissome.errors import HardwareError
from lissome.graph.conv_shape import ConvShape
from lissome.hardware.energy import mac_pj, scaled_pj
from lissome.hardware.estimate import Estimate, LayerEstimate, by_layer
from lissome.hardware.run_length import coded_words
from lissome.hardware.units import KIB, Hertz, Milliwatts, Picojoules, Seconds, check_count, check_rate, mhz
from lissome.hardware.workload import MOVEMENT, Layer, Workload

CLOCK_HZ: Final = mhz(200)
WORD_BYTES: Final = 2
FILTER_WORDS: Final = 2  # a cycle, to the PEs before a pass. FITTED to the five latencies of AlexNet (table V)
SUM_WORDS: Final = 4  # a cycle and direction between buffer and array: 64 bits
LINK_WORDS: Final = 4 * 60 / 200  # a cycle of the core: 64 bits at 60 MHz
# Power of the chip without DRAM: what it draws always (clock, control, leakage), and for each multiply-add whose input
# is not zero, its reads and writes included. Both FITTED to AlexNet's five powers (table V); VGG's are predicted.
ALWAYS_MW: Final = 212.2
BUSY_MAC_PJ: Final = 4.9
RELATIVE: Final = {"compute": 1.0, "registers": 1.0, "array": 2.0, "buffer": 6.0, "DRAM": 200.0}  # ISCA 2016

Whole: TypeAlias = Any  # int, or int64 array: one mapping or many


@dataclass(frozen=True)
class Mapping:
    """Table III. m: filters whose sums are in the buffer; n: images; e: output rows of a set.

    p, q: filters and channels in a PE; r, t: sets that share channels and filters. Arrays hold many mappings at once.
    """

    m: Whole
    n: Whole
    e: Whole
    p: Whole
    q: Whole
    r: Whole
    t: Whole

    def values(self) -> tuple[Whole, ...]:
        """The fields in order."""
        return astuple(self)


@dataclass(frozen=True)
class Cost:
    """Of one layer, all images: cycles of computing, loading filters, moving sums; words that move; PEs at work."""

    compute_cycles: Any
    filter_cycles: Any
    sum_cycles: Any
    buffer_words: Any
    dram_words: Any
    active: Any

    @property
    def cycles(self) -> Any:
        """Sums and DRAM move while PEs compute; filters are loaded between passes."""
        working = np.maximum(self.compute_cycles + self.filter_cycles, self.sum_cycles)
        return np.maximum(working, self.dram_words / LINK_WORDS)

    @property
    def bound_by(self) -> str:
        """Which of the three it is."""
        if self.cycles == self.sum_cycles:
            return "sums"
        return "link" if self.cycles > self.compute_cycles + self.filter_cycles else "compute"


@dataclass(frozen=True)
class Eyeriss:
    """The chip of JSSC table IV: 12 × 14 PEs, a buffer of 108 KB of which 100 hold inputs and sums, 200 MHz."""

    rows: int = 12
    columns: int = 14
    clock_hz: Hertz = CLOCK_HZ
    buffer_bytes: int = 100 * KIB
    filter_words: int = 224
    input_words: int = 12
    sum_words: int = 24

    name = "eyeriss"

    def __post_init__(self) -> None:
        for what in ("rows", "columns", "buffer_bytes", "filter_words", "input_words", "sum_words"):
            check_count(getattr(self, what), f"{what} of Eyeriss")
        check_rate(self.clock_hz, "Hz", "the clock of Eyeriss")

    def sets(self, window: int, e: Whole) -> Whole:
        """Sets of `window` × e PEs that fit the array; a wider one is folded over several rows of sets."""
        stacked, beside, folds = self.rows // window, self.columns // e, -(-e // self.columns)
        return np.where(beside > 0, stacked * beside, stacked // folds)

    def check(self, shape: ConvShape, mapping: Mapping) -> None:
        """Raise HardwareError when the mapping does not fit the array, the scratch pads or the buffer."""
        for what, wanted, there in self._limits(shape, mapping):
            if wanted > there:
                raise HardwareError(f"the mapping needs {wanted:,} {what}; Eyeriss has {there:,}: {mapping}")

    def _limits(self, shape: ConvShape, mapping: Mapping) -> tuple[tuple[str, Whole, Whole], ...]:
        """What a mapping takes and what there is of it; whole numbers, or arrays of many mappings' at once."""
        sums = mapping.m * mapping.n * mapping.e * shape.q * WORD_BYTES
        inputs = mapping.n * mapping.q * mapping.r * self._rows_read(shape, mapping) * self._width(shape) * WORD_BYTES
        return (
            ("sets", mapping.r * mapping.t, self.sets(shape.r, mapping.e)),
            ("words of filters in a PE", mapping.p * mapping.q * shape.s, self.filter_words),
            ("words of inputs in a PE", mapping.q * shape.s, self.input_words),
            ("sums in a PE", mapping.p, self.sum_words),
            ("bytes of the buffer", sums + inputs, self.buffer_bytes),
        )

    def cost(self, layer: Layer, mapping: Mapping, output_density: float = 1.0) -> Cost:
        """Cycles and traffic of a layer under a mapping. Raises HardwareError when it does not fit."""
        shape = self._shape(layer)
        self.check(shape, mapping)
        return self._cost(layer, shape, mapping, output_density)

    def _cost(self, layer: Layer, shape: ConvShape, mapping: Mapping, output_density: float) -> Cost:
        """Of one mapping, or of many: then every figure is an array."""
        filters, channels, groups = shape.k // shape.groups, shape.c // shape.groups, shape.groups
        strips, batches = -(-shape.p // mapping.e), -(-shape.n // mapping.n)
        by_filters = -(-filters // (mapping.p * mapping.t))
        by_channels = -(-channels // (mapping.q * mapping.r))
        passes = groups * strips * batches * by_filters * by_channels
        pass_cycles = mapping.n * shape.q * shape.s * mapping.p * mapping.q
        weights = filters * channels * shape.r * shape.s * groups
        sums = shape.n * shape.k * shape.p * shape.q * by_channels
        reads = mapping.n * mapping.q * mapping.r * self._rows_read(shape, mapping) * self._width(shape)
        inputs = coded_words(layer.inputs, layer.input_density) * -(-filters // mapping.m)
        outputs = coded_words(layer.outputs, output_density)
        return Cost(
            compute_cycles=passes * pass_cycles,
            filter_cycles=weights * strips * batches / FILTER_WORDS,
            sum_cycles=sums / SUM_WORDS,
            buffer_words=2 * sums + passes * reads / np.maximum(1, mapping.m // (mapping.p * mapping.t)),
            dram_words=weights * strips * batches + inputs + outputs,
            active=shape.r * mapping.e * mapping.r * mapping.t,
        )

    def power(self, layer: Layer, cost: Cost) -> Milliwatts:
        """What the chip, without DRAM, draws while it does a layer at this cost: a zero input is gated."""
        busy = layer.macs * layer.input_density
        return Milliwatts(ALWAYS_MW + BUSY_MAC_PJ * busy / float(cost.cycles) * self.clock_hz / 1e9)

    def best(self, layer: Layer) -> Mapping:
        """The mapping of least cycles, then least DRAM traffic. Raises HardwareError when there is none."""
        shape = self._shape(layer)
        tried = self._mappings(shape)
        fits = np.all([wanted <= there for _, wanted, there in self._limits(shape, tried)], axis=0)
        if not fits.any():
            raise HardwareError(f"no mapping of {layer.name!r} fits: one strip of inputs and sums outgrows the buffer")
        fitting = Mapping(*(column[fits] for column in tried.values()))
        cost = self._cost(layer, shape, fitting, 1.0)
        first = int(np.lexsort((cost.dram_words, cost.cycles))[0])
        return Mapping(*(int(column[first]) for column in fitting.values()))

    def _mappings(self, shape: ConvShape) -> Mapping:
        """The mappings that are tried, those that do not fit too: int64 arrays."""
        filters, channels = shape.k // shape.groups, shape.c // shape.groups
        widest = min(shape.p, self.columns * (self.rows // shape.r))
        rows = sorted({min(widest, e) for e in (self.columns // 2, self.columns - 1, self.columns, widest)})
        powers = [p for p in (1, 2, 4, 8, 16) if p < 2 * filters]
        found: list[tuple[int, ...]] = []
        for e, n, p in itertools.product(rows, sorted({1, min(4, shape.n)}), powers):
            sets = int(self.sets(shape.r, e))
            for r in (r for r in range(1, sets + 1) if sets % r == 0):
                t = sets // r
                kept = [m for m in sorted({p * t, min(filters, 64), filters}) if m >= p * t or p * t >= filters]
                found += [(m, n, e, p, q, r, t) for m in kept for q in range(1, min(channels, self.input_words) + 1)]
        return Mapping(*np.array(found, np.int64).T)

    def estimate(self, workload: Workload) -> Estimate:
        """Time and energy of convolutions, each with its best mapping; layers that the chip does not do are left out.

        A zero input is gated: it costs no multiply-add and no read of a filter, but its cycle. Energy: relative costs
        of ISCA 2016 times Horowitz's 16-bit multiply-add, at 65 nm.
        """
        return by_layer("Eyeriss", workload, self._estimated)

    def _estimated(self, layer: Layer) -> LayerEstimate:
        if layer.op in MOVEMENT or layer.op == "Relu":
            return LayerEstimate(layer.name, layer.op, 0, Seconds(0.0), "nothing")
        cost = self.cost(layer, self.best(layer))
        cycles = cost.cycles * layer.repeats
        busy = layer.macs * layer.input_density
        used = {
            "compute": busy,
            "registers": 2 * layer.macs + 2 * busy,
            "array": float(layer.macs) / max(1, self._shape(layer).s),
            "buffer": cost.buffer_words * layer.repeats,
            "DRAM": cost.dram_words * layer.repeats,
        }
        each = scaled_pj(mac_pj("int16"), from_nm=45, to_nm=65)
        energy = {part: Picojoules(count * RELATIVE[part] * each) for part, count in used.items()}
        seconds = Seconds(cycles / self.clock_hz)
        share = layer.macs / (cycles * self.rows * self.columns)
        return LayerEstimate(layer.name, layer.op, layer.macs, seconds, cost.bound_by, cycles, energy, share)

    def _shape(self, layer: Layer) -> ConvShape:
        """The layer's convolution, checked against the shapes of table IV."""
        shape = layer.product
        if shape is None or layer.op not in ("Conv", "Gemm"):
            raise HardwareError("Eyeriss does convolutions only")
        filters, channels = shape.k // shape.groups, shape.c // shape.groups
        window, dilated = (shape.r, shape.s), shape.dilation_h * shape.dilation_w > 1
        if shape.r > self.rows or shape.s > 32 or max(filters, channels) > 1024 or dilated:
            raise HardwareError(
                f"{filters} filters of {channels} channels, {window}: Eyeriss takes up to 1024 filters and channels, "
                f"{self.rows} rows and 32 columns, undilated"
            )
        return shape

    def _rows_read(self, shape: ConvShape, mapping: Mapping) -> Whole:
        return (mapping.e - 1) * shape.stride_h + shape.r

    def _width(self, shape: ConvShape) -> int:
        return shape.w + shape.pad_left + shape.pad_right
