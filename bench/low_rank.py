"""Low rank on trained networks: ResNet-20 and -56 on CIFAR-10, LeNet-300-100 on MNIST, by every decomposition.

    python bench/low_rank.py [--quick] [--data DIR] [--networks NAME ...] [--train IMAGES] [--json PATH]

Every method takes the same network to the same multiply-adds (a half and a quarter; of LeNet-300-100, a quarter and a
tenth), counted by `profile`; layers of no choice (the first convolution, the classifier) stay. error: how far the
logits are from the original's, relative, in the square root of the mean square. top-1: on the test images, as
decomposed and, with --train, after one epoch over so many images (the float32 network is given the same epoch, in the
row "float32").

The CIFAR-10 images in DIR are JPEG copies (cifar10/test.npz, train_jpeg.npz), so that accuracies compare with the
float32 row on the same images and with nothing else. Needs pillow to read them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

import lissome as ls
from lissome import data, models
from lissome.compress.apply import baked_copy
from lissome.compress.factorize import (
    CP,
    PCA,
    SVD,
    Asymmetric,
    DepthwiseSeparable,
    LowRankSparse,
    Spatial,
    TensorTrain,
    Tucker,
)
from lissome.compress.method import Method
from lissome.compress.recipe import Fit
from lissome.compress.structural import Sum
from lissome.data import Split
from lissome.models.weights import load_weights_
from lissome.train.fit import accuracy, fit

CALIBRATION: Final = 256
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Normalised(nn.Module):
    """A network behind the scaling of colours that it was trained with; fed pixels / 255."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Logits of images (N, 3, 32, 32) in 0..1."""
        made: Tensor = self.net((x - self.mean) / self.deviation)
        return made


@dataclass
class Row:
    """One network under one method; target: the multiply-adds asked for, original / compressed."""

    network: str
    target: float
    method: str
    macs: int
    ratio: float
    parameters: int
    error: float
    top1: float
    seconds: float
    trained_top1: float | None = None


@dataclass
class Case:
    """A trained network and its images. layers: what the recipe selects, and their share of all multiply-adds."""

    name: str
    shape: tuple[int, ...]
    layers: str
    share: float
    calibration: Tensor
    test: Split
    train: Split | None
    folder: Path

    def build(self) -> nn.Module:
        """The network with its trained weights."""
        if self.name == "lenet-300-100":
            net = models.build(self.name)
            load_weights_(net, self.folder / "lenet/lenet-300-100.safetensors")
            return net.eval()
        net = models.build(self.name)
        load_weights_(net, self.folder / f"cifar-resnets/resnet{self.name.rpartition('-')[2]}.safetensors")
        return Normalised(net).eval()


def convolutions(speedup: float, target: float) -> list[Method]:
    """Every decomposition of 3×3 convolutions at one price."""
    return [
        SVD(speedup=speedup),
        SVD(speedup=speedup, scope="rule"),
        PCA(speedup=speedup),
        PCA(speedup=speedup, scope="rule"),
        Asymmetric(speedup=speedup, asymmetric=False, scope="rule"),
        Asymmetric(speedup=speedup, nonlinear=False, scope="rule"),
        Asymmetric(speedup=speedup, scope="rule"),
        Spatial(speedup=speedup),
        Spatial(speedup=speedup, scope="rule"),
        Tucker(speedup=speedup),
        CP(speedup=speedup),
        LowRankSparse(speedup=speedup, sparsity=0.95 if target <= 2 else 0.98),
        DepthwiseSeparable(multiplier=4 if target <= 2 else 2),
    ]


def linears(speedup: float) -> list[Method]:
    """Every decomposition of linear layers at one price; a tensor train is given the price in weights."""
    return [
        SVD(speedup=speedup),
        PCA(speedup=speedup),
        Asymmetric(speedup=speedup),
        LowRankSparse(speedup=speedup, sparsity=0.98),
        TensorTrain(compression=speedup),
    ]


def measure(case: Case, method: Method | None, target: float, reference: Tensor, train: int) -> Row:
    """Decompose, count, compare, and train on."""
    model = case.build()
    start = time.perf_counter()
    if method is not None:
        compress = ls.Recipe([(case.layers, [method])])
        ls.compress_(model, compress, inputs=case.calibration)
    seconds = time.perf_counter() - start
    plain = baked_copy(model)
    found, whole = (ls.profile(each, shape=case.shape) for each in (plain, case.build()))
    macs = found.macs - zeros(plain, {layer.name: layer.cost.macs for layer in found.layers})
    with torch.no_grad():
        logits = answers(model, case.test)
    row = Row(
        case.name,
        target,
        str(method or "float32"),
        macs,
        whole.macs / macs,
        found.parameters,
        float((logits - reference).norm() / reference.norm()),
        accuracy(model, case.test),
        seconds,
    )
    if train and case.train is not None:
        part = case.train.take(np.arange(min(train, len(case.train))))
        fit(model, part, Fit(epochs=1, batch=128, lr=1e-3, shift=0), seed=(0,))
        row.trained_top1 = accuracy(model, case.test)
    return row


def zeros(model: nn.Module, macs: Mapping[str, int]) -> int:
    """Multiply-adds of the zeros of sparse factors, which `profile` counts as those of a dense layer."""
    total = 0.0
    for path, part in model.named_modules():
        if isinstance(part, Sum):
            total += macs[f"{path}.sparse"] * float((part.sparse.weight == 0).double().mean())
    return round(total)


def answers(model: nn.Module, split: Split) -> Tensor:
    """Logits over a split, 500 images at a time."""
    inputs = torch.from_numpy(split.inputs())
    return torch.cat([model(part) for part in inputs.split(500)])


def cifar(folder: Path, tests: int, train: int) -> tuple[Tensor, Split, Split]:
    """Calibration images from the training split, the test split's first images, and training images after those."""
    from PIL import Image

    held = np.load(folder / "cifar10/train_jpeg.npz")
    ends, count = held["offsets"], CALIBRATION + train

    def picture(i: int) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(held_jpeg[ends[i] : ends[i + 1]].tobytes())))

    held_jpeg = held["jpeg"]
    images = np.stack([picture(i) for i in range(count)]).transpose(0, 3, 1, 2)
    training = Split(np.ascontiguousarray(images), held["labels"][:count].astype(np.int64))
    test = np.load(folder / "cifar10/test.npz")
    pictures = np.ascontiguousarray(test["images"][:tests].transpose(0, 3, 1, 2))
    first = training.take(np.arange(CALIBRATION))
    return (
        torch.from_numpy(first.inputs()),
        Split(pictures, test["labels"][:tests].astype(np.int64)),
        training.take(np.arange(CALIBRATION, count)),
    )


def cases(names: Sequence[str], folder: Path, tests: int, train: int) -> list[Case]:
    """The networks asked for, with their images."""
    made = []
    for name in names:
        if name == "lenet-300-100":
            digits = data.load("mnist", folder)
            shown = torch.from_numpy(digits.train.take(np.arange(CALIBRATION)).inputs())
            test = digits.test.take(np.arange(tests))
            made.append(Case(name, (1, 28, 28), "fc1|fc2", 1.0, shown, test, digits.train, folder))
            continue
        shown, test, training = cifar(folder, tests, train)
        made.append(Case(name, (3, 32, 32), "net.layer*", 0.0, shown, test, training, folder))
        whole = ls.profile(made[-1].build(), shape=(3, 32, 32))
        inside = sum(layer.cost.macs for layer in whole.layers if layer.name.startswith("net.layer"))
        made[-1].share = inside / whole.macs
    return made


def show(row: Row) -> None:
    """One line."""
    trained = "" if row.trained_top1 is None else f"{row.trained_top1:7.2f}"
    print(
        f"{row.network:16s} {row.target:4.0f}× {row.ratio:6.2f}× {row.parameters:9,d} {row.error:7.3f} "
        f"{row.top1:7.2f} {trained:7s} {row.seconds:6.1f} s  {row.method}",
        flush=True,
    )


def main() -> None:
    """Measure, print, and write JSON after every row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="ResNet-20 and LeNet-300-100, 500 test images, no training"
    )
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA", "../shared/data")))
    parser.add_argument("--networks", nargs="+", default=["lenet-300-100", "cifar-resnet-20", "cifar-resnet-56"])
    parser.add_argument("--methods", nargs="+", help="class names; default: all")
    parser.add_argument("--tests", type=int, default=2_000, help="test images")
    parser.add_argument("--train", type=int, default=0, help="training images of the one epoch; 0: none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = [name for name in options.networks if not (options.quick and name == "cifar-resnet-56")]
    tests, train = (500, 0) if options.quick else (options.tests, options.train)
    print(f"{'network':16s} {'MACs':>5s} {'reached':>7s} {'weights':>9s} {'error':>7s} {'top-1':>7s} {'trained':7s}")
    rows: list[Row] = []
    for case in cases(names, options.data, tests, train):
        with torch.no_grad():
            reference = answers(case.build(), case.test)
        plan: list[tuple[float, Method | None]] = [(1.0, None)]
        for target in (4.0, 10.0) if case.name == "lenet-300-100" else (2.0, 4.0):
            speedup = case.share / (1 / target - (1 - case.share))
            methods = linears(target) if case.name == "lenet-300-100" else convolutions(speedup, target)
            plan += [(target, method) for method in methods]
        for target, method in plan:
            if options.methods and method is not None and type(method).__name__ not in options.methods:
                continue
            rows.append(measure(case, method, target, reference, train))
            show(rows[-1])
            if options.json:
                options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
