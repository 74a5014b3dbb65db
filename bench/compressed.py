"""Compressed networks, one image at a time in float32: lissome against ONNX Runtime, OpenVINO and MNN.

    .venv-bench/bin/python bench/compressed.py [NAME ...] [--quick] [--threads N] [--json PATH]

Three questions, a table each; NAME picks cases. (1) Unstructured pruning by magnitude to 80, 90 and 95 % of the weights
of every layer but the first and the depthwise. (2) AlexNet and VGG-16 with the densities and bits of Deep Compression
(Han et al., ICLR 2016, tables 4 and 5). (3) Their fully connected layers alone, batch 1, inputs without zeros.

Peers run the dense original; without --quick the pruned file too. All in one process, in turns, outputs compared with
torch's in float64 first (see bench/networks.py).

ratio: the fastest peer's time, on either file, over lissome's on the compressed one. bound: the ratio if sparse layers
took no time at all: what first layer, depthwise, pooling and layers that are faster dense leave. limit: the ratio that
no kernel can exceed on this machine: every layer at the measured peak with the fewest multiplications that are known
for it (those of the weights left, or Winograd's of all), or at the bandwidth that its weights are read with if that is
slower. share: of that limit, what lissome reaches. MB: weights in memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

import lissome as ls
from lissome.graph.shapes import conv_shape, infer
from lissome.runtime import winograd
from lissome.runtime.algorithms import Layer
from lissome.runtime.kernels import resolve_isa
from lissome.runtime.machine import cache_bytes, peak_gflops, read_gbps
from lissome.weights import Codebook, CodedWeight, Sparse
from model_files import Pruning, sample
from networks import PAUSE_S, TOLERANCE, error_of, machine, time_runs
from peers.runtimes import PEERS, Run

NETWORKS: Final = ("resnet-50", "resnet-18", "vgg-16", "mobilenet-v1", "mobilenet-v2")
SPARSITIES: Final = (80, 90, 95)
RIVALS: Final = ("onnxruntime", "openvino", "mnn")
PAPER: Final = {
    "alexnet": Pruning("paper", (0.84, 0.38, 0.35, 0.37, 0.37, 0.09, 0.09, 0.25), (8,) * 5 + (5,) * 3),
    "vgg-16": Pruning(
        "paper",
        (0.58, 0.22, 0.34, 0.36, 0.53, 0.24, 0.42, 0.32, 0.27, 0.34, 0.35, 0.29, 0.36, 0.04, 0.04, 0.23),
        (8,) * 13 + (5,) * 3,
    ),
}
LAYERS: Final = {
    "alexnet fc6": (9216, 4096, 0.09),
    "alexnet fc7": (4096, 4096, 0.09),
    "alexnet fc8": (4096, 1000, 0.25),
    "vgg-16 fc6": (25088, 4096, 0.04),
    "vgg-16 fc7": (4096, 4096, 0.04),
    "vgg-16 fc8": (4096, 1000, 0.23),
}


@dataclass
class Row:
    """One compressed network. times_ms: medians of all that are right; dense_ms: of lissome's, in dense kernels;
    limit_ms: what no kernel can be faster than.
    """

    case: str
    times_ms: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    dense_ms: float = 0.0
    limit_ms: float = 0.0
    weight_bytes: int = 0
    load: float = 0.0

    @property
    def best_peer(self) -> str:
        """The fastest of the others; empty when none is right."""
        return min((name for name in self.times_ms if "lissome" not in name), key=self.times_ms.__getitem__, default="")

    def ratio(self, against: float) -> float | None:
        """How many times as fast as the best peer something of so many milliseconds is."""
        return self.times_ms[self.best_peer] / against if self.best_peer and against > 0 else None


@dataclass(frozen=True)
class Limits:
    """Of this machine, measured: multiply-adds in GFLOP/s, and reading from memory, or from the last cache what it
    holds, in GB/s.
    """

    peak_gflops: float
    cached_gbps: float
    memory_gbps: float
    cache_bytes: int

    def gbps(self, count: int) -> float:
        """With which so many bytes are read again and again."""
        return self.cached_gbps if count <= self.cache_bytes else self.memory_gbps


def coded(weight: CodedWeight) -> CodedWeight:
    """The weight as a .liss file would have it: sparse where zeros are, codes where few values are left."""
    dense = weight.to_dense()
    positions = np.flatnonzero(dense)
    if len(weight.shape) < 2 or positions.size > 0.9 * dense.size:
        return weight
    left = dense.reshape(-1)[positions]
    values, codes = np.unique(left, return_inverse=True)
    shared = Codebook(codes, values) if values.size <= 256 else type(weight)(left)
    return Sparse(weight.shape, positions, shared)


def network(model: Path) -> ls.Network:
    """The network of an ONNX file, its weights coded."""
    net = ls.from_onnx(model)
    return ls.Network(net.graph, {name: coded(weight) for name, weight in net.weights.items()})


def limit_ms(net: ls.Network, machine: Limits) -> float:
    """Milliseconds that no kernel can be faster than, for one image.

    A layer takes its fewest multiplications, of the weights left or of all by Winograd's largest tile; together they
    read each weight that is left once, with two bytes that say where it is.
    """
    specs = infer(net.graph, {name: weight.shape for name, weight in net.weights.items()}, 1)
    products, read = 0.0, 0
    for node in net.graph.nodes:
        weight = net.weights.get(node.inputs[1]) if node.op in ("Conv", "Gemm") else None
        if weight is None:
            continue
        left = int(np.count_nonzero(weight.to_dense()))
        read += left * (3 if isinstance(getattr(weight, "values", None), Codebook) else 6)
        if node.op == "Gemm":
            products += left
            continue
        shape = conv_shape(node, tuple(int(extent) for extent in specs[node.inputs[0]].shape), weight.shape)
        layer = Layer(shape, 1.0, resolve_isa(None))
        dense = [winograd.multiplications(m, r, shape) for m, r in winograd.VARIANTS if not winograd.refuses(r, layer)]
        products += min([left * shape.p * shape.q, *dense])
    return max(2e-6 * products / machine.peak_gflops, 1e-6 * read / machine.gbps(read))


def measure(case: str, name: str, pruning: Pruning, options: argparse.Namespace, limits: Limits) -> Row:
    """One network: lissome on the compressed and the dense file, the others on the dense one and, in full, on both."""
    row, dense, pruned = Row(case), sample(name), sample(name, pruning)
    runs: dict[str, Run] = {}

    def admit(label: str, opened: Callable[[], Run], x: NDArray[np.float32], right: NDArray[np.float64]) -> None:
        try:
            run = opened()
            row.errors[label] = error_of(run(x), right)
        except Exception as error:
            row.refused[label] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            return
        if row.errors[label] <= TOLERANCE:
            runs[label] = run
        else:
            row.refused[label] = f"wrong: its output is off by {row.errors[label]:.2g} of the range"

    net = network(pruned.model)
    engine = ls.compile(net, threads=options.threads)
    admit("lissome", lambda: engine, pruned.x, pruned.y)
    admit("lissome, dense", lambda: ls.compile(dense.model, threads=options.threads), dense.x, dense.y)
    for peer in RIVALS:
        opened = PEERS[peer]
        admit(peer, lambda opened=opened: opened(dense.model, dense.x, options.threads), dense.x, dense.y)
        if not options.quick:
            admit(f"{peer}, pruned", lambda o=opened: o(pruned.model, pruned.x, options.threads), pruned.x, pruned.y)
    rounds, seconds = (5, 0.1) if options.quick else (11, 0.3)
    times = time_runs(runs, dense.x, rounds, seconds, PAUSE_S if options.threads > 1 else 0.0)
    row.times_ms = {label: 1e3 * float(np.median(each)) for label, each in times.items()}
    steps = engine.profile(repeats=5)
    share = sum(time for _, kernel, time in steps if not re.search("sparse|coded", kernel)) / sum(
        time for *_, time in steps
    )
    row.dense_ms = share * row.times_ms["lissome"]
    row.weight_bytes = engine.weight_bytes
    row.limit_ms = limit_ms(net, limits)
    row.load = os.getloadavg()[0]
    runs.clear()
    gc.collect()
    return row


def report(title: str, rows: list[Row]) -> str:
    """A table, the reasons below it, and the geometric mean of the ratios."""
    names = ["lissome", "lissome, dense", *RIVALS]
    lines = [
        f"{title}\n{'':22}"
        + "".join(f"{name:>15}" for name in names)
        + f"  {'best peer':20}{'ratio':>7}{'bound':>7}{'limit':>7}{'share':>7}{'MB':>8}"
    ]
    for row in rows:
        cells = "".join(f"{row.times_ms[name]:15.3f}" if name in row.times_ms else f"{'-':>15}" for name in names)
        own = row.times_ms.get("lissome", 0.0)
        ratios = [*map(row.ratio, (own, row.dense_ms, row.limit_ms)), row.limit_ms / own if own else None]
        tail = "".join(f"{'-':>7}" if value is None else f"{value:7.2f}" for value in ratios)
        lines.append(f"{row.case:22}{cells}  {row.best_peer:20}{tail}{row.weight_bytes / 1e6:8.1f}")
    lines += [f"{row.case}: {name}: {why}" for row in rows for name, why in row.refused.items()]
    ratios = [value for row in rows if (value := row.ratio(row.times_ms.get("lissome", 0.0)))]
    if ratios:
        lines.append(f"geometric mean of the ratios {np.exp(np.mean(np.log(ratios))):.2f}, least {min(ratios):.2f}")
    return "\n".join(lines)


def tables(options: argparse.Namespace) -> dict[str, list[tuple[str, str, Pruning]]]:
    """Cases of each table: what to call it, the network, how it is pruned."""
    found: dict[str, list[tuple[str, str, Pruning]]] = {}
    for sparsity in SPARSITIES:
        pruning = Pruning(f"{sparsity}", (1 - sparsity / 100,))
        found[f"{sparsity} % pruned"] = [(f"{name} {sparsity} %", name, pruning) for name in NETWORKS]
    found["Deep Compression's densities and bits"] = [(f"{name} paper", name, each) for name, each in PAPER.items()]
    found["fully connected layers alone"] = [
        (case, f"linear-{inputs}-{outputs}", Pruning(f"{density}", (density, density), (5, 5)))
        for case, (inputs, outputs, density) in LAYERS.items()
    ]
    wanted = options.names
    return {
        title: [case for case in cases if not wanted or any(name in case[0] for name in wanted)]
        for title, cases in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help='cases that contain this, as "resnet-50 90" does')
    parser.add_argument("--quick", action="store_true", help="shorter rounds, and no peer on the pruned file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    peak, measured, sizes = peak_gflops(options.threads, seconds=0.5), {}, cache_bytes()
    cached, memory = (read_gbps(level, options.threads) for level in (len(sizes), len(sizes) + 1))
    limits = Limits(peak, cached, memory, sizes[-1])
    for title, cases in tables(options).items():
        if not cases:
            continue
        measured[title] = [measure(*case, options, limits) for case in cases]
        print(report(f"{title}, {options.threads} thread(s), milliseconds", measured[title]) + "\n", flush=True)
    if options.json:
        plain = {
            title: [
                asdict(row) | {"best_peer": row.best_peer, "ratio": row.ratio(row.times_ms["lissome"])} for row in rows
            ]
            for title, rows in measured.items()
        }
        text = json.dumps({"machine": machine(options.threads, peak), "tables": plain}, indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
