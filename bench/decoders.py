"""How small and how fast are the entropy coders? Bytes, and float32-equivalent speed on one core.

    python bench/decoders.py [--quick] [--coder NAME …] [--json PATH]

Synthetic tensors: sparse at 10 % with 16 codes and at 4 % with 32, dense with 4-, 5- and 8-bit codes; codes normally
distributed, survivors independent. Entropy is that of single codes and of independent survivors: what no coder without
context can go below. Speed is 4 bytes a weight over the best time of several, in units of 10^6 bytes a second; coders
use one thread, and its processor time counts, whatever else the machine does. A coder that misses its requirement is
marked, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lissome.pack.coder import IndexSpec, Indices

REQUIRED_MB_S = {"fast": 1000, "huffman": 200, "small": 30}
CASES = {  # name: (density, alphabet, weights)
    "sparse 10 %, 16 codes": (0.10, 16, 16_000_000),
    "sparse 4 %, 32 codes": (0.04, 32, 16_000_000),
    "dense 4 bits": (1.0, 16, 8_000_000),
    "dense 5 bits": (1.0, 32, 8_000_000),
    "dense 8 bits": (1.0, 256, 8_000_000),
}


@dataclass(frozen=True)
class Row:
    """One coder on one tensor."""

    coder: str
    case: str
    weights: int
    bytes: int
    bits_per_weight: float
    entropy_bits_per_weight: float
    encode_mb_s: float
    decode_mb_s: float
    required_mb_s: int

    @property
    def met(self) -> bool:
        return self.decode_mb_s >= self.required_mb_s


def entropy(shares: np.ndarray) -> float:
    """Bits a symbol, of symbols with these shares."""
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def synthetic(density: float, alphabet: int, weights: int) -> tuple[Indices, float]:
    """A tensor as trained ones are, and its entropy in bits a weight."""
    rng = np.random.default_rng(alphabet)
    sparse = density < 1
    positions = np.flatnonzero(rng.random(weights) < density) if sparse else None
    count = weights if positions is None else positions.size
    normal = np.rint(rng.normal((alphabet - 1) / 2, alphabet / 6, count))
    codes = np.clip(normal, 0, alphabet - 1).astype(np.uint8)
    share = count / weights
    bits = share * entropy(np.bincount(codes) / count) + entropy(np.array([share, 1 - share]))
    return Indices(IndexSpec((weights // 1000, 1000), sparse, alphabet), positions, codes), bits


def best_seconds(work: Callable[[], Any], seconds: float) -> float:
    """The shortest of at least three runs that take `seconds` together."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def measure(coder: str, case: str, indices: Indices, bound: float, seconds: float) -> Row:
    """Encode, check the round trip, time both directions."""
    module = importlib.import_module(f"lissome.pack.{coder}")
    weights = indices.spec.size
    start = time.process_time()
    data = module.encode([indices])
    encode_seconds = time.process_time() - start
    (decoded,) = module.decode(data, [indices.spec], max_entries=weights)
    assert np.array_equal(decoded.codes, indices.codes)
    assert indices.positions is None or np.array_equal(decoded.positions, indices.positions)
    decode_seconds = best_seconds(lambda: module.decode(data, [indices.spec], max_entries=weights), seconds)
    mb = 4 * weights / 1e6
    bits = 8 * len(data) / weights
    speeds = (round(mb / encode_seconds, 1), round(mb / decode_seconds, 1))
    return Row(coder, case, weights, len(data), round(bits, 4), round(bound, 4), *speeds, REQUIRED_MB_S[coder])


def line(row: Row) -> str:
    verdict = "" if row.met else "  MISSED"
    return (
        f"{row.coder:8} {row.case:22} {row.bytes:>11,} {row.bits_per_weight:9.4f} {row.entropy_bits_per_weight:9.4f} "
        f"{row.encode_mb_s:10,.0f} {row.decode_mb_s:10,.0f} {row.required_mb_s:9,}{verdict}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a quarter of the weights, shorter timing")
    parser.add_argument("--coder", nargs="+", choices=sorted(REQUIRED_MB_S), default=sorted(REQUIRED_MB_S))
    parser.add_argument("--json", type=Path, help="also write the rows there")
    args = parser.parse_args()
    print(
        f"{'coder':8} {'tensor':22} {'bytes':>11} {'bits/w':>9} {'entropy':>9} {'enc MB/s':>10} {'dec MB/s':>10} "
        f"{'required':>9}"
    )
    rows = []
    for case, (density, alphabet, weights) in CASES.items():
        indices, bound = synthetic(density, alphabet, weights // 4 if args.quick else weights)
        for coder in args.coder:
            rows.append(measure(coder, case, indices, bound, 0.3 if args.quick else 2.0))
            print(line(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
