"""lissome run: arrays in, arrays out, through the engine."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

import lissome as ls
from lissome.cli.console import Json, Packed, Threads, print_json
from lissome.errors import DataError
from lissome.files import write_atomic


def run(
    file: Packed,
    *,
    input: Annotated[
        Path,
        typer.Option("--input", "-i", help="float32 .npy, batch first; .npz for several inputs by name.", exists=True),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help=".npy to write; .npz for several outputs by name.", dir_okay=False)
    ],
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Run a packed network on the arrays of a file. The output file appears whole or not at all."""
    engine = ls.compile(file, threads=threads)
    arrays = _read(input)
    if not isinstance(arrays, dict):
        arrays = {spec.name: arrays for spec in engine.inputs[:1]}
    results = engine.run(arrays)
    buffer = io.BytesIO()
    if output.suffix == ".npz":
        np.savez(buffer, allow_pickle=False, **results)
    elif len(results) == 1:
        np.save(buffer, next(iter(results.values())), allow_pickle=False)
    else:
        raise typer.BadParameter(
            f"this network has outputs {', '.join(results)}: name a .npz file", param_hint="--output"
        )
    write_atomic(output, buffer.getvalue())
    shapes = {name: list(result.shape) for name, result in results.items()}
    if json:
        print_json({"output": str(output), "shapes": shapes})
    else:
        print(f"{output}: " + ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()))


def _read(path: Path) -> Any:
    """The array of a .npy file (mapped: a header's claim costs no memory), or the arrays of a .npz by name."""
    try:
        loaded = np.load(path, mmap_mode=None if path.suffix == ".npz" else "r", allow_pickle=False)
        return dict(loaded) if path.suffix == ".npz" else loaded
    except (ValueError, EOFError, OSError, KeyError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
        raise DataError(
            f"{path}: not a NumPy .npy or .npz file of plain numbers; write it with numpy.save or numpy.savez"
        ) from error
