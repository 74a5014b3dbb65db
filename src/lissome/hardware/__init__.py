"""Hardware models: what a network costs on the machines of the field, each checked against its paper.

A machine is a frozen dataclass with `estimate(workload) → Estimate`; `count(network)` makes the workload.
"""

from lissome.hardware.energy import Hierarchy
from lissome.hardware.estimate import Estimate, LayerEstimate
from lissome.hardware.workload import Layer, Workload, count

__all__ = ["Estimate", "Hierarchy", "Layer", "LayerEstimate", "Workload", "count"]
