"""lissome demo: the whole way on data that is always there, stage by stage."""

from __future__ import annotations

import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

import lissome as ls
from lissome import data, models
from lissome.cli.console import Json, Threads, print_json, print_table, progress
from lissome.evaluate import Evaluation, evaluate, latency_us


def demo(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Keep the packed file here.", dir_okay=False)
    ] = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Train, prune, share, pack and run LeNet-300-100 on handwritten digits; needs no network and no files.

    Every row is measured on a packed file, run by the engine; latency is of one image.
    """
    import torch

    from lissome.train import pipeline

    if threads is not None:
        torch.set_num_threads(threads)
    recipe = ls.Recipe.from_toml(files("lissome.cli").joinpath("demo.toml").read_text(encoding="utf-8"))
    digits = data.load("digits")
    example = torch.from_numpy(digits.test.inputs()[:1])
    torch.manual_seed(recipe.seed)
    model = models.build("lenet-300-100")
    names = {"": "trained, packed", "prune": "pruned, retrained", "share": "shared; coder small"}
    rows: list[tuple[str, Evaluation]] = []
    with tempfile.TemporaryDirectory() as folder, progress() as show:
        path = output or Path(folder) / "demo.liss"

        def measure(stage: ls.Stage, trained: torch.nn.Module) -> None:
            net = ls.freeze(trained, example=example, recipe=recipe)
            if not rows:
                rows.append(("float32 original", evaluate(net, digits.test, threads=threads)))
            ls.save(net, path)
            rows.append((names[stage.settle], evaluate(path, digits.test, threads=threads)))

        outcome = pipeline.run(recipe, model, digits, on_epoch=show, on_stage=measure)
        ls.save(ls.freeze(model, example=example, recipe=recipe), path, coder="huffman")
        rows.insert(-1, ("shared; coder huffman", evaluate(path, digits.test, threads=threads)))
        ls.save(ls.freeze(model, example=example, recipe=recipe), path)
    with torch.inference_mode():
        torch_us = latency_us(lambda x: outcome.reference(torch.from_numpy(x)), example.numpy())
    if json:
        print_json({"torch_latency_us": torch_us, "stages": [{"stage": name, **e.to_plain()} for name, e in rows]})
        return
    base = rows[0][1].latency_us
    print_table(
        f"LeNet-300-100 on {len(digits.train):,} + {len(digits.test):,} handwritten digits (8×8, enlarged)",
        ("", "bytes", "ratio", "top-1", "latency", "speed-up"),
        [
            (
                name,
                f"{e.bytes:,}",
                f"{e.ratio:.1f}×",
                f"{e.top1:.2f} %",
                f"{e.latency_us:.1f} µs",
                f"{base / e.latency_us:.1f}×",
            )
            for name, e in rows
        ],
    )
    print(
        f"torch runs the original in {torch_us:.1f} µs. " + (f"Kept: {output}" if output else "-o FILE keeps the file.")
    )
