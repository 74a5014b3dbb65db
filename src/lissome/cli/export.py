"""lissome export: a network as an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lissome as ls
from lissome.cli.console import Json, print_json
from lissome.errors import RecipeError
from lissome.network import Network


def export(
    net: Annotated[
        str,
        typer.Argument(
            help="A .liss or .onnx file, a network's name (lissome list models), module:function or file.py:function."
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.", dir_okay=False)],
    shape: Annotated[
        str | None,
        typer.Option("--shape", help="Of one input of a torch network (3x224x224); else its own."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Trained weights of a torch network (safetensors).", exists=True, dir_okay=False)
    ] = None,
    json: Json = False,
) -> None:
    """Write NET as an ONNX model that ONNX Runtime runs with equal results; quantized weights stay codes.

    A torch network without --weights has random ones. Naming a Python file or module of your own runs it.
    """
    network = _read(net) if Path(net).suffix in (".liss", ".onnx") else _traced(net, shape, weights)
    size = ls.export_onnx(network, output)
    if json:
        print_json({"file": str(output), "bytes": size, "parameters": network.parameters})
    else:
        print(f"{output}: {size:,} bytes, {network.parameters:,} parameters")


def _read(path: str) -> Network:
    return ls.from_onnx(path) if path.endswith(".onnx") else ls.load(path)


def _traced(name: str, shape: str | None, weights: Path | None) -> Network:
    import torch

    from lissome.models.user import resolve
    from lissome.models.weights import load_weights_

    torch.manual_seed(0)
    model = resolve(name)
    extents = _extents(shape) if shape is not None else getattr(model, "input_shape", None)
    if extents is None:
        raise RecipeError(f"{name} does not say the shape of its input: say it, as in --shape 3x224x224")
    if weights is not None:
        load_weights_(model, weights)
    return ls.freeze(model, example=torch.zeros(1, *extents))


def _extents(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise typer.BadParameter(f"{text!r} is not a shape such as 3x224x224", param_hint="--shape")
    return tuple(map(int, parts))
