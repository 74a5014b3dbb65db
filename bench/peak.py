"""What this machine reaches at most: the roof that every other benchmark is a share of.

    python bench/peak.py [--quick] [--threads N] [--json PATH]

For each instruction set: float32 multiply-adds from registers (GFLOP/s), those of 8-bit codes (Gop/s), and reading from
each cache and from memory (GB/s), on 1 to --threads threads (2 unless told). The best of many trials; what else runs
meanwhile lowers it.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from lissome.runtime.kernels import instruction_sets
from lissome.runtime.machine import cache_bytes, peak_gflops, peak_integer_gops, read_gbps


def measure(threads: int, seconds: float) -> list[dict[str, float | int | str]]:
    """One row for each instruction set and number of threads."""
    levels = range(1, len(cache_bytes()) + 2)
    return [
        {
            "isa": isa,
            "threads": count,
            "gflops": peak_gflops(count, isa, seconds),
            "integer_gops": peak_integer_gops(count, isa, seconds),
        }
        | {f"level_{level}_gbps": read_gbps(level, count, isa, seconds) for level in levels}
        for isa in instruction_sets()
        for count in range(1, threads + 1)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="0.05 instead of 0.5 seconds a number")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.threads, 0.05 if arguments.quick else 0.5)
    sizes = [f"{size // 1024:,} KiB" for size in cache_bytes()]
    print(f"caches: {', '.join(sizes)}; load {os.getloadavg()[0]:.1f}")
    print(
        f"{'':8} threads   GFLOP/s  int8 Gop/s  "
        + "".join(f"{f'GB/s of L{i + 1}':>13}" for i in range(len(sizes)))
        + "       memory"
    )
    for row in rows:
        isa, threads, gflops, gops, *reading = row.values()
        print(f"{isa:8} {threads:7} {gflops:9.1f}  {gops:10.1f}  " + "".join(f"{value:13.1f}" for value in reading))
    if arguments.json:
        arguments.json.write_text(json.dumps({"cache_bytes": cache_bytes(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
