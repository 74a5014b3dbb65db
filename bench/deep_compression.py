"""Deep Compression's table on the LeNets: published, the paper's own coding, lissome's best recipe, and NNCodec.

    python bench/deep_compression.py [--quick] [--json PATH] [--work DIR] [--data DIR] [--threads N]

Every row of lissome's is a whole file, and its accuracy is the engine's on that file over the 10,000 test images. The
full run makes the files anew with `lissome compress` and the recipes in examples/recipes (about an hour on two cores;
stopped or killed, it goes on from its checkpoints under --work). --quick measures the files kept in examples/packed,
which those recipes made. NNCodec, the reference coder of ISO/IEC 15938-17, codes the dense networks of
../shared/data/lenet in an environment of its own (`make bench-env`); where that or those are absent its rows are left
out, and the table says so.

Data: --data, else the environment variable LISSOME_DATA, else ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

import lissome as ls
from lissome import data, models
from lissome.evaluate import evaluate
from lissome.models.weights import load_weights_

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
PEER = ROOT / ".venv-nncodec" / "bin" / "python"


@dataclass(frozen=True)
class Case:
    """One network of the paper's table 1. KB are 1,000 bytes, as in the paper; accuracies are top-1 in percent.

    qps: NNCodec's quantisation parameters to try; the smallest file that keeps `dense_top1` is shown.
    """

    network: str
    dense_bytes: int
    paper_bytes: int
    dense_top1: float
    paper_top1: float
    weights: str
    required: int
    beyond: int
    qps: tuple[int, ...] = (-28, -24, -22, -20, -18, -16)


CASES = (
    Case("lenet-300-100", 1_070_000, 27_000, 98.36, 98.42, "lenet/lenet-300-100.safetensors", 150, 200),
    Case("lenet-5", 1_720_000, 44_000, 99.20, 99.26, "lenet/lenet-5-caffe.safetensors", 300, 600),
)


@dataclass(frozen=True)
class Row:
    """One line of the table. target: what is asked of it; reached: whether it is, None when nothing is asked."""

    network: str
    what: str
    bytes: int
    ratio: float
    top1: float
    target: str = ""
    reached: bool | None = None


def paper_row(case: Case, path: Path, images: data.Dataset, threads: int) -> Row:
    """The paper's own coding (relative index, codebook, Huffman) at the paper's densities and bits."""
    found = evaluate(path, images.test, threads=threads)
    target = f"<= {case.paper_bytes:,} bytes at >= {case.paper_top1:.2f} %"
    reached = found.bytes <= case.paper_bytes and found.top1 >= case.paper_top1
    return Row(case.network, "lissome, the paper's own coding", found.bytes, found.ratio, found.top1, target, reached)


def best_row(case: Case, path: Path, images: data.Dataset, threads: int) -> Row:
    """Our best recipe and coder."""
    found = evaluate(path, images.test, threads=threads)
    target = f">= {case.required}x at >= {case.paper_top1:.2f} % (beyond: {case.beyond}x)"
    reached = found.ratio >= case.required and found.top1 >= case.paper_top1
    return Row(case.network, "lissome, best recipe", found.bytes, found.ratio, found.top1, target, reached)


def peer_row(case: Case, weights: Path, images: data.Dataset, threads: int) -> Row:
    """NNCodec on the dense network: the smallest of its files that keeps the published accuracy of the dense
    network.
    """
    best: Row | None = None
    with tempfile.TemporaryDirectory() as folder:
        script = ROOT / "bench" / "peers" / "nncodec_size.py"
        options = [word for qp in case.qps for word in ("--qp", str(qp))]
        command = [str(PEER), str(script), str(weights), *options, "--decoded", folder]
        lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        for line in lines:
            if not line.startswith("{"):
                continue
            entry = json.loads(line)
            model = models.build(case.network)
            load_weights_(model, Path(entry["decoded"]))
            net = ls.freeze(model, example=torch.zeros(1, 1, 28, 28))
            top1 = evaluate(net, images.test, threads=threads).top1
            if top1 >= case.dense_top1 and (best is None or entry["bytes"] < best.bytes):
                size = int(entry["bytes"])
                best = Row(case.network, f"NNCodec, qp {entry['qp']}", size, net.dense_bytes / size, top1)
    if best is None:
        raise RuntimeError(f"NNCodec keeps {case.dense_top1} % at none of the tried qp: {case.qps}")
    return best


def make(case: Case, kind: str, coder: str, work: Path, arguments: argparse.Namespace) -> Path:
    """Run `lissome compress` with the recipe `kind`; returns the packed file. A finished one is not made again."""
    output = work / f"{case.network}-{kind}.liss"
    if not output.exists():
        recipe = ROOT / "examples" / "recipes" / f"{case.network}-{kind}.toml"
        command = [sys.executable, "-m", "lissome", "compress", case.network, "--recipe", str(recipe)]
        command += ["--data", str(arguments.data), "--coder", coder, "-o", str(output)]
        command += ["--work", str(work / f"{case.network}-{kind}"), "--threads", str(arguments.threads)]
        subprocess.run(command, check=True)
    return output


def rows_of(case: Case, images: data.Dataset, arguments: argparse.Namespace) -> list[Row]:
    """All rows of one network."""
    ratio = case.dense_bytes / case.paper_bytes
    rows = [Row(case.network, "published (Han et al., ICLR 2016)", case.paper_bytes, ratio, case.paper_top1)]
    if arguments.quick:
        paper, best = (ROOT / "examples" / "packed" / f"{case.network}-{kind}.liss" for kind in ("paper", "best"))
    else:
        arguments.work.mkdir(parents=True, exist_ok=True)
        paper = make(case, "paper", "huffman", arguments.work, arguments)
        best = make(case, "best", "small", arguments.work, arguments)
    rows.append(paper_row(case, paper, images, arguments.threads))
    rows.append(best_row(case, best, images, arguments.threads))
    weights = SHARED / case.weights
    if PEER.exists() and weights.exists():
        rows.append(peer_row(case, weights, images, arguments.threads))
    else:
        print(f"{case.network}: no NNCodec row: needs `make bench-env` and {case.weights}", file=sys.stderr)
    return rows


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| network | what | bytes | ratio | top-1 | asked | reached |", "|---|---|---:|---:|---:|---|---|"]
    for row in rows:
        reached = "" if row.reached is None else "yes" if row.reached else "**no**"
        cells = (row.network, row.what, f"{row.bytes:,}", f"{row.ratio:.1f}×", f"{row.top1:.2f} %", row.target, reached)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table, write JSON where asked; 1 when a row misses what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure examples/packed instead of training anew")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--work", type=Path, default=ROOT / "runs" / "deep_compression", help="checkpoints and files")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA") or SHARED))
    parser.add_argument("--threads", type=int, default=1, help="of training and of the engine")
    arguments = parser.parse_args()
    images = data.load("mnist", arguments.data)
    rows = [row for case in CASES for row in rows_of(case, images, arguments)]
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    return int(any(row.reached is False for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
