"""Measure the algorithms that can do a convolution, on the layer itself, interleaved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, layout
from lissome.runtime.algorithms import ALGORITHMS, Algorithm, Layer, named
from lissome.runtime.native import native
from lissome.runtime.tune.kept import Kept
from lissome.runtime.tune.search import search
from lissome.weights import CodedWeight

#: seconds spent on each algorithm of a layer, after one run to warm up; at least three runs each
BUDGET_S: Final = {"quick": 0.01, "full": 0.2}
#: an algorithm that the cost model puts this far behind the best is not measured by "quick"
FAR: Final = 4.0


@dataclass(frozen=True)
class Measured:
    """A layer's measurement. node: its name. seconds: the least time of each algorithm, the fastest first."""

    node: str
    shape: ConvShape
    seconds: Mapping[str, float]


@dataclass(frozen=True)
class Tuner:
    """Finds the fastest algorithm of each layer, and where its loops follow a schedule, the fastest of a few schedules.

    effort: "quick" (what was kept, else a short measurement of the likely algorithms) or "full" (every algorithm,
    anew). on_layer: told of every layer.
    """

    kept: Kept
    effort: str
    on_layer: Callable[[Measured], None] | None = None

    def best(self, node: str, layer: Layer, weight: CodedWeight, workers: int) -> tuple[str, str]:
        """Name of the fastest algorithm for a layer, and the reason."""
        key = signature(layer)
        kept = ((named(name), name, value) for name, value in self.kept.get(key).items())
        seconds = {name: value for found, name, value in kept if found is not None and not found.refuses(layer)}
        if self.effort == "full" or not seconds:

            def measured(algorithms: Sequence[Algorithm]) -> dict[str, float]:
                return measure(algorithms, layer, weight, workers, self.effort)

            seconds = measured(candidates(layer, everything=self.effort == "full"))
            fastest = next(a for a in ALGORITHMS if a.name == min(seconds, key=seconds.__getitem__))
            if fastest.scheduled:
                seconds |= search(fastest, layer, measured)
            self.kept.put(key, seconds)
        order = sorted((value, name) for name, value in seconds.items())
        if self.on_layer is not None:
            self.on_layer(Measured(node, layer.shape, {name: value for value, name in order}))
        lead = f", {order[1][0] / order[0][0]:.2f} times the speed of {order[1][1]}" if order[1:] else ""
        return order[0][1], f"measured{lead}"


def signature(layer: Layer) -> str:
    """What decides the speed of a layer, as text."""
    return f"conv {' '.join(map(str, layer.shape.values()))} density {layer.density:.2g}"


def candidates(layer: Layer, *, everything: bool) -> list[Algorithm]:
    """The algorithms that can do a layer, unless `everything` without those that the model puts far behind."""
    able = [algorithm for algorithm in ALGORITHMS if not algorithm.refuses(layer)]
    least = min(algorithm.time(layer) for algorithm in able)
    return [algorithm for algorithm in able if everything or algorithm.time(layer) <= FAR * least]


def measure(
    algorithms: Sequence[Algorithm], layer: Layer, weight: CodedWeight, workers: int, effort: str
) -> dict[str, float]:
    """Least seconds of a run of each algorithm on this layer, run in turns."""
    budget, rng = BUDGET_S[effort], np.random.default_rng(0)
    made = [program(algorithm, layer, weight, workers) for algorithm in algorithms]
    most = [max(sizes) for sizes in zip(*(sizes for _, sizes in made), strict=True)]
    x, y = rng.standard_normal(most[0], dtype=np.float32), np.empty(most[1], np.float32)
    least = [np.inf] * len(made)
    spent, rounds = 0.0, 0
    while rounds < 4 or spent < budget * len(made):
        for number, (ready, (reads, writes)) in enumerate(made):
            start = time.perf_counter()
            ready.run([x[:reads]], [y[:writes]], None)
            seconds = time.perf_counter() - start
            spent += seconds
            if rounds:  # the first run warms up
                least[number] = min(least[number], seconds)
        rounds += 1
    return {algorithm.name: float(seconds) for algorithm, seconds in zip(algorithms, least, strict=True)}


def program(
    algorithm: Algorithm, layer: Layer, weight: CodedWeight, workers: int
) -> tuple[native.Program, tuple[int, int]]:
    """One layer as a program of its own, and the elements that it reads and writes, in its kernel's layouts."""
    shape, kernel = layer.shape, algorithm.kernel(layer.isa)
    block_in, block_out = kernels.blocks(kernel)
    reads = math.prod(layout.extents(shape.n, shape.c, shape.h, shape.w, block_in))
    writes = math.prod(layout.extents(shape.n, shape.k, shape.p, shape.q, block_out))
    builder = native.Builder()
    ends = [builder.input(reads, 0)], [builder.output(writes, 0)]
    builder.step(kernel, *ends, algorithm.ints(layer), [], algorithm.pack(weight, shape, kernel))
    return builder.build([workers]), (reads, writes)


def describe(shape: ConvShape) -> str:
    """A convolution in a few words."""
    groups = f", {shape.groups} groups" if shape.groups > 1 else ""
    stride = f"/{shape.stride_h}" if shape.stride_h > 1 else ""
    return f"{shape.c}x{shape.h}x{shape.w} -> {shape.k}, {shape.r}x{shape.s}{stride}{groups}"
