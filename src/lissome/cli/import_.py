"""lissome import: a network of another format as a packed file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lissome as ls
from lissome.cli.compress import Coder
from lissome.cli.console import Json, print_json
from lissome.network import Network


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="An .onnx file; or Caffe's .prototxt and, behind it, the .net of its coded weights.",
            exists=True,
            dir_okay=False,
        ),
    ],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .liss file to write.", dir_okay=False)],
    coder: Annotated[Coder, typer.Option(help="Entropy coder.")] = Coder.auto,
    json: Json = False,
) -> None:
    """Pack a network as it is: every weight keeps its value, and what is pruned or shared stays so."""
    network = _read(files)
    size = ls.save(network, output, coder=coder.value)
    ratio = network.dense_bytes / size
    if json:
        print_json({"file": str(output), "bytes": size, "parameters": network.parameters, "ratio": ratio})
    else:
        print(f"{output}: {size:,} bytes, {network.parameters:,} parameters, {ratio:.1f} times smaller than float32")


def _read(files: list[Path]) -> Network:
    match [(path, path.suffix) for path in files]:
        case [(model, ".onnx")]:
            return ls.from_onnx(model)
        case [(description, ".prototxt"), (weights, _)]:
            return ls.from_caffe(description, weights)
    raise typer.BadParameter("name one .onnx file, or a .prototxt and its .net", param_hint="FILES")
