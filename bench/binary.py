"""Binary and ternary 3x3 convolutions against float32 of the same shape, one thread, on each instruction set.

    python bench/binary.py [--quick] [--json PATH]

float32 is direct convolution, and the fastest of lissome's dense algorithms by its cost model, mostly Winograd's, which
saves products; binary includes taking the signs of the float32 input. Rounds alternate; times are medians. gain:
float32's time over the binary one's, for each of the two. A row's rate counts products and sums of ±1; of limit: its
share of what the loop of counting bits measures from registers alone.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import functional, kernels, layout
from lissome.runtime.lower import bits
from lissome.runtime.machine import peak_gflops
from lissome.runtime.native import native

#: channels and edge of the image: ResNet-18's four stages and VGG-16's widest layers
LAYERS: Final = ((64, 56), (128, 28), (256, 14), (512, 7), (256, 56), (512, 28))


def binary(kernel: str, shape: ConvShape, isa: str) -> Callable[[], None]:
    """A run of signs and convolution."""
    rng = np.random.default_rng(0)
    lanes = kernels.blocks(kernel)[1]
    x = layout.to_blocked(rng.standard_normal((shape.n, shape.c, shape.h, shape.w)).astype(np.float32), lanes)
    weight = rng.choice((-1, 1), shape.k * shape.depth).astype(np.int8)
    out = math.prod(layout.extents(shape.n, shape.k, shape.p, shape.q, lanes))
    vectors = min(bits.VECTORS[isa], -(-shape.k // (lanes * bits.BLOCKS.get(isa, 1))))
    ones = np.ones(shape.k, np.float32)
    builder = native.Builder()
    source = builder.input(x.size, 0)
    signs = builder.arena(shape.n * -(-shape.c // bits.WORD.get(isa, 32)) * 4 * shape.h * shape.w, 0, 1)
    y = builder.output(out, 0)
    builder.step(f"binarize_b1_{isa}", [source], [signs], (shape.n, shape.c, shape.h * shape.w))
    packed = native.pack_bits(kernel, weight, shape.values(), vectors, ones, ones * 0)
    builder.step(kernel, [signs], [y], (*shape.values(), vectors), (), packed)
    program, flat, made = builder.build([1, 1]), x.reshape(-1), np.empty(out, np.float32)
    return lambda: program.run([flat], [made], None)


def dense(shape: ConvShape, isa: str, kernel: str | None) -> tuple[str, Callable[[], None]]:
    """The algorithm and a run of the float32 convolution."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((shape.k, shape.c, shape.r, shape.s)).astype(np.float32)
    prepared = functional.prepare(shape, weight, None, kernel=kernel, threads=1, isa=isa)
    x = rng.standard_normal(math.prod(prepared.reads)).astype(np.float32)
    made = np.empty(math.prod(prepared.writes), np.float32)
    return prepared.algorithm, lambda: prepared.program.run([x], [made], None)


def measure(runs: dict[str, Callable[[], None]], rounds: int, seconds: float) -> dict[str, float]:
    """Median seconds of each, in turn."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            run()
            stop = time.perf_counter() + seconds
            while time.perf_counter() < stop or not times[name]:
                begin = time.perf_counter()
                run()
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(each) for name, each in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 rounds of 10 ms instead of 15 of 40")
    parser.add_argument("--isas", nargs="*", help="instruction sets; all of this machine if left out")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds, seconds = (3, 0.01) if arguments.quick else (15, 0.04)
    known = {name for name, *_ in native.kernels()}
    rows = []
    head = (
        "isa",
        "layer",
        "direct",
        "fastest",
        "algorithm",
        "binary",
        "ternary",
        "gain",
        "of fastest",
        "Gop/s",
        "of limit",
    )
    print("".join(f"{word:>13}" for word in head))
    for isa in arguments.isas or kernels.instruction_sets():
        best = next((e for e in kernels.EXTENSIONS if f"conv_b1_binary_{e}" in known and e.startswith(f"{isa}_")), isa)
        limit = native.measure_sign_products(best, 1, 0.05 if arguments.quick else 0.3)
        print(f"{best}: {2 * limit / 1e9:,.0f} Gop/s of signs at most, {peak_gflops(1, isa):,.0f} GFLOP/s of float32")
        for channels, edge in LAYERS:
            shape = ConvShape(1, channels, edge, edge, channels, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1)
            algorithm, fastest = dense(shape, isa, None)
            runs = {"direct": dense(shape, isa, "direct")[1], "fastest": fastest} | {
                kind: binary(f"conv_b1_{kind}_{best}", shape, best) for kind in ("binary", "ternary")
            }
            found = measure(runs, rounds, seconds)
            rows.append(
                {"isa": best, "channels": channels, "edge": edge, "algorithm": algorithm, "limit": limit} | found
            )
            us = {kind: f"{1e6 * time:.0f} us" for kind, time in found.items()}
            gains = [f"{found[kind] / found['binary']:.1f}" for kind in ("direct", "fastest")]
            rate = shape.macs / found["binary"]
            cells = isa, f"{channels} x {edge}", us["direct"], us["fastest"], algorithm, us["binary"], us["ternary"]
            print(
                "".join(f"{cell:>13}" for cell in (*cells, *gains, f"{2 * rate / 1e9:.0f}", f"{rate / limit:.0%}")),
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
