"""At which share of weights left do sparse and dense kernels meet? The source of the constants in runtime/kernels.py
and of the sparse convolutions' cost in runtime/algorithms.py.

    python bench/sparse_break_even.py [--quick] [--json PATH]

One thread, the widest instruction set, weights shared among 15 values. A row is one layer; the last column is the
density at which both kernels would take the same time, interpolated between the densities measured. Each time is the
least of several runs that alternate between the kernels.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from lissome.graph.conv_shape import ConvShape, GemmShape
from lissome.runtime import algorithms, kernels
from lissome.runtime.kernels import Choice
from lissome.runtime.native import native
from lissome.runtime.tune.measure import program as layer_program
from lissome.weights import Codebook, Dense, Sparse

DENSITIES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
GEMMS = [(m, n, k) for n, k in ((300, 784), (500, 800), (1000, 1024), (4096, 1024)) for m in (1, 3, 4, 16, 64)]
CONVS = [
    (1, 1, 28, 28, 20, 5, 5),
    (1, 20, 12, 12, 50, 5, 5),
    (16, 20, 12, 12, 50, 5, 5),
    (1, 64, 56, 56, 64, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    (1, 128, 28, 28, 128, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    (1, 256, 14, 14, 256, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    (1, 512, 7, 7, 512, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1),
    (1, 128, 28, 28, 256, 1, 1),
    (1, 64, 56, 56, 128, 3, 3, 1, 2, 2, 1, 1, 1, 1, 1, 1),
]


def pruned(rng: np.random.Generator, shape: tuple[int, ...], density: float) -> Sparse:
    """A random sparse weight shared among 15 values."""
    positions = np.flatnonzero(rng.random(int(np.prod(shape))) < density)
    codes = rng.integers(0, 15, positions.size)
    return Sparse(shape, positions, Codebook(codes, np.linspace(-1, 1, 15, dtype=np.float32)))


def program(kernel: str, shape: ConvShape | GemmShape, weight: Sparse | Dense) -> tuple[native.Program, int, int]:
    """One layer as a program, and the elements it reads and writes."""
    if isinstance(shape, ConvShape):
        algorithm, isa = algorithms.of_kernel(kernel), kernel.rpartition("_")[2]
        made, (reads, writes) = layer_program(algorithm, algorithms.Layer(shape, 1.0, isa), weight, 1)
        return made, reads, writes
    builder, choice = native.Builder(), Choice(kernel, "", "sparse" in kernel)
    reads, writes = shape.m * shape.k, shape.m * shape.n
    packed = kernels.pack_gemm(weight, shape, choice, transposed=True)
    ends = [builder.input(reads, 0)], [builder.output(writes, 0)]
    builder.step(kernel, *ends, shape.values(), [], packed)
    return builder.build([1]), reads, writes


def seconds(programs: list[tuple[native.Program, int, int]], budget: float) -> list[float]:
    """The least time of each program, run in turn until the budget is spent, three times at least."""
    rng, most = np.random.default_rng(0), [max(sizes) for sizes in zip(*(each[1:] for each in programs), strict=True)]
    x, y = rng.random(most[0], dtype=np.float32), np.empty(most[1], np.float32)
    least, rounds, end = [np.inf] * len(programs), 0, time.perf_counter() + budget
    while rounds < 3 or time.perf_counter() < end:
        for i, (each, reads, writes) in enumerate(programs):
            start = time.perf_counter()
            each.run([x[:reads]], [y[:writes]], None)
            least[i] = min(least[i], time.perf_counter() - start)
        rounds += 1
    return least


def measure(shape: ConvShape | GemmShape, budget: float) -> dict[str, object]:
    """Times of the dense kernel and of the sparse one at each density, and where they meet.

    A convolution's dense kernel is the cheapest by the model, and its sparse one is on blocks of channels.
    """
    isa, rng = kernels.instruction_sets()[0], np.random.default_rng(0)
    if isinstance(shape, ConvShape):
        extents: tuple[int, ...] = (shape.k, shape.c // shape.groups, shape.r, shape.s)
        sparse = f"conv_f32_sparse_blocks_{isa}"
        dense = algorithms.choose(algorithms.Layer(shape, 1.0, isa), str(shape))[0].kernel(isa)
    else:
        extents = (shape.n, shape.k)
        sparse = f"gemm_f32_sparse_{'batch' if shape.m >= kernels.BATCH_FROM else 'row'}_{isa}"
        dense = f"gemm_f32_panels_{isa}"
    values = Dense(rng.standard_normal(extents, dtype=np.float32))
    others = [program(sparse, shape, pruned(rng, extents, density)) for density in DENSITIES]
    dense_s, *sparse_s = seconds([program(dense, shape, values), *others], budget)
    meets = float(np.interp(dense_s, sparse_s, DENSITIES)) if dense_s < sparse_s[-1] else 1.0
    return {
        "kernel": sparse,
        "dense": dense,
        "shape": list(shape.values()),
        "dense_us": dense_s * 1e6,
        "sparse_us": dict(zip(map(str, DENSITIES), (s * 1e6 for s in sparse_s), strict=True)),
        "break_even": meets,
    }


def main() -> None:
    """Print the table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, noisier")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    options = parser.parse_args()
    rows = []
    print(f"{'layer':44} {'dense':>10} {'at 2 %':>10} {'at 10 %':>10} {'break-even':>11}")
    for shape in [*(GemmShape(*values) for values in GEMMS), *(ConvShape(*values) for values in CONVS)]:
        row = measure(shape, 0.2 if options.quick else 2.0)
        rows.append(row)
        times = row["sparse_us"]
        name = f"{row['kernel'].rsplit('_', 1)[0]} {'x'.join(map(str, row['shape'][:7]))}"
        print(
            f"{name:44} {row['dense_us']:7.1f} us {times['0.02']:7.1f} us {times['0.1']:7.1f} us "
            f"{row['break_even']:11.0%}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
