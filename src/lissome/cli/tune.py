"""lissome tune: measure, layer by layer, which algorithm is the fastest on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

import lissome as ls
from lissome.cli.console import Json, Packed, Threads, counting, print_json, print_table
from lissome.runtime.tune import Measured, default_path
from lissome.runtime.tune.measure import describe


def tune(
    file: Packed,
    *,
    threads: Threads = None,
    full: Annotated[bool, typer.Option("--full/--quick", help="Measure every algorithm, for longer and anew.")] = True,
    json: Json = False,
) -> None:
    """Find the fastest algorithm of every convolution and keep the results, which compile(tune="quick") then uses.

    A run that is killed goes on where it was, with --quick: each layer is kept as soon as it is measured.
    """
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
