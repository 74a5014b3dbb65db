"""A machine that maps each layer by itself: an array, and the mapper's best loop nest for every product."""

from __future__ import annotations

from dataclasses import dataclass, field

from lissome.errors import HardwareError
from lissome.hardware.array import Array, weight_stationary
from lissome.hardware.estimate import Estimate, LayerEstimate, by_layer
from lissome.hardware.mapper import Goal, best
from lissome.hardware.nest import Nest
from lissome.hardware.units import Picojoules, Seconds
from lissome.hardware.workload import MOVEMENT, Layer, Workload


@dataclass(frozen=True)
class Mapped:
    """The array under the mapper. Zeros cost what other values do; layers without a product are left out."""

    array: Array = field(default_factory=weight_stationary)
    goal: Goal = "energy"

    def nest(self, layer: Layer) -> Nest:
        """The best nest of a layer's product. Raises HardwareError when it has none, or no tile fits."""
        if layer.product is None:
            raise HardwareError(f"{self.array.name} does products only")
        return best(self.array, layer.product, self.goal)

    def estimate(self, workload: Workload) -> Estimate:
        """Time and energy of each product under its best nest."""
        return by_layer(f"{self.array.name}, least {self.goal}", workload, self._estimated)

    def _estimated(self, layer: Layer) -> LayerEstimate:
        if layer.op in MOVEMENT or layer.op == "Relu":
            return LayerEstimate(layer.name, layer.op, 0, Seconds(0.0), "nothing")
        cost = self.nest(layer).cost()
        cycles = cost.cycles * layer.repeats
        energy = {name: Picojoules(energy * layer.repeats) for name, energy in cost.energy_pj.items()}
        used = layer.macs / (cycles * self.array.macs)
        seconds = Seconds(cycles / self.array.clock_hz)
        return LayerEstimate(layer.name, layer.op, layer.macs, seconds, cost.bound_by, cycles, energy, used)
