"""How good, how small and how fast: one network or packed file on one data set, run by the engine. Needs NumPy only."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lissome.api import compile as compile_engine
from lissome.data import Split
from lissome.network import Network
from lissome.pack.container import load


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    bytes: of the whole file, or of the dense float32 parameters when a Network was given. top1: percent of `images`
    classified right. latency_us: median microseconds of one image (a batch of one) on `threads` threads.
    """

    bytes: int
    dense_bytes: int
    images: int
    top1: float
    latency_us: float
    threads: int

    @property
    def ratio(self) -> float:
        """Bytes of the dense float32 parameters over `bytes`."""
        return self.dense_bytes / self.bytes

    def to_plain(self) -> dict[str, Any]:
        """Everything as plain data for JSON."""
        return {**asdict(self), "ratio": self.ratio}


def evaluate(source: Network | str | os.PathLike[str], split: Split, *, threads: int | None = None) -> Evaluation:
    """Run every image of `split` through the engine, from a packed file or from a network in memory.

    Raises what `lissome.load` and `lissome.compile` raise; UnsupportedShape when the images do not fit the network.
    """
    net = source if isinstance(source, Network) else load(source)
    size = net.dense_bytes if isinstance(source, Network) else Path(source).stat().st_size
    engine = compile_engine(net, threads=threads)
    return Evaluation(
        bytes=size,
        dense_bytes=net.dense_bytes,
        images=len(split),
        top1=top1(engine, split),
        latency_us=latency_us(engine, split.take(np.arange(1)).inputs()),
        threads=engine.threads,
    )


def top1(run: Callable[[NDArray[np.float32]], NDArray[np.float32]], split: Split, *, batch: int = 500) -> float:
    """Percent of the images whose largest output is their label. run: inputs (N, C, H, W) → scores (N, classes)."""
    right = 0
    for start in range(0, len(split), batch):
        part = split.take(np.arange(start, min(start + batch, len(split))))
        right += int((run(part.inputs()).argmax(axis=1) == part.labels).sum())
    return 100.0 * right / len(split)


def latency_us(run: Callable[[NDArray[np.float32]], Any], x: NDArray[np.float32], *, budget_s: float = 0.3) -> float:
    """Median microseconds of one call on `x`: after 3 to warm up, 5 calls or as many more as `budget_s` allows."""
    for _ in range(3):
        run(x)
    times: list[float] = []
    end = time.perf_counter() + budget_s
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        run(x)
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times)
