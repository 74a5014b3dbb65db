"""The networks of the field, one image at a time in float32: lissome against ONNX Runtime, OpenVINO, ncnn and MNN.

    .venv-bench/bin/python bench/networks.py [NAME ...] [--quick] [--threads N] [--tune MODE] [--isa ISA] [--json PATH]

`make bench-env` makes that environment. All runtimes get the same ONNX file (bench/model_files.py) and the same number
of threads, in one process. Before anything is timed, every output is compared with torch's in float64; a runtime that
is wrong, or cannot run a network, is named with the reason and not timed. Rounds go through the runtimes in turn: in
each a few runs in a row, the first not counted. Times are medians of all counted runs.

ratio: the best peer's time over lissome's, so that above 1 lissome is faster. peak: the share of this machine's
measured multiply-adds per second (bench/peak.py) that those of direct convolution would be; Winograd may exceed 1.
its: the same of the best peer.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

import lissome as ls
from lissome.runtime.kernels import resolve_isa
from lissome.runtime.machine import peak_gflops
from model_files import Sample, sample
from peers.runtimes import PEERS, Open, Run

NETWORKS: Final = (
    *("lenet-300-100", "lenet-5", "alexnet", "vgg-16", "googlenet", "resnet-18", "resnet-50", "squeezenet-1.0"),
    *("mobilenet-v1", "mobilenet-v2", "shufflenet-v2", "densenet-121"),
)
# Largest error over the range of the output. float32 stays below it however it is computed: Winograd in the 50 layers
# of a ResNet was seen at 0.002. What computes in bfloat16 without being asked does not: VGG-16 was seen at 0.005, all
# others above 0.01 (OpenVINO with INFERENCE_PRECISION_HINT bf16).
TOLERANCE: Final = 0.003
# Between two runtimes when there are several threads: those of the last one stop spinning meanwhile.
PAUSE_S: Final = 0.03

Times: TypeAlias = dict[str, list[float]]


@dataclass
class Row:
    """One network. times_ms: median of each runtime that is right; refused: why another is not among them."""

    network: str
    macs: int
    times_ms: dict[str, float] = field(default_factory=dict)
    best_ms: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    opened_s: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    load: float = 0.0

    @property
    def best_peer(self) -> str:
        """The fastest of the others; empty when none is right."""
        return min((name for name in self.times_ms if name != "lissome"), key=self.times_ms.__getitem__, default="")

    @property
    def ratio(self) -> float | None:
        """How many times as fast as the best peer lissome is."""
        if "lissome" not in self.times_ms or not self.best_peer:
            return None
        return self.times_ms[self.best_peer] / self.times_ms["lissome"]

    def share(self, runtime: str, peak: float) -> float | None:
        """Share of `peak` GFLOP/s that a runtime's direct multiply-adds would be."""
        return 2e-6 * self.macs / self.times_ms[runtime] / peak if runtime in self.times_ms else None


def error_of(y: NDArray[np.float32], right: NDArray[np.float64]) -> float:
    """Largest deviation over the range of the right output; infinite where shape or numbers are not right."""
    if y.size != right.size or not np.isfinite(y).all():
        return float("inf")
    return float(np.abs(y.reshape(right.shape) - right).max() / np.ptp(right))


def open_checked(given: Sample, runtimes: Mapping[str, Open], threads: int, row: Row) -> dict[str, Run]:
    """The runtimes that compute the right output; of the others the row keeps the reason."""
    runs: dict[str, Run] = {}
    for name, opened in runtimes.items():
        begin = time.perf_counter()
        try:
            run = opened(given.model, given.x, threads)
            row.opened_s[name] = time.perf_counter() - begin
            row.errors[name] = error_of(run(given.x), given.y)
        except Exception as error:
            row.refused[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            continue
        if row.errors[name] <= TOLERANCE:
            runs[name] = run
        else:
            row.refused[name] = f"wrong: its output is off by {row.errors[name]:.2g} of the range"
    return runs


def time_runs(runs: Mapping[str, Run], x: NDArray[np.float32], rounds: int, seconds: float, pause: float) -> Times:
    """Seconds of every counted run. A round gives each runtime `seconds`, three runs at least."""
    times: Times = {name: [] for name in runs}
    order = list(runs)
    for number in range(rounds):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            time.sleep(pause)
            run = runs[name]
            run(x)
            stop, counted = time.perf_counter() + seconds, 0
            while counted < 3 or time.perf_counter() < stop:
                begin = time.perf_counter()
                run(x)
                times[name].append(time.perf_counter() - begin)
                counted += 1
    return times


def measure(name: str, runtimes: Mapping[str, Open], threads: int, rounds: int, seconds: float) -> Row:
    """One network on every runtime."""
    given = sample(name)
    row = Row(name, given.macs)
    runs = open_checked(given, runtimes, threads, row)
    times = time_runs(runs, given.x, rounds, seconds, PAUSE_S if threads > 1 else 0.0)
    row.times_ms = {runtime: 1e3 * float(np.median(each)) for runtime, each in times.items()}
    row.best_ms = {runtime: 1e3 * min(each) for runtime, each in times.items()}
    row.load = os.getloadavg()[0]
    del runs
    gc.collect()
    return row


def report(rows: list[Row], names: list[str], peak: float) -> str:
    """The table, reasons below it, and the two numbers that count."""
    head = f"{'network':15}{'MMACs':>9}" + "".join(f"{name:>13}" for name in names)
    lines = [f"{head}  {'best peer':12}{'ratio':>6}{'peak':>7}{'its':>6}"]
    for row in rows:
        cells = "".join(f"{row.times_ms[name]:13.3f}" if name in row.times_ms else f"{'-':>13}" for name in names)
        best = row.best_peer
        tail = [_cell(row.ratio, 6), _cell(row.share("lissome", peak), 7), _cell(row.share(best, peak), 6)]
        lines.append(f"{row.network:15}{row.macs / 1e6:9.1f}{cells}  {best:12}{''.join(tail)}")
    lines += [f"{row.network}: {name}: {why}" for row in rows for name, why in row.refused.items()]
    ratios = {row.network: row.ratio for row in rows if row.ratio is not None}
    if ratios:
        mean = float(np.exp(np.mean(np.log(list(ratios.values())))))
        least = min(ratios, key=ratios.__getitem__)
        lines.append(
            f"geometric mean of the ratios {mean:.3f}, least {ratios[least]:.3f} ({least}), {len(ratios)} networks"
        )
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    return f"{'-':>{width}}" if value is None else f"{value:{width}.2f}"


def machine(threads: int, peak: float, isa: str | None = None) -> dict[str, object]:
    """What the numbers were measured on and with."""
    models = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    versions = {"lissome": ls.__version__} | {name: importlib.metadata.version(name) for name in PEERS}
    return {
        "processor": models[0] if models else platform.processor(),
        "isa": resolve_isa(isa),
        "threads": threads,
        "peak_gflops": peak,
        "versions": versions,
    }


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NETWORKS, metavar="NAME", help="networks of lissome.models")
    parser.add_argument("--quick", action="store_true", help="5 rounds of 0.1 seconds instead of 15 of 0.4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--isa", help="lissome's instruction set; the peers always take the widest")
    parser.add_argument("--tune", default="off", help="how lissome chooses algorithms: off, quick or full")
    parser.add_argument("--peers", nargs="*", default=list(PEERS), choices=list(PEERS), metavar="PEER")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    def open_lissome(model: Path, _x: NDArray[np.float32], threads: int) -> Run:
        return ls.compile(model, threads=threads, tune=arguments.tune, isa=arguments.isa)

    runtimes: dict[str, Open] = {"lissome": open_lissome} | {name: PEERS[name] for name in arguments.peers}
    rounds, seconds = (5, 0.1) if arguments.quick else (15, 0.4)
    peak = peak_gflops(arguments.threads, arguments.isa, seconds=0.5)
    rows = []
    for name in arguments.names:
        rows.append(measure(name, runtimes, arguments.threads, rounds, seconds))
        print(f"{name} done", flush=True)
    print(f"\n{arguments.threads} threads, peak {peak:.1f} GFLOP/s, load {os.getloadavg()[0]:.1f}; milliseconds")
    print(report(rows, list(runtimes), peak))
    if arguments.json:
        plain = [asdict(row) | {"best_peer": row.best_peer, "ratio": row.ratio} for row in rows]
        text = json.dumps({"machine": machine(arguments.threads, peak, arguments.isa), "rows": plain}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
