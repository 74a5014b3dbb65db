"""Linear layers of shared weights at batch 1, from their codes, against float32 and the sparse kernels.

    python bench/shared.py [--quick] [--threads N] [--isas NAME ...] [--json PATH]

The layers of AlexNet and VGG-16 (fc6 of VGG-16 with --huge, as it takes two gigabytes). codes4 and codes5: dense, of 16
and 32 values; coded: by the kernel of sparse weights that this instruction set takes, at the share of weights that its
name says. Rounds alternate; times are medians. gain: float32's time over that of codes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from lissome.graph.conv_shape import GemmShape
from lissome.runtime import kernels
from lissome.runtime.kernels import Choice
from lissome.runtime.native import native
from lissome.weights import Codebook, CodedWeight, Dense, Sparse

LAYERS: Final = {"alexnet fc6": (4096, 9216), "fc7": (4096, 4096), "fc8": (1000, 4096)}
HUGE: Final = {"vgg-16 fc6": (4096, 25088)}
DENSITIES: Final = (0.1, 0.25, 0.4)


def runs_of(shape: GemmShape, isa: str, threads: int) -> dict[str, Callable[[], None]]:
    """A run of the layer by each kernel, on weights at random."""
    rng, size = np.random.default_rng(0), shape.n * shape.k
    tables = {bits: rng.standard_normal(1 << bits).astype(np.float32) for bits in kernels.CODE_BITS}
    codes = {bits: rng.integers(0, 1 << bits, (shape.n, shape.k), np.uint8) for bits in tables}
    runs = {"float32": _run(f"gemm_f32_panels_{isa}", shape, Dense(tables[4][codes[4]]), threads)}
    for bits, table in tables.items():
        runs[f"codes{bits}"] = _run(f"gemm_f32_codes{bits}_{isa}", shape, Codebook(codes[bits], table), threads)
    sparse = "coded_row" if isa == kernels.CODED_ISA else "sparse_row"
    for density in DENSITIES:
        positions = np.flatnonzero(rng.random(size, np.float32) < density)
        values = Codebook(rng.integers(0, 15, positions.size, np.uint8), tables[4][:15])
        weight = Sparse((shape.n, shape.k), positions, values)
        runs[f"coded {density:.0%}"] = _run(f"gemm_f32_{sparse}_{isa}", shape, weight, threads)
    return runs


def _run(kernel: str, shape: GemmShape, weight: CodedWeight, threads: int) -> Callable[[], None]:
    sparse = "coded" in kernel or "sparse" in kernel
    packed = kernels.pack_gemm(weight, shape, Choice(kernel, "", sparse=sparse), transposed=True)
    builder = native.Builder()
    ends = builder.input(shape.m * shape.k, 0), builder.output(shape.m * shape.n, 0)
    builder.step(kernel, [ends[0]], [ends[1]], shape.values(), (), packed)
    program = builder.build([threads])
    x = np.random.default_rng(1).standard_normal(shape.m * shape.k).astype(np.float32)
    made = np.empty(shape.m * shape.n, np.float32)
    return lambda: program.run([x], [made], None)


def measure(runs: dict[str, Callable[[], None]], rounds: int) -> dict[str, float]:
    """Median seconds of each, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            begin = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - begin)
    return {name: float(np.median(each)) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 25")
    parser.add_argument("--huge", action="store_true", help="VGG-16's fc6, too")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isas", nargs="*", help="instruction sets; all of this machine if left out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = []
    for isa in arguments.isas or kernels.instruction_sets():
        for name, (n, k) in (LAYERS | (HUGE if arguments.huge else {})).items():
            found = measure(runs_of(GemmShape(1, n, k), isa, arguments.threads), 5 if arguments.quick else 25)
            rows.append({"isa": isa, "layer": name, "outputs": n, "inputs": k, "threads": arguments.threads} | found)
            cells = "".join(f"{kind}: {1e6 * seconds:,.0f} us  " for kind, seconds in found.items())
            gains = ", ".join(f"{found['float32'] / found[f'codes{bits}']:.1f}" for bits in kernels.CODE_BITS)
            print(f"{isa:8}{name:12}{cells}gain {gains}", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
