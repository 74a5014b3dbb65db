"""Every method on the same trained networks: what it loses, what its file takes, what it runs in.

    python bench/methods.py [--quick] [--data DIR] [--only GLOB ...] [--kept DIR] [--threads N] [--json PATH]

LeNet-5 on MNIST and CIFAR-10's ResNet-20 (ResNet-56 for whole filters), from bench/trained.py, go through a method, are
trained on where the method's paper does, frozen, packed, and run from their file by the engine on the 10,000 test
images. lost: points of top-1 against the float32 network on the same images; "float32, trained as long" says what the
training alone gives. ratio: bytes of the float32 weights over those of the whole file. speed: the float32 network's
time over this file's, one image at a time, taken in turns. asked: the most points that may be lost, and the least
ratio.

Rows are kept in --kept as they are made and not made again, so that a run that was stopped goes on; --only picks rows
by name, or by network and name ("lenet-5: int8*"). --quick trains for 20 steps and measures 1,000 images: a trial of
the code, whose figures mean nothing. CIFAR-10 needs Pillow to be read.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import torch
from torch import nn

import lissome as ls
import trained as networks
from lissome import binarize, prune, quantize, share
from lissome.api import to_int8
from lissome.compress.apply import bake_
from lissome.compress.calibrate import calibrate_
from lissome.compress.fold import fold_batch_norms_
from lissome.compress.method import Method
from lissome.compress.schedule import Cubic
from lissome.errors import LissomeError
from lissome.files import write_atomic
from measured import Bench, Case, Made, Make, Row, measured, table

SHARED: Final = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
KEPT: Final = Path("build/methods")


def trained(epochs: float, lr: float, *methods: Method) -> Make:
    """Compress all layers but the ends, then train on."""

    def make(model: nn.Module, bench: Bench) -> Made:
        if methods:
            ls.compress_(model, bench.inner(*methods))
        bench.train(model, epochs, lr)
        return model

    return make


def untrained(*methods: Method, ends: bool = True) -> Make:
    """Compress the network with its batch norms folded, show it a few images, and leave it at that.

    ends: the first and last layer too.
    """

    def make(model: nn.Module, bench: Bench) -> Made:
        fold_batch_norms_(model, bench.images.example)
        ls.compress_(model, list(methods) if ends else bench.inner(*methods))
        with torch.no_grad():
            model(bench.calibration())
        return model

    return make


def pruned(method: Method, epochs: float, lr: float) -> Callable[[nn.Module, Bench], nn.Module]:
    """Prune by the cubic schedule over the first third of the training."""

    def make(model: nn.Module, bench: Bench) -> nn.Module:
        key = hashlib.sha256(f"{type(model).__name__} {method} {epochs} {lr}".encode()).hexdigest()[:12]
        kept = bench.kept / f"pruned-{key}.pt"
        if kept.exists():
            model.load_state_dict(torch.load(kept, weights_only=True))
            return model
        ls.compress_(model, bench.inner(method))
        ramps: list[Cubic] = []

        def step(_done: int, steps: int) -> None:
            if not ramps:
                ramps.append(Cubic(model, end_step=steps // 3, every=20))
            ramps[0].step()

        bench.train(model, epochs, lr, on_step=step)
        bake_(model)
        if not bench.quick:
            networks.keep(model, kept)
        return model

    return make


def sparse(make: Callable[[nn.Module, Bench], nn.Module]) -> Make:
    """The pruned network with its zeros left out of the file."""

    def made(model: nn.Module, bench: Bench) -> Made:
        model = make(model, bench)
        ls.compress_(model, [prune.Magnitude(threshold=1e-30)])
        return model

    return made


def coded(rate: float, before: Callable[[nn.Module, Bench], nn.Module] | None = None) -> Make:
    """Codes by rate and distortion for every weight and bias, after `before`; zeros stay zeros."""

    def make(model: nn.Module, bench: Bench) -> Made:
        if before is not None:
            model = before(model, bench)
        fold_batch_norms_(model, bench.images.example)
        reference = copy.deepcopy(model)
        method = quantize.RateDistortion(rate=rate)
        ls.compress_(model, ls.Recipe([("*", [prune.Magnitude(threshold=1e-30), method]), ("*.bias", [method])]))
        calibrate_(model, bench.calibration(), reference=reference)
        return model

    return make


def calibrated(*methods: Method, select: str = "*") -> Make:
    """Compress by what a few hundred unlabelled images show.

    select: "*" for the weights of all layers but the ends; else what the rule selects.
    """

    def make(model: nn.Module, bench: Bench) -> Made:
        fold_batch_norms_(model, bench.images.example)
        rules = [(bench.ends, [])] if select == "*" else []
        ls.compress_(model, ls.Recipe([*rules, (select, list(methods))]))
        calibrate_(model, bench.calibration())
        return model

    return make


def rounded(rounding: str, bits: int = 4, budget: float | None = None) -> Make:
    """Uniform codes after training, biases under the rule; the first and the last layer too."""
    return calibrated(quantize.PostTraining(bits=bits, rounding=rounding, budget=budget), select="*|*.bias")


def stepped(epochs: float, lr: float, bits: int) -> Make:
    """Learned steps: 8 bits in the first and the last layer, `bits` elsewhere, weights and inputs."""

    def make(model: nn.Module, bench: Bench) -> Made:
        ends = quantize.LSQ(bits=8, activation_bits=8, scope="filter")
        inner = quantize.LSQ(bits=bits, activation_bits=bits)
        ls.compress_(model, ls.Recipe([(bench.ends, [ends]), ("*", [inner])]))
        bench.train(model, epochs, lr)
        return model

    return make


def shared(bits: int, epochs: float, lr: float) -> Make:
    """Deep Compression's: codebooks of 8 bits for convolutions, of `bits` for linear layers, then trained."""

    def make(model: nn.Module, bench: Bench) -> Made:
        ls.compress_(model, ls.Recipe([("fc*|linear", [share.KMeans(bits=bits)]), ("*", [share.KMeans(bits=8)])]))
        bench.train(model, epochs, lr)
        return model

    return make


def integers(bits: int) -> Make:
    """int8 activations and weights of `bits`, after training."""

    def make(model: nn.Module, bench: Bench) -> Made:
        net = ls.freeze(model, example=bench.images.example)
        return to_int8(net, bench.calibration().numpy(), bits=bits, threads=1)

    return make


def smaller(macs: float, epochs: float, lr: float) -> Make:
    """Whole filters cut out, wherever residuals allow it, then trained."""

    def make(model: nn.Module, bench: Bench) -> Made:
        small = ls.shrink(model, example=bench.images.example, macs=macs, saliency="l1")
        bench.train(small, epochs, lr)
        return small

    return make


Q, B = quantize, binarize
MOST: Final = prune.Magnitude(sparsity=0.8, scope="global")


def on_both(network: str, pace: float) -> tuple[Case, ...]:
    """Cases of one network; `pace`: its learning rates over ResNet-20's."""
    cases = (
        Case("float32, trained as long", trained(2, 0.02 * pace), epochs=2),
        Case(
            "dynamic fixed point 8/10", untrained(Q.DynamicFixedPoint(8, activation_bits=10)), "8", "10", most_lost=0.4
        ),
        Case("dynamic fixed point 8/8", untrained(Q.DynamicFixedPoint(8, activation_bits=8)), "8", "8", most_lost=0.6),
        Case("uniform 4-bit weights", untrained(Q.DynamicFixedPoint(4), ends=False), "4"),
        Case("log 4-bit weights, base √2", untrained(Q.Log(4, "sqrt2"), ends=False), "4"),
        Case("log 4-bit weights, base 2", untrained(Q.Log(4, "2"), ends=False), "4"),
        Case("uniform 4/4", untrained(Q.DynamicFixedPoint(4, activation_bits=4), ends=False), "4", "4"),
        Case("log 4/4, base √2", untrained(Q.Log(4, "sqrt2", activation_bits=4), ends=False), "4", "4"),
        Case("log 4/4, base 2", untrained(Q.Log(4, "2", activation_bits=4), ends=False), "4", "4"),
        Case("float16", untrained(Q.Format(format="float16")), "16"),
        Case("bfloat16", untrained(Q.Format(format="bfloat16")), "16"),
        Case("float8 e4m3", untrained(Q.Format(format="float8_e4m3")), "8"),
        Case("int8 after training", integers(8), "8", "8", most_lost=0.3),
        Case("4-bit weights, nearest", rounded("nearest"), "4", "8"),
        Case("4-bit weights, AdaRound", rounded("adaround"), "4", "8"),
        Case("4-bit weights, GPTQ", rounded("gptq"), "4", "8"),
        Case("4 bits on average, GPTQ", rounded("gptq", 8, 4.0), "≈4", "8"),
        Case("learned steps, 4 bits", stepped(2, 0.01 * pace, 4), "4", "4", epochs=2),
        Case("weight sharing 8/4 bits", shared(4, 0.5, 0.005 * pace), "8/4", epochs=0.5, most_lost=0.0),
        Case("ternary weight network", trained(3, 0.05 * pace, B.TernaryWeight()), "2", epochs=3, most_lost=3.7),
        Case(
            "trained ternary quantization", trained(3, 0.005 * pace, B.TrainedTernary()), "2", epochs=3, most_lost=0.6
        ),
        Case("binary weight network", trained(3, 0.05 * pace, B.BinaryWeight()), "1", epochs=3, most_lost=1.8),
        Case("XNOR-Net", trained(3, 0.02 * pace, B.XNORNet()), "1", "1", epochs=3),
        Case("BinaryNet", trained(3, 0.02 * pace, B.BinaryNet(norm=True)), "1", "1", epochs=3),
    )
    return tuple(replace(case, network=network) for case in cases)


CASES: Final = (
    *on_both("lenet-5", 0.2),
    *on_both("cifar-resnet-20", 1.0),
    Case("magnitude, 80 % fine-grained", sparse(pruned(MOST, 8, 0.05)), epochs=8, most_lost=0.3),
    Case("prune + share + code, 80 %", coded(2e-7, pruned(MOST, 8, 0.05)), epochs=8, most_lost=0.3, least_ratio=18),
    Case("SparseGPT, 60 %, no training", calibrated(prune.SparseGPT(sparsity=0.6))),
    Case("energy-aware, 60 %, no training", calibrated(prune.EnergyAware(sparsity=0.6))),
    Case("magnitude, 60 %, no training", untrained(prune.Magnitude(sparsity=0.6), ends=False)),
    Case("rate-distortion after training", coded(6e-7), most_lost=0.5, least_ratio=11),
    Case("filters, half the MACs", smaller(0.5, 3, 0.02), epochs=3, most_lost=0.5, network="cifar-resnet-56"),
)


def kept_as(case: Case, folder: Path, quick: bool) -> Path:
    """Where a row is kept."""
    key = hashlib.sha256(f"{case.network} {case.name} {quick}".encode()).hexdigest()[:12]
    return folder / f"row-{key}.json"


def make_row(case: Case, path: Path, arguments: argparse.Namespace) -> None:
    """Make a row and keep it; say why when its method refuses."""
    start = networks.STARTS[case.network]
    images = networks.load(start.images, arguments.data)
    model = networks.starting_point(case.network, arguments.data, arguments.kept)
    print(f"{case.network}: {case.name}", file=sys.stderr, flush=True)
    try:
        row = measured(case, model, Bench(images, start.ends, arguments.quick, arguments.kept), arguments.threads)
    except LissomeError as error:
        print(f"{case.name} is left out: {error}", file=sys.stderr)
        return
    write_atomic(path, json.dumps(asdict(row)).encode())


def main() -> int:
    """Make the rows that are missing, print the table; 1 when one does not keep to what is asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="*", default=["*"], metavar="GLOB", help="rows by name")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA") or SHARED))
    parser.add_argument("--kept", type=Path, default=KEPT, help="folder of rows and starting points")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.kept.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in CASES:
        path, names = kept_as(case, arguments.kept, arguments.quick), (case.name, f"{case.network}: {case.name}")
        if not path.exists() and any(fnmatchcase(name, only) for only in arguments.only for name in names):
            try:
                make_row(case, path, arguments)
            except (OSError, ImportError) as error:
                print(f"{case.network} is left out: {error}", file=sys.stderr)
        if path.exists():
            rows.append(Row(**json.loads(path.read_text())))
    print(table(rows))
    if arguments.json:
        write_atomic(arguments.json, (json.dumps([asdict(row) for row in rows], indent=1) + "\n").encode())
    return int(any(row.reached == "no" for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
