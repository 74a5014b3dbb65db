"""The machines by name. A new one is one file and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from lissome.errors import HardwareError
from lissome.hardware.array import Array, output_stationary, weight_stationary
from lissome.hardware.dadiannao import DaDianNao
from lissome.hardware.eie import EIE
from lissome.hardware.energy import Hierarchy
from lissome.hardware.estimate import Estimate
from lissome.hardware.eyeriss import Eyeriss
from lissome.hardware.mapped import Mapped
from lissome.hardware.mapper import Goal
from lissome.hardware.roofline import MACHINES as ROOFLINES
from lissome.hardware.tpu import TPU
from lissome.hardware.workload import Workload


class Machine(Protocol):
    """What estimates workloads."""

    def estimate(self, workload: Workload) -> Estimate:
        """Cost of every layer, those that the machine does not do listed as left out."""
        ...


_TABLE: Final[dict[str, Callable[[], Machine]]] = {
    "energy": Hierarchy,
    "eie": EIE,
    "tpu": TPU,
    "eyeriss": Eyeriss,
    "dadiannao": DaDianNao,
}
_ARRAYS: Final[dict[str, Callable[[], Array]]] = {
    "weight-stationary": weight_stationary,
    "output-stationary": output_stationary,
}


def names() -> tuple[str, ...]:
    """Names that `machine` knows."""
    return (*_TABLE, *_ARRAYS, *ROOFLINES)


def mapped_names() -> tuple[str, ...]:
    """Names of the machines that the mapper maps layers onto."""
    return tuple(_ARRAYS)


def mapped(name: str, goal: Goal = "energy") -> Mapped:
    """The array of this name under the mapper. Raises HardwareError listing the names that exist."""
    if name not in _ARRAYS:
        raise HardwareError(f"no array is called {name!r}; there are {', '.join(_ARRAYS)}")
    return Mapped(_ARRAYS[name](), goal)


def machine(name: str) -> Machine:
    """The machine of this name, with its paper's figures. Raises HardwareError listing the names that exist."""
    if name in _TABLE:
        return _TABLE[name]()
    if name in _ARRAYS:
        return mapped(name)
    if name in ROOFLINES:
        return ROOFLINES[name]
    raise HardwareError(f"no machine is called {name!r}; there are {', '.join(names())}")
