"""DaDianNao: weights that never leave the chip, in eDRAM beside the multipliers (Chen et al., MICRO 2014).

A chip has 16 tiles; a tile has 2 MB of eDRAM, from which the weights of 16 inputs × 16 outputs come each cycle: a chip
does 4096 16-bit multiply-adds a cycle. Chips stand in a square mesh and share every layer's outputs; inputs are
exchanged between layers over links of 6.4 GB/s a direction. Left out: training, batching, energy that depends on the
layer (power is the published total), pooling overlapped with other work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from lissome.errors import HardwareError
from lissome.hardware.estimate import Estimate, LayerEstimate, left_out
from lissome.hardware.units import (
    MIB,
    BytesPerSecond,
    Hertz,
    Milliwatts,
    Seconds,
    check_count,
    check_rate,
    energy_pj,
    gbps,
    mhz,
)
from lissome.hardware.workload import MOVEMENT, Layer, Workload

CLOCK_HZ: Final = mhz(606)
LINK: Final = gbps(6.4)
WORD_BYTES: Final = 2


@dataclass(frozen=True)
class DaDianNao:
    """`chips` chips at 606 MHz in 28 nm, 67.7 mm² and 15.97 W each (figures as EIE's table V quotes them)."""

    chips: int = 1
    clock_hz: Hertz = CLOCK_HZ
    tiles: int = 16
    inputs: int = 16
    outputs: int = 16
    weight_bytes: int = 36 * MIB  # a chip: 32 MB in the tiles and 4 MB in the middle
    link: BytesPerSecond = LINK
    area_mm2: float = 67.7
    chip_mw: float = 15_970.0

    name = "dadiannao"

    def __post_init__(self) -> None:
        for what in ("chips", "tiles", "inputs", "outputs", "weight_bytes"):
            check_count(getattr(self, what), f"{what} of DaDianNao")
        if math.isqrt(self.chips) ** 2 != self.chips:
            raise HardwareError(f"DaDianNao's chips stand in a square mesh: 1, 4, 16, 64, not {self.chips}")
        check_rate(self.clock_hz, "Hz", "the clock of DaDianNao")
        check_rate(self.link, "B/s", "a link of DaDianNao")

    def chips_for(self, workload: Workload) -> int:
        """The smallest square mesh that holds the network's weights at 16 bits."""
        chips = max(1, math.ceil(sum(layer.weights for layer in workload.layers) * WORD_BYTES / self.weight_bytes))
        return (math.isqrt(chips - 1) + 1) ** 2

    def cycles(self, layer: Layer) -> int:
        """Cycles of a layer: each output in 16ths of its inputs, outputs spread over the tiles of all chips."""
        if layer.product is None:
            return math.ceil(layer.operations / (self.chips * self.tiles * self.outputs))
        shape = layer.product
        places = shape.n * shape.p * shape.q * shape.groups * layer.repeats
        at_once = self.outputs * self.tiles * self.chips
        return places * math.ceil(shape.depth / self.inputs) * math.ceil(shape.k // shape.groups / at_once)

    def estimate(self, workload: Workload) -> Estimate:
        """Time and energy; zeros and codes save nothing. Every layer is left out when the weights do not fit."""
        title = f"DaDianNao, {self.chips} chip{'s' * (self.chips > 1)}"
        needed = self.chips_for(workload)
        if needed > self.chips:
            why = f"the network's weights need {needed} chips at 16 bits: DaDianNao(chips={needed})"
            return Estimate(title, workload.batch, (), left_out(workload.layers, why))
        return Estimate(title, workload.batch, tuple(self._layer(layer) for layer in workload.layers))

    def _layer(self, layer: Layer) -> LayerEstimate:
        if layer.op in MOVEMENT:
            return LayerEstimate(layer.name, layer.op, 0, Seconds(0.0), "nothing")
        cycles = self.cycles(layer)
        # Each chip needs what the others made; a mesh's chip has four links.
        missing = layer.inputs * WORD_BYTES * (1 - 1 / self.chips) if layer.product else 0.0
        exchange = missing / (4 * self.link) * self.clock_hz
        total = max(float(cycles), exchange)
        seconds = Seconds(total / self.clock_hz)
        energy = {"chips": energy_pj(Milliwatts(self.chip_mw * self.chips), seconds)}
        peak = total * self.chips * self.tiles * self.inputs * self.outputs
        share = layer.macs / peak if layer.macs else None
        bound = "links" if exchange > cycles else "compute"
        return LayerEstimate(layer.name, layer.op, layer.macs, seconds, bound, total, energy, share)
