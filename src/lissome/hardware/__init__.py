"""Hardware models: what a network costs on the machines of the field, each checked against its paper.

A machine is a frozen dataclass with `estimate(workload) → Estimate`; `count(network)` makes the workload.
"""

from lissome.hardware.dadiannao import DaDianNao
from lissome.hardware.eie import EIE
from lissome.hardware.energy import Hierarchy
from lissome.hardware.estimate import Estimate, LayerEstimate
from lissome.hardware.eyeriss import Eyeriss
from lissome.hardware.machines import Machine, machine, mapped, mapped_names, names
from lissome.hardware.mapped import Mapped
from lissome.hardware.roofline import Roofline
from lissome.hardware.tpu import TPU, Systolic
from lissome.hardware.workload import Layer, Workload, count

__all__ = [
    "EIE",
    "TPU",
    "DaDianNao",
    "Estimate",
    "Eyeriss",
    "Hierarchy",
    "Layer",
    "LayerEstimate",
    "Machine",
    "Mapped",
    "Roofline",
    "Systolic",
    "Workload",
    "count",
    "machine",
    "mapped",
    "mapped_names",
    "names",
]
