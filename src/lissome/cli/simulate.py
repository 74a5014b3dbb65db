"""lissome simulate, compare, roofline: what networks would cost on other machines, and on this one at best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from lissome import hardware
from lissome.cli.console import Json, print_json, print_table
from lissome.hardware.roofline import MACHINES, Roofline, chart, this_machine
from lissome.hardware.workload import shapes_only
from lissome.network import Network
from lissome.report.hardware import page, roofline_page
from lissome.report.profile import named, read
from lissome.runtime.machine import cache_bytes, peak_gflops, peak_integer_gops, read_gbps

_THIS: Final = "this"
_QUICK_S: Final = 0.05  # a rate; best of many trials

Net: TypeAlias = Annotated[
    str, typer.Argument(metavar="NET", help="A .liss or .onnx file, or a network's name (lissome list models).")
]
Nets: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="NET...", help="The first is what others are set against.")
]
On: TypeAlias = Annotated[str, typer.Option("--on", help=f"One of: {', '.join((*hardware.names(), _THIS))}.")]
Batch: TypeAlias = Annotated[int, typer.Option("--batch", min=1, help="Inputs at a time.")]
Density: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--density", metavar="NODE=SHARE", help="Share of a node's inputs that is not zero; may be repeated."),
]
Plot: TypeAlias = Annotated[
    Path | None, typer.Option("--plot", metavar="OUT.HTML", help="Write charts to one HTML file, readable offline.")
]


def simulate(
    net: Net, *, on: On, batch: Batch = 1, density: Density = None, plot: Plot = None, json: Json = False
) -> None:
    """Predict time, energy and utilisation, layer by layer, on another machine or as the least on this one."""
    work = workload(net, batch, density)
    machine, roofs = _machine(on)
    estimate = machine.estimate(work)
    if plot:
        plot.write_text(page(estimate, work, roofs), encoding="utf-8")
    if json:
        print_json({"net": net} | estimate.to_plain())
        return
    print(estimate.table())


def compare(nets: Nets, *, on: On, batch: Batch = 1, density: Density = None, json: Json = False) -> None:
    """Set networks side by side on one machine: time, energy, and how many times less than the first."""
    if len(nets) < 2:
        raise typer.BadParameter("compare needs at least two networks")
    machine, _ = _machine(on)
    found = [(net, machine.estimate(workload(net, batch, density))) for net in nets]
    if json:
        print_json([{"net": net} | estimate.to_plain() for net, estimate in found])
        return
    (_, first), rows = found[0], []
    for net, estimate in found:
        faster = f"{first.seconds / estimate.seconds:.2f}×" if estimate.seconds else ""
        less = f"{first.total_pj / estimate.total_pj:.2f}×" if estimate.total_pj else ""
        energy = f"{estimate.total_pj / 1e6:,.2f}" if estimate.total_pj else ""
        left_out = str(len(estimate.left_out))
        rows.append((net, f"{1e6 * estimate.seconds:,.2f}", faster, energy, less, left_out))
    print_table(
        f"{first.machine}, batch {batch}", ("network", "time µs", "faster", "energy µJ", "less", "left out"), rows
    )


def roofline(
    nets: Annotated[
        list[str] | None, typer.Argument(metavar="[NET...]", help="Networks to place on the roofs.")
    ] = None,
    *,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure this machine too: float32, 8-bit codes, each memory level.")
    ] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024, help="Threads to measure with.")] = 1,
    batch: Batch = 1,
    plot: Plot = None,
    json: Json = False,
) -> None:
    """Draw the rooflines of the known machines, and where networks stand below them."""
    machines = [*MACHINES.values(), *(_measured(threads) + _measured(threads, integers=True) if measure else ())]
    works = [workload(net, batch) for net in nets or ()]
    if plot:
        plot.write_text(roofline_page("Rooflines", machines, works), encoding="utf-8")
    if json:
        print_json([_roof(machine, works) for machine in machines])
        return
    print(chart(machines))
    rows = [
        (work.title, *(f"{machine.attainable(machine.network_intensity(work)) / 1e12:.3g}" for machine in machines))
        for work in works
    ]
    if rows:
        print_table("attainable, Top/s", ("network", *(machine.name for machine in machines)), rows)


def _roof(machine: Roofline, works: list[hardware.Workload]) -> dict[str, object]:
    points = {}
    for work in works:
        intensity = machine.network_intensity(work)
        points[work.title] = {"macs_per_byte": intensity, "attainable": machine.attainable(intensity)}
    return vars(machine) | {"ridge_macs_per_byte": machine.ridge, "networks": points}


def _network(net: str) -> Network:
    return read(net) if net.endswith((".liss", ".onnx")) else shapes_only(*named(net))


def workload(net: str, batch: int, density: list[str] | None = None) -> hardware.Workload:
    """What the network that NET names asks of a machine, with the densities that --density gave."""
    shares: dict[str, float] = {}
    for given in density or ():
        node, _, share = given.rpartition("=")
        try:
            shares[node] = float(share)
        except ValueError:
            raise typer.BadParameter(f"--density {given!r} is not NODE=SHARE with a number from 0 to 1") from None
    return hardware.count(_network(net), batch=batch, input_density=shares, title=Path(net).name)


def _machine(name: str) -> tuple[hardware.Machine, list[Roofline]]:
    """The machine, and the rooflines that a page about it shows: its own, for this machine one a memory level."""
    if name == _THIS:
        roofs = _measured(1)
        return roofs[-1], roofs
    if name not in hardware.names():
        raise typer.BadParameter(f"no machine is called {name!r}; there are {', '.join((*hardware.names(), _THIS))}")
    machine = hardware.machine(name)
    if name == "tpu":
        return machine, [MACHINES["tpu-roofline"]]
    return machine, [machine] if isinstance(machine, Roofline) else []


def _measured(threads: int, *, integers: bool = False) -> list[Roofline]:
    """This machine as seen from each cache, the first first, and from memory, last: in float32, or on 8-bit codes."""
    peak, caches = (peak_integer_gops if integers else peak_gflops)(threads, None, _QUICK_S), len(cache_bytes())
    levels = [(level, f"L{level}") for level in range(1, caches + 1)] + [(caches + 1, "memory")]
    bits = 8 if integers else 32
    return [
        this_machine(peak, read_gbps(level, threads, None, _QUICK_S), level=name, bits=bits) for level, name in levels
    ]
