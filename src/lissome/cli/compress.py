"""lissome compress: train (unless weights are given), prune, share, pack, and evaluate the packed file."""

from __future__ import annotations

import shutil
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import lissome as ls
from lissome import data
from lissome.cli.console import Data, DataName, Json, Threads, print_json, print_table, progress
from lissome.evaluate import evaluate


class Coder(StrEnum):
    """Entropy coders that a file may use; auto takes the smallest file."""

    auto = "auto"
    small = "small"
    fast = "fast"
    huffman = "huffman"


def compress(
    net: Annotated[
        str, typer.Argument(help="A network's name (lissome list models), module:function, or file.py:function.")
    ],
    *,
    recipe: Annotated[Path, typer.Option("--recipe", help="TOML file: rules and stages.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .liss file to write.", dir_okay=False)],
    data_folder: Data = None,
    dataset: DataName = "mnist",
    weights: Annotated[
        Path | None,
        typer.Option(help="Trained weights (safetensors); else trained first.", exists=True, dir_okay=False),
    ] = None,
    coder: Annotated[Coder, typer.Option(help="Entropy coder.")] = Coder.auto,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's seed.")] = None,
    threads: Threads = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, kept (default: OUTPUT.work, removed in the end).")
    ] = None,
    json: Json = False,
) -> None:
    """Compress NET by a recipe into one packed file.

    Naming a Python file or module of your own runs it: its function takes no arguments and returns a torch module.
    Checkpoints follow every epoch and stage: after a kill the same command goes on and gives the same file.
    """
    import torch

    from lissome.models.user import resolve
    from lissome.models.weights import load_weights_
    from lissome.train import pipeline

    if not output.resolve().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    chosen = ls.Recipe.load(recipe)
    chosen = chosen if seed is None else replace(chosen, seed=seed)
    images = data.load(dataset, data_folder)
    if threads is not None:
        torch.set_num_threads(threads)
    torch.manual_seed(chosen.seed)
    model = resolve(net)
    if weights is not None:
        load_weights_(model, weights)
    example = torch.from_numpy(images.train.inputs()[:1])
    ls.freeze(model, example=example)  # what cannot be packed is better said before the training than after it
    folder = work or output.with_name(f"{output.name}.work")
    with progress() as show:
        outcome = pipeline.run(chosen, model, images, trained=weights is not None, work=folder, on_epoch=show)
    ls.save(ls.arrange(ls.freeze(model, example=example, recipe=chosen)), output, coder=coder.value)
    original = evaluate(ls.freeze(outcome.reference, example=example), images.test, threads=threads)
    packed = evaluate(output, images.test, threads=threads)
    if work is None:
        shutil.rmtree(folder)
    if json:
        stages = [{"stage": name, "validation_top1": value} for name, value in outcome.accuracies]
        print_json(
            {"file": str(output), "original": original.to_plain(), "packed": packed.to_plain(), "stages": stages}
        )
        return
    print_table(
        f"{net} on {dataset}, {packed.images:,} test images",
        ("", "bytes", "ratio", "top-1", "latency, one image"),
        [
            (name, f"{e.bytes:,}", f"{e.ratio:.1f}×", f"{e.top1:.2f} %", f"{e.latency_us:.1f} µs")
            for name, e in (("float32 original", original), (str(output), packed))
        ],
    )
