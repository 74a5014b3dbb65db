"""How long a network takes from its file to an engine, and how much memory that needs at most.

    python bench/compile.py [NAME or PATH ...] [--repeats N] [--json PATH]

Networks of lissome.models by name (ResNet-50 unless told), each from its ONNX file and a .liss file of it, or files.
Each runs in a process of its own, N times (3 unless told), with everything imported before; the least of each number
counts. `bound`: compile's option memory, none and 1.2. Peak is what the process's resident memory grew by at most, the
first run included; the last column divides it by the dense float32 weights and the arena, which is the memory of
activations and workspaces.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

NETWORKS: Final = ("resnet-50",)
BOUNDS: Final = (0.0, 1.2)  # compile's memory; 0 for none

CHILD: Final = """
import json, resource, sys, time
import numpy as np, onnx, lissome as ls
from lissome import api

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

path, small, memory = sys.argv[1:]
for suffix in (".onnx", ".liss"):
    ls.compile(small + suffix, threads=1)  # imports what each kind of file needs
read_at, read = [], api._read

def timed(path):
    network = read(path)
    read_at.append((time.perf_counter(), network.dense_bytes))
    return network

api._read = timed
before, start = peak(), time.perf_counter()
engine = ls.compile(path, threads=1, memory=float(memory) or None)
planned = time.perf_counter()
shapes = {s.name: [1 if extent == "N" else extent for extent in s.shape] for s in engine.inputs}
inputs = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}
ready = time.perf_counter()
engine.run(inputs)
done = time.perf_counter()
plan = engine._plan(1)
row = {"load_s": read_at[0][0] - start, "plan_s": planned - read_at[0][0], "first_run_s": done - ready}
held = {"peak_bytes": peak() - before, "weight_bytes": read_at[0][1], "arena_bytes": plan.program.arena_bytes}
packed = sum(step.weights.nbytes for step in plan.steps if step.weights)
print(json.dumps(row | held | {"packed_bytes": packed}))
"""


def tiny(folder: Path) -> Path:
    """Files tiny.onnx and tiny.liss of a network of one layer, without their suffix."""
    import numpy as np

    import lissome as ls
    from lissome.graph import Graph, Node, TensorSpec
    from lissome.weights import Dense

    graph = Graph((Node("MatMul", "fc", ("x", "w"), ("y",)),), (TensorSpec("x", ("N", 4)),), ("y",), ("w",))
    net = ls.Network(graph, {"w": Dense(np.ones((4, 4), np.float32))})
    ls.export_onnx(net, folder / "tiny.onnx")
    ls.save(net, folder / "tiny.liss")
    return folder / "tiny"


def files(names: list[str]) -> Iterator[Path]:
    """The files to measure: those named, and two for each network of the field."""
    import lissome as ls
    from model_files import FOLDER, sample

    for name in names:
        if Path(name).suffix in (".onnx", ".liss"):
            yield Path(name)
            continue
        model = sample(name).model
        packed = FOLDER / f"{name}.liss"
        if not packed.exists() or packed.stat().st_mtime < model.stat().st_mtime:
            ls.save(ls.from_onnx(model), packed, coder="fast")
        yield from (model, packed)


def measure(path: Path, small: Path, bound: float, repeats: int) -> dict[str, float]:
    """Of all runs the least of each number."""
    command = [sys.executable, "-c", CHILD, str(path), str(small), str(bound)]
    runs = [json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) for _ in range(repeats)]
    return {key: min(run[key] for run in runs) for key in runs[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NAME or PATH")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    from model_files import FOLDER

    FOLDER.mkdir(parents=True, exist_ok=True)
    small, rows = tiny(FOLDER), []
    columns = f"{'load s':>7} {'plan s':>7} {'run s':>7} {'peak MB':>8} {'weights':>8} {'arena':>6} {'peak /':>7}"
    print(f"{'file':18} bound {columns}")
    for path, bound in itertools.product(files(list(arguments.networks)), BOUNDS):
        row = measure(path, small, bound, max(1, arguments.repeats))
        rows.append({"network": path.stem, "source": path.suffix[1:], "bound": bound or None, **row})
        peak, weights, arena = (row[key] / 1e6 for key in ("peak_bytes", "weight_bytes", "arena_bytes"))
        print(
            f"{path.name:18} {bound or '-':>5} {row['load_s']:7.2f} {row['plan_s']:7.2f} {row['first_run_s']:7.2f} "
            f"{peak:8.0f} {weights:8.0f} {arena:6.1f} {peak / (weights + arena):7.2f}",
            flush=True,
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
