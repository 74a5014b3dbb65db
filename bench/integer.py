"""Networks on 8-bit integers, one image at a time: lissome against ONNX Runtime and OpenVINO on the same model.

    .venv-bench/bin/python bench/integer.py [NAME ...] [--quick] [--threads N] [--json PATH]

`ls.to_int8` quantizes each network (weights random, so ranges are those of random inputs) and `ls.export_onnx` writes
it with QuantizeLinear and DequantizeLinear, as these runtimes want it. All get that file and the same number of
threads, in one process, in turn, as in bench/networks.py; beside them lissome in float32.

error: the largest deviation of an output from lissome's float32 network, over that one's range. OpenVINO and ONNX
Runtime compute where the model says so in integers; on AVX2 without VNNI theirs saturate, on this page's machine not.
ratio: the best peer's time over lissome's; gain: lissome's time in float32 over that on integers.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

import lissome as ls
from lissome.api import to_int8
from model_files import sample
from networks import error_of, machine, time_runs
from peers.runtimes import PEERS, Open, Run

NETWORKS: Final = ("resnet-50", "resnet-18", "vgg-16", "mobilenet-v2")
INT8_PEERS: Final = ("onnxruntime", "openvino")
SAMPLES: Final = 2


@dataclass
class Row:
    """One network. times_ms: medians; errors: of the outputs; refused: why a runtime is not timed."""

    network: str
    macs: int
    times_ms: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def best_peer(self) -> str:
        """The fastest of the others; empty when none runs."""
        return min((name for name in INT8_PEERS if name in self.times_ms), key=self.times_ms.__getitem__, default="")

    @property
    def ratio(self) -> float:
        """How many times as fast as the best peer lissome is."""
        return self.times_ms.get(self.best_peer, float("nan")) / self.times_ms["lissome"]

    @property
    def gain(self) -> float:
        """How many times as fast as itself in float32 lissome is."""
        return self.times_ms["lissome f32"] / self.times_ms["lissome"]


def quantized(name: str, model: Path, shape: tuple[int, ...]) -> Path:
    """The network's integer model beside its float32 one, made once for this state of lissome."""
    path = model.with_name(f"{name}-int8.onnx")
    if not path.exists() or path.stat().st_mtime < model.stat().st_mtime:
        rng = np.random.default_rng(1)
        samples = rng.standard_normal((SAMPLES, *shape[1:])).astype(np.float32)
        ls.export_onnx(to_int8(ls.from_onnx(model), samples, batch=1), path)
    return path


def measure(name: str, threads: int, rounds: int, seconds: float) -> Row:
    """One network on every runtime."""
    given = sample(name)
    row, model = Row(name, given.macs), quantized(name, given.model, given.x.shape)

    def open_lissome(path: Path, _x: object, threads: int) -> Run:
        return ls.compile(path, threads=threads)

    opened: dict[str, tuple[Open, Path]] = {
        "lissome": (open_lissome, model),
        "lissome f32": (open_lissome, given.model),
    }
    opened |= {name: (PEERS[name], model) for name in INT8_PEERS}
    runs: dict[str, Run] = {}
    for runtime, (open_it, path) in opened.items():
        try:
            runs[runtime] = open_it(path, given.x, threads)
            row.errors[runtime] = error_of(runs[runtime](given.x), given.y)
        except Exception as error:
            row.refused[runtime] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            runs.pop(runtime, None)
    times = time_runs(runs, given.x, rounds, seconds, 0.03 if threads > 1 else 0.0)
    row.times_ms = {runtime: 1e3 * float(np.median(each)) for runtime, each in times.items()}
    return row


def report(rows: list[Row]) -> str:
    """The table, and reasons below it."""
    names = ["lissome", *INT8_PEERS, "lissome f32"]
    lines = [
        f"{'network':15}{'MMACs':>9}"
        + "".join(f"{name:>13}" for name in names)
        + f"{'ratio':>8}{'gain':>7}{'GMAC/s':>8}  errors"
    ]
    for row in rows:
        cells = "".join(f"{row.times_ms[name]:13.3f}" if name in row.times_ms else f"{'-':>13}" for name in names)
        rate = row.macs / row.times_ms["lissome"] / 1e6
        errors = ", ".join(f"{row.errors[name]:.3f}" for name in names[:3] if name in row.errors)
        lines.append(
            f"{row.network:15}{row.macs / 1e6:9.1f}{cells}{row.ratio:8.2f}{row.gain:7.2f}{rate:8.0f}  {errors}"
        )
    return "\n".join(lines + [f"{row.network}: {name}: {why}" for row in rows for name, why in row.refused.items()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=NETWORKS, metavar="NAME", help="networks of lissome.models")
    parser.add_argument("--quick", action="store_true", help="5 rounds of 0.1 seconds instead of 15 of 0.4")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rounds, seconds = (5, 0.1) if arguments.quick else (15, 0.4)
    rows = []
    for name in arguments.names:
        rows.append(measure(name, arguments.threads, rounds, seconds))
        print(f"{name} done", flush=True)
    print(f"\n{arguments.threads} threads, load {os.getloadavg()[0]:.1f}; milliseconds")
    print(report(rows))
    if arguments.json:
        plain = [asdict(row) | {"best_peer": row.best_peer, "ratio": row.ratio, "gain": row.gain} for row in rows]
        text = json.dumps({"machine": machine(arguments.threads, 0.0), "rows": plain}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
