"""lissome simulate, compare, roofline: what packed networks would cost on other machines, and on this one at best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

import lissome as ls
from lissome import hardware
from lissome.cli.console import Json, Packed, print_json, print_table
from lissome.hardware.roofline import MACHINES, Roofline, chart, this_machine
from lissome.runtime.machine import cache_bytes, peak_gflops, read_gbps

_THIS: Final = "this"
_QUICK_S: Final = 0.05  # a rate; best of many trials

On: TypeAlias = Annotated[str, typer.Option("--on", help=f"One of: {', '.join((*hardware.names(), _THIS))}.")]
Batch: TypeAlias = Annotated[int, typer.Option("--batch", min=1, help="Inputs at a time.")]
Density: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--density", metavar="NODE=SHARE", help="Share of a node's inputs that is not zero; may be repeated."),
]


def simulate(file: Packed, *, on: On, batch: Batch = 1, density: Density = None, json: Json = False) -> None:
    """Predict time, energy and utilisation, layer by layer, on another machine or as the least on this one."""
    estimate = _machine(on).estimate(_work(file, batch, density))
    if json:
        print_json({"file": str(file)} | estimate.to_plain())
        return
    print(estimate.table())


def compare(
    files: Annotated[list[Path], typer.Argument(help="Packed files; the first is what the others are compared with.")],
    *,
    on: On,
    batch: Batch = 1,
    density: Density = None,
    json: Json = False,
) -> None:
    """Set networks side by side on one machine: time, energy, and how many times less than the first."""
    if len(files) < 2:
        raise typer.BadParameter("compare needs at least two files")
    machine = _machine(on)
    found = [(file, machine.estimate(_work(file, batch, density))) for file in files]
    if json:
        print_json([{"file": str(file)} | estimate.to_plain() for file, estimate in found])
        return
    (_, first), rows = found[0], []
    for file, estimate in found:
        faster = f"{first.seconds / estimate.seconds:.2f}×" if estimate.seconds else ""
        less = f"{first.total_pj / estimate.total_pj:.2f}×" if estimate.total_pj else ""
        energy = f"{estimate.total_pj / 1e6:,.2f}" if estimate.total_pj else ""
        left_out = str(len(estimate.left_out))
        rows.append((str(file), f"{1e6 * estimate.seconds:,.2f}", faster, energy, less, left_out))
    print_table(f"{first.machine}, batch {batch}", ("file", "time µs", "faster", "energy µJ", "less", "left out"), rows)


def roofline(
    *,
    measure: Annotated[bool, typer.Option("--measure", help="Measure this machine too, each memory level.")] = False,
    threads: Annotated[int, typer.Option("--threads", min=1, max=1024, help="Threads to measure with.")] = 1,
    json: Json = False,
) -> None:
    """Draw the rooflines of the known machines."""
    machines = [*MACHINES.values(), *(_measured(threads) if measure else ())]
    if json:
        print_json([vars(machine) | {"ridge_macs_per_byte": machine.ridge} for machine in machines])
        return
    print(chart(machines))


def _work(file: Path, batch: int, density: list[str] | None) -> hardware.Workload:
    shares: dict[str, float] = {}
    for given in density or ():
        node, _, share = given.rpartition("=")
        try:
            shares[node] = float(share)
        except ValueError:
            raise typer.BadParameter(f"--density {given!r} is not NODE=SHARE with a number from 0 to 1") from None
    return hardware.count(ls.load(file), batch=batch, input_density=shares, title=str(file))


def _machine(name: str) -> hardware.Machine:
    if name == _THIS:
        return _measured(1)[-1]
    if name not in hardware.names():
        raise typer.BadParameter(f"no machine is called {name!r}; there are {', '.join((*hardware.names(), _THIS))}")
    return hardware.machine(name)


def _measured(threads: int) -> list[Roofline]:
    """This machine as seen from each cache, the first first, and from memory, last."""
    peak, caches = peak_gflops(threads, None, _QUICK_S), len(cache_bytes())
    levels = [(level, f"L{level}") for level in range(1, caches + 1)] + [(caches + 1, "memory")]
    return [this_machine(peak, read_gbps(level, threads, None, _QUICK_S), level=name) for level, name in levels]
