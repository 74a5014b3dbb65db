"""Roofline: time is the larger of computing at the peak and moving bytes at the bandwidth (Williams et al., CACM 2009).

The machines' figures: TPU, K80, Haswell from Jouppi et al., ISCA 2017, table 2; P100 and V100 from NVIDIA's data sheets
(SXM2). Left out: energy; overlap that is less than perfect; caches between memory and arithmetic, except where a level
of this machine's own is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from lissome.errors import HardwareError
from lissome.hardware.estimate import Estimate, LayerEstimate
from lissome.hardware.units import BytesPerSecond, OpsPerSecond, Seconds, check_count, check_rate, gbps, tops
from lissome.hardware.workload import Layer, Workload


@dataclass(frozen=True)
class Roofline:
    """A machine by its peak and its bandwidth. A multiply-add counts 2 operations.

    value_bits: of a weight or activation in its arithmetic. coded: whether weights travel as the file has them, zeros
    neither moved nor multiplied; a machine that is not coded moves and multiplies every zero at value_bits.
    """

    name: str
    peak: OpsPerSecond
    bandwidth: BytesPerSecond
    value_bits: int
    source: str
    coded: bool = False

    def __post_init__(self) -> None:
        check_rate(self.peak, "op/s", f"the peak of {self.name}")
        check_rate(self.bandwidth, "B/s", f"the bandwidth of {self.name}")
        check_count(self.value_bits, f"value_bits of {self.name}")

    @property
    def ridge(self) -> float:
        """Multiply-adds a byte from which on the peak is reached."""
        return self.peak / 2 / self.bandwidth

    def attainable(self, macs_per_byte: float) -> OpsPerSecond:
        """The most operations a second at this intensity. Raises HardwareError for one that is not positive."""
        if not macs_per_byte > 0:
            raise HardwareError(f"an intensity is positive, not {macs_per_byte} multiply-adds a byte")
        return OpsPerSecond(min(self.peak, 2 * macs_per_byte * self.bandwidth))

    def estimate(self, workload: Workload) -> Estimate:
        """The least time of each layer: weights, inputs and outputs moved once, and the operations at the peak."""
        return Estimate(f"{self.name} (roofline)", workload.batch, tuple(map(self._layer, workload.layers)))

    def layer_bytes(self, layer: Layer) -> float:
        """Bytes that a layer moves: its parameters and activations, once each; none when it only renames."""
        if not layer.macs and not layer.operations:
            return 0.0
        kept = layer.coded_bits if self.coded else layer.weights * self.value_bits
        other = max(0, layer.parameters - layer.weights)
        return (kept + (other + layer.inputs + layer.outputs) * self.value_bits) / 8

    def intensity(self, layer: Layer) -> float:
        """Multiply-adds a byte of a layer on this machine. Raises HardwareError for one that moves nothing."""
        return self._intensity(self._macs(layer), self.layer_bytes(layer), layer.name)

    def network_intensity(self, workload: Workload) -> float:
        """Multiply-adds a byte of a whole network, each layer's bytes moved. Raises HardwareError as `intensity`."""
        return self._intensity(sum(map(self._macs, workload.layers)), self.network_bytes(workload), workload.title)

    def network_bytes(self, workload: Workload) -> float:
        """Bytes that all layers move."""
        return sum(map(self.layer_bytes, workload.layers))

    def _intensity(self, macs: float, moved: float, name: str) -> float:
        if not moved:
            raise HardwareError(f"{name!r} moves no bytes on {self.name}: it has no intensity")
        return macs / moved

    def _macs(self, layer: Layer) -> float:
        return layer.macs * layer.density if self.coded else float(layer.macs)

    def _layer(self, layer: Layer) -> LayerEstimate:
        macs = self._macs(layer)
        compute = (2 * macs + layer.operations) / self.peak
        move = self.layer_bytes(layer) / self.bandwidth
        seconds = Seconds(max(compute, move))
        used = 2 * layer.useful_macs / self.peak / seconds if layer.macs else None
        bound = "nothing" if not seconds else "compute" if compute >= move else "bandwidth"
        return LayerEstimate(layer.name, layer.op, layer.macs, seconds, bound, utilisation=used)


_TPU_PAPER: Final = "Jouppi et al., ISCA 2017, table 2"
_NVIDIA: Final = "NVIDIA data sheet, SXM2"
MACHINES: Final = {
    machine.name: machine
    for machine in (
        Roofline("tpu-roofline", tops(92), gbps(34), 8, _TPU_PAPER),
        Roofline("k80", tops(2.8), gbps(160), 32, _TPU_PAPER),
        Roofline("haswell", tops(1.3), gbps(51), 32, _TPU_PAPER),
        Roofline("p100", tops(10.6), gbps(732), 32, _NVIDIA),
        Roofline("v100-fp32", tops(15.7), gbps(900), 32, _NVIDIA),
        Roofline("v100", tops(125), gbps(900), 16, _NVIDIA),
    )
}


def this_machine(gops: float, read_gbps: float, *, level: str = "memory", bits: int = 32) -> Roofline:
    """The machine that lissome runs on, from rates measured on it: its peak, and reading from one level of memory.

    gops: 10^9 operations a second, a multiply-add counts 2, on activations of `bits`: 32 for float32, 8 for codes.

    Weights travel as the file has them, since lissome's kernels read them so.
    """
    name = f"this ({level})" if bits == 32 else f"this, int{bits} ({level})"
    return Roofline(name, tops(gops / 1000), gbps(read_gbps), bits, "measured", coded=True)


def chart(machines: Sequence[Roofline], *, width: int = 64, height: int = 16) -> str:
    """The roofs as text: attainable operations a second over multiply-adds a byte, both on logarithmic axes."""
    if not machines:
        raise HardwareError("a chart needs at least one machine")
    low, high = 2.0**-2, 2.0**13
    intensities = [low * (high / low) ** (i / (width - 1)) for i in range(width)]
    top = max(machine.peak for machine in machines)
    bottom = min(machine.attainable(low) for machine in machines)
    canvas = [[" "] * width for _ in range(height)]
    for index, machine in enumerate(machines):
        for column, intensity in enumerate(intensities):
            share = _log_share(machine.attainable(intensity), bottom, top)
            canvas[height - 1 - round(share * (height - 1))][column] = chr(ord("a") + index % 26)
    lines = ["|" + "".join(row).rstrip() for row in canvas]
    lines[0] += f"  {top / 1e12:.3g} Top/s"
    lines[-1] += f"  {bottom / 1e12:.3g} Top/s"
    lines.append("+" + "-" * width)
    lines.append(f" {low:g} to {high:g} multiply-adds a byte")
    lines += [
        f" {chr(ord('a') + index % 26)} {m.name}: {m.peak / 1e12:.4g} Top/s, {m.bandwidth / 1e9:.4g} GB/s, "
        f"ridge at {m.ridge:.4g} multiply-adds a byte ({m.source})"
        for index, m in enumerate(machines)
    ]
    return "\n".join(lines)


def _log_share(value: float, low: float, high: float) -> float:
    return math.log(value / low) / math.log(high / low) if high > low else 0.0
