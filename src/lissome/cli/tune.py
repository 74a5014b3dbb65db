"""lissome tune: measure, layer by layer, which algorithm is the fastest on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lissome as ls
from lissome.cli.console import Json, Threads, counting, print_json, print_table
from lissome.runtime.kernels import resolve_isa
from lissome.runtime.tune import Measured, calibrate, default_path
from lissome.runtime.tune.measure import describe


def tune(
    file: Annotated[Path | None, typer.Argument(help="A packed .liss file.", exists=True, dir_okay=False)] = None,
    *,
    calibration: Annotated[
        bool, typer.Option("--calibrate", help="Fit the cost model to this machine; needs no file.")
    ] = False,
    threads: Threads = None,
    full: Annotated[bool, typer.Option("--full/--quick", help="Measure every algorithm, for longer and anew.")] = True,
    json: Json = False,
) -> None:
    """Find the fastest algorithm of every convolution and keep the results, which compile(tune="quick") then uses;
    with --calibrate measure what every compilation takes from then on where nothing was measured for a layer.

    A run that is killed goes on where it was, with --quick: each layer is kept as soon as it is measured.
    """
    if file is None and not calibration:
        raise typer.BadParameter("name a .liss file, or give --calibrate")
    if calibration:
        _calibrate(json=json and file is None)
    if file is not None:
        _tune(file, threads, full=full, json=json)


def _calibrate(*, json: bool) -> None:
    isa = resolve_isa(None)
    found = calibrate(isa)
    if json:
        print_json({"isa": isa, "overheads": found.overheads, "a_byte": found.a_byte, "ratios": found.ratios})
        return
    rows = [(name, f"{overhead:.2f}") for name, overhead in found.overheads.items()]
    print_table(f"Overheads on this machine, {isa}; kept in {default_path()}", ("algorithm", "overhead"), rows)


def _tune(file: Path, threads: int | None, *, full: bool, json: bool) -> None:
    net = ls.load(file)
    layers: list[Measured] = []
    total = sum(node.op == "Conv" for node in net.graph.nodes)
    with counting("layer", total) as advance:

        def on_layer(measured: Measured) -> None:
            layers.append(measured)
            advance(measured.node)

        engine = ls.Engine(net, threads=threads, tune="full" if full else "quick", on_layer=on_layer)
    if json:
        plain = [{"node": m.node, "shape": list(m.shape.values()), "seconds": dict(m.seconds)} for m in layers]
        print_json({"file": str(file), "threads": engine.threads, "isa": engine.isa, "layers": plain})
        return
    rows = [(m.node, describe(m.shape), *_columns(m)) for m in layers]
    title = f"{file}, {engine.threads} thread(s), {engine.isa}; kept in {default_path()}"
    print_table(title, ("node", "layer", "fastest", "time", "others"), rows)


def _columns(measured: Measured) -> tuple[str, str, str]:
    (name, least), *others = measured.seconds.items()
    return name, f"{least * 1e6:.1f} µs", ", ".join(f"{other} {seconds / least:.2f}×" for other, seconds in others)
