"""lissome profile: what a network costs, layer by layer, and what its lightweight layers save."""

from __future__ import annotations

from typing import Annotated

import typer

import lissome as ls
from lissome.cli.console import Json


def profile(
    net: Annotated[
        str,
        typer.Argument(
            help="A network's name (lissome list models), a .liss or .onnx file, module:function or file.py:function."
        ),
    ],
    *,
    shape: Annotated[
        str | None, typer.Option("--shape", help="Of one input, as 3x224x224; else the network's own.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Inputs at a time.")] = 1,
    json: Json = False,
) -> None:
    """Show parameters, MB, multiply-adds, activations and FLOP per byte of every layer and in total.

    Below, each grouped, depthwise, pointwise or factorised convolution beside the standard one that it stands for.
    Naming a Python file or module of your own runs it.
    """
    found = ls.profile(net, shape=None if shape is None else _extents(shape), batch=batch)
    print(found.to_json() if json else found)


def _extents(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not a shape such as 3x224x224", param_hint="--shape")
    return tuple(map(int, parts))
