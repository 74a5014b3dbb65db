"""Files of compressed networks, measured: what they lose, what they take, what they run in."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import lissome as ls
import trained as networks
from lissome.compress.method import Method
from lissome.network import Network
from trained import Images

CALIBRATION: Final = 500
PAIRS: Final = 40
Made: TypeAlias = nn.Module | Network
Step: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Bench:
    """What a case gets: the images, its first and last layer, and a way to train that --quick cuts short."""

    images: Images
    ends: str
    quick: bool
    kept: Path

    def train(self, model: nn.Module, epochs: float, lr: float, on_step: Step | None = None) -> None:
        """Train `model` in place."""
        epochs = 20 * networks.BATCH / len(self.images.train) if self.quick else epochs
        networks.train(model, self.images, epochs, lr=lr, on_step=on_step)

    def calibration(self) -> torch.Tensor:
        """Unlabelled inputs."""
        return self.images.calibration(20 if self.quick else CALIBRATION)

    def inner(self, *methods: Method) -> ls.Recipe:
        """The methods on all weights but those of the first and the last layer."""
        return ls.Recipe([(self.ends, []), ("*", list(methods))])


Make: TypeAlias = Callable[[nn.Module, Bench], Made]


@dataclass(frozen=True)
class Case:
    """One row to make. most_lost, least_ratio: what is asked of it, if anything is."""

    name: str
    make: Make
    weight_bits: str = "32"
    activation_bits: str = "32"
    epochs: float = 0.0
    most_lost: float | None = None
    least_ratio: float | None = None
    network: str = "cifar-resnet-20"


@dataclass(frozen=True)
class Row:
    """One file, measured. top1, dense_top1: in % of `images`; lost: their difference, in points."""

    name: str
    network: str
    weight_bits: str
    activation_bits: str
    epochs: float
    images: int
    dense_top1: float
    top1: float
    lost: float
    bytes: int
    ratio: float
    speed: float
    macs: int
    macs_ratio: float
    most_lost: float | None
    least_ratio: float | None

    @property
    def reached(self) -> str:
        """Whether it keeps to what is asked."""
        if self.most_lost is None and self.least_ratio is None:
            return ""
        kept = self.most_lost is None or self.lost <= self.most_lost + 1e-9
        return "yes" if kept and (self.least_ratio is None or self.ratio >= self.least_ratio) else "no"


def top1(net: Network | str, bench: Bench, threads: int) -> tuple[float, int]:
    """Share of the test images, in %, to which the engine gives their class, and how many images those are."""
    count = 1_000 if bench.quick else len(bench.images.test)
    engine, right = ls.compile(net, threads=threads), 0
    for i in range(0, count, 50):
        answers: NDArray[np.float32] = engine(bench.images.inputs(bench.images.test[i : i + 50]).numpy())
        right += int((answers.argmax(1) == bench.images.test_labels[i : i + 50]).sum())
    return 100 * right / count, count


def speed(dense: Network, path: str, example: torch.Tensor, threads: int) -> float:
    """The dense network's time over the file's for one image: median of pairs."""
    x = np.random.default_rng(0).standard_normal(tuple(example.shape), dtype=np.float32)
    engines, ratios = [ls.compile(net, threads=threads) for net in (dense, path)], []
    for _ in range(PAIRS):
        times = []
        for engine in engines:
            engine(x)
            started = time.perf_counter()
            for _ in range(5):
                engine(x)
            times.append(time.perf_counter() - started)
        ratios.append(times[0] / times[1])
    return statistics.median(ratios)


def measured(case: Case, start: nn.Module, bench: Bench, threads: int) -> Row:
    """Make a case's network, pack it, and measure the file."""
    example = bench.images.example
    dense = ls.freeze(start, example=example)
    made = case.make(copy.deepcopy(start), bench)
    net = made if isinstance(made, Network) else ls.freeze(made.eval(), example=example)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "net.liss")
        ls.save(net, path)
        size = Path(path).stat().st_size
        before, (after, count) = _dense_top1(case.network, bench, threads, dense), top1(path, bench, threads)
        times = speed(dense, path, example, threads)
    macs, less = (ls.profile(each).macs for each in (dense, net))
    how = (case.weight_bits, case.activation_bits, case.epochs, count)
    found = (before, after, before - after, size, dense.dense_bytes / size, times, less, macs / less)
    return Row(case.name, case.network, *how, *found, case.most_lost, case.least_ratio)


_KNOWN: Final[dict[tuple[str, bool], float]] = {}


def _dense_top1(network: str, bench: Bench, threads: int, dense: Network) -> float:
    """Measured once for each network."""
    key = (network, bench.quick)
    if key not in _KNOWN:
        _KNOWN[key] = top1(dense, bench, threads)[0]
    return _KNOWN[key]


COLUMNS: Final = (
    *("network", "method", "weight bits", "activation bits", "epochs", "top-1", "lost", "bytes", "ratio", "MACs"),
    *("speed", "asked", "reached"),
)


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|---|---|---|{'---:|' * 7}---|---|"]
    for r in rows:
        asked = [] if r.most_lost is None else [f"≤ {r.most_lost:g}"]
        asked += [] if r.least_ratio is None else [f"≥ {r.least_ratio:g}×"]
        cells = (r.network.removeprefix("cifar-"), r.name, r.weight_bits, r.activation_bits, f"{r.epochs:g}")
        accuracy = (f"{r.top1:.2f} %", f"{r.lost:+.2f}")
        costs = (f"{r.bytes:,}", f"{r.ratio:.1f}×", f"1/{r.macs_ratio:.2g}", f"{r.speed:.2f}×")
        lines.append(f"| {' | '.join((*cells, *accuracy, *costs, ', '.join(asked), r.reached))} |")
    return "\n".join(lines)
