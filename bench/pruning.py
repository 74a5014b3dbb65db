"""Accuracy against sparsity: every pruning criterion, and every granularity, on CIFAR-10's ResNet-20.

    python bench/pruning.py [--quick] [--data DIR] [--kept DIR] [--threads N] [--json PATH]

Each point starts from the same trained network (bench/trained.py), is pruned by the cubic schedule over the first two
thirds of EPOCHS, and measured by the engine from its packed file on the 10,000 test images. All criteria get the same
training: it is short, so the curves compare criteria and are no best results. The first convolution and the classifier
stay dense. Points are kept in --kept as they are made. --quick: 20 steps and 1,000 images, a trial of the code.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import torch

import lissome as ls
import trained as networks
from lissome import prune
from lissome.compress.method import Method
from lissome.compress.schedule import Cubic, Iterative, Schedule
from lissome.files import write_atomic
from measured import Bench, top1

SHARED: Final = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
NETWORK: Final = "cifar-resnet-20"
EPOCHS, LR = 0.3, 0.01
SPARSITIES: Final = (0.8, 0.9)
PIECES: Final = (0.3, 0.5)
CRITERIA: Final[dict[str, Callable[[float], Method]]] = {
    "magnitude": lambda s: prune.Magnitude(sparsity=s),
    "magnitude, ranked over all layers": lambda s: prune.Magnitude(sparsity=s, scope="global"),
    "LAMP": lambda s: prune.Lamp(sparsity=s),
    "Fisher": lambda s: prune.Fisher(sparsity=s),
    "Taylor": lambda s: prune.Taylor(sparsity=s),
    "movement": lambda s: prune.Movement(sparsity=s),
    "optimal brain damage": lambda s: prune.BrainDamage(sparsity=s),
    "network surgery": lambda s: prune.Surgery(sparsity=s),
    "ADMM": lambda s: prune.ADMM(sparsity=s),
    "load balanced, 4 PEs": lambda s: prune.LoadBalanced(sparsity=s, pes=4),
    "random": lambda s: prune.Random(sparsity=s),
}
GRANULARITIES: Final = ("weight", "row", "kernel", "1x4", "channel", "filter")


@dataclass(frozen=True)
class Point:
    """One network, pruned. sparsity: share of zeros in the layers that are pruned, as it came out. top1: in %."""

    study: str
    name: str
    asked: float
    sparsity: float
    top1: float
    lost: float
    bytes: int


@dataclass(frozen=True)
class Task:
    """What a point is made from."""

    study: str
    name: str
    asked: float
    method: Method


def tasks() -> Iterator[Task]:
    """What is measured."""
    for name, make in CRITERIA.items():
        for sparsity in SPARSITIES:
            yield Task("criterion", name, sparsity, make(sparsity))
    for name in GRANULARITIES:
        for sparsity in PIECES:
            yield Task("granularity", name, sparsity, prune.Magnitude(sparsity=sparsity, granularity=name))
    yield Task("granularity", "2 of 4", 0.5, prune.NofM(keep=2, of=4))


def measure(task: Task, bench: Bench, dense: float, threads: int) -> Point:
    """Prune, train, pack, and run the file."""
    model = copy.deepcopy(networks.starting_point(NETWORK, Path(), bench.kept))
    method = task.method
    ls.compress_(model, bench.inner(method), inputs=bench.calibration())
    ramps: list[Schedule] = []

    def step(_done: int, steps: int) -> None:
        if not ramps and isinstance(method, prune.ADMM):
            ramps.append(Iterative(model, end_step=steps, rounds=10))
        elif not ramps:
            ramps.append(Cubic(model, end_step=2 * steps // 3, every=5))
        ramps[0].step()

    bench.train(model, EPOCHS, LR, on_step=step)
    net = ls.freeze(model.eval(), example=bench.images.example)
    weights = [w for w in net.weights.values() if len(w.shape) == 4 and w.shape[1] > 3]
    zeros = 1 - sum(w.nnz for w in weights) / sum(w.to_dense().size for w in weights)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "net.liss")
        ls.save(net, path)
        found = top1(path, bench, threads)[0]
        return Point(task.study, task.name, task.asked, zeros, found, dense - found, Path(path).stat().st_size)


def table(rows: list[Point]) -> str:
    """The points as Markdown."""
    lines = ["| study | method | asked | zeros | top-1 | lost | bytes |", "|---|---|---:|---:|---:|---:|---:|"]
    for r in rows:
        numbers = (
            f"{100 * r.asked:.0f} %",
            f"{100 * r.sparsity:.1f} %",
            f"{r.top1:.2f} %",
            f"{r.lost:+.2f}",
            f"{r.bytes:,}",
        )
        lines.append(f"| {' | '.join((r.study, r.name, *numbers))} |")
    return "\n".join(lines)


def main() -> int:
    """Make the points that are missing and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA") or SHARED))
    parser.add_argument("--kept", type=Path, default=Path("build/methods"), help="folder of points and starting points")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = networks.STARTS[NETWORK]
    model = networks.starting_point(NETWORK, arguments.data, arguments.kept)
    bench = Bench(networks.load(start.images, arguments.data), start.ends, arguments.quick, arguments.kept)
    dense = top1(ls.freeze(model, example=bench.images.example), bench, arguments.threads)[0]
    rows = []
    for task in tasks():
        key = hashlib.sha256(f"{task} {arguments.quick}".encode()).hexdigest()[:12]
        path = arguments.kept / f"point-{key}.json"
        if not path.exists():
            print(f"{task.study}: {task.name}, {task.asked:g}", file=sys.stderr, flush=True)
            point = measure(task, bench, dense, arguments.threads)
            write_atomic(path, json.dumps(asdict(point)).encode())
        rows.append(Point(**json.loads(path.read_text())))
    print(table(rows))
    if arguments.json:
        write_atomic(arguments.json, (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
