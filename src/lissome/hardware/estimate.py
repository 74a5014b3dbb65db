"""Estimate: what a machine needs for each layer of a workload, adding up to the network's time and energy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from lissome.errors import HardwareError
from lissome.hardware.units import Picojoules, Seconds
from lissome.hardware.workload import Layer, Workload


@dataclass(frozen=True)
class LayerEstimate:
    """Cost of one layer.

    cycles: 0 for a machine that is known by its rates alone. energy_pj by component: empty where the machine's sources
    give no energy. bound_by: what limits it, one word or two. utilisation: useful multiply-adds over those that the
    machine could do in the time, None where it does none.
    """

    name: str
    op: str
    macs: int
    seconds: Seconds
    bound_by: str
    cycles: float = 0.0
    energy_pj: Mapping[str, Picojoules] = field(default_factory=dict)
    utilisation: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "energy_pj", MappingProxyType(dict(self.energy_pj)))


@dataclass(frozen=True)
class LeftOut:
    """A layer that the machine does not do, with its size: some other machine must."""

    name: str
    op: str
    macs: int
    operations: int
    why: str


@dataclass(frozen=True)
class Estimate:
    """What `machine` needs for a workload: every layer is in `layers` or in `left_out`. Prints as a table."""

    machine: str
    batch: int
    layers: tuple[LayerEstimate, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def seconds(self) -> Seconds:
        """Time of all layers, one after another."""
        return Seconds(sum(layer.seconds for layer in self.layers))

    @property
    def cycles(self) -> float:
        """Cycles of all layers."""
        return sum(layer.cycles for layer in self.layers)

    @property
    def energy_pj(self) -> dict[str, Picojoules]:
        """Energy of all layers, by component."""
        total: dict[str, float] = {}
        for layer in self.layers:
            for component, energy in layer.energy_pj.items():
                total[component] = total.get(component, 0.0) + energy
        return {component: Picojoules(energy) for component, energy in total.items()}

    @property
    def total_pj(self) -> Picojoules:
        """Energy of all layers and components."""
        return Picojoules(sum(self.energy_pj.values()))

    @property
    def macs(self) -> int:
        """Multiply-adds of the layers that the machine does, dense."""
        return sum(layer.macs for layer in self.layers)

    def table(self) -> str:
        """One line a layer, one for the total, and the layers left out."""
        components = list(self.energy_pj)
        head = ["layer", "op", "MACs", "time µs", "cycles", "used", "bound by", *(f"{c} µJ" for c in components)]
        rows = [_row(layer, components) for layer in self.layers]
        total = LayerEstimate("total", "", self.macs, self.seconds, "", self.cycles, self.energy_pj)
        lines = _aligned([head, *rows, _row(total, components)])
        lines += [f"left out: {o.name} ({o.op}, {o.macs + o.operations:,} operations): {o.why}" for o in self.left_out]
        return "\n".join([f"{self.machine}, batch {self.batch}", *lines])

    def __str__(self) -> str:
        return self.table()

    def to_plain(self) -> dict[str, Any]:
        """The estimate as dicts, lists, strings and numbers, for JSON."""
        return {
            "machine": self.machine,
            "batch": self.batch,
            "seconds": self.seconds,
            "cycles": self.cycles,
            "energy_pj": self.energy_pj,
            "total_pj": self.total_pj,
            "layers": [vars(layer) | {"energy_pj": dict(layer.energy_pj)} for layer in self.layers],
            "left_out": [dict(vars(layer)) for layer in self.left_out],
        }


def by_layer(machine: str, workload: Workload, estimated: Callable[[Layer], LayerEstimate]) -> Estimate:
    """The estimate of every layer; one that raises HardwareError is left out, with its reason."""
    done: list[LayerEstimate] = []
    others: list[LeftOut] = []
    for layer in workload.layers:
        try:
            done.append(estimated(layer))
        except HardwareError as error:
            others.extend(left_out([layer], str(error)))
    return Estimate(machine, workload.batch, tuple(done), tuple(others))


def left_out(layers: Iterable[Layer], why: str) -> tuple[LeftOut, ...]:
    """These layers as left out, all for one reason."""
    return tuple(LeftOut(layer.name, layer.op, layer.macs, layer.operations, why) for layer in layers)


def _row(layer: LayerEstimate, components: list[str]) -> list[str]:
    used = "" if layer.utilisation is None else f"{100 * layer.utilisation:.1f} %"
    cycles = f"{layer.cycles:,.0f}" if layer.cycles else ""
    energies = [f"{layer.energy_pj.get(component, 0.0) / 1e6:,.3f}" for component in components]
    return [
        layer.name,
        layer.op,
        f"{layer.macs:,}",
        f"{1e6 * layer.seconds:,.2f}",
        cycles,
        used,
        layer.bound_by,
        *energies,
    ]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 1, 6}
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
