"""lissome map: the loop nest that the mapper finds for each layer on an array with memories."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lissome import hardware
from lissome.cli.console import Json, print_json
from lissome.cli.simulate import Batch, Net, workload
from lissome.hardware.mapper import Goal
from lissome.hardware.nest import Nest

_ARRAYS = ", ".join(hardware.mapped_names())


def map_(
    net: Net,
    *,
    on: Annotated[str, typer.Option("--on", help=f"One of: {_ARRAYS}.")],
    layer: Annotated[list[str] | None, typer.Option("--layer", help="Only this layer; may be repeated.")] = None,
    delay: Annotated[bool, typer.Option("--delay", help="Least delay instead of least energy.")] = False,
    batch: Batch = 1,
    json: Json = False,
) -> None:
    """Search loop order and tiles for least energy under the sizes of an array's memories, and show the nests."""
    if on not in hardware.mapped_names():
        raise typer.BadParameter(f"no array is called {on!r}; there are {_ARRAYS}", param_hint="--on")
    goal: Goal = "delay" if delay else "energy"
    machine = hardware.mapped(on, goal)
    layers = [each for each in workload(net, batch).layers if each.product]
    missing = sorted(set(layer or ()) - {each.name for each in layers})
    if missing:
        raise typer.BadParameter(f"no layer with a product is called {', '.join(missing)}", param_hint="--layer")
    nests = {each.name: machine.nest(each) for each in layers if not layer or each.name in layer}
    if json:
        print_json([{"layer": name} | _plain(nest) for name, nest in nests.items()])
        return
    for name, nest in nests.items():
        cost = nest.cost()
        found = f"{cost.total_pj / 1e6:,.3f} µJ, {cost.cycles:,.0f} cycles, bound by {cost.bound_by}"
        print(f"{name}: {found}\n{nest}\n")


def _plain(nest: Nest) -> dict[str, Any]:
    cost = nest.cost()
    return {
        "loops": [list(loop) for loop in nest.loops],
        "cuts": {operand: list(cuts) for operand, cuts in nest.cuts.items()},
        "cycles": cost.cycles,
        "bound_by": cost.bound_by,
        "energy_pj": dict(cost.energy_pj),
        "total_pj": cost.total_pj,
    }
