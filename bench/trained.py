"""Trained networks for the benchmarks, the images they are for, and a training loop that any method fits into.

LeNet-5 on MNIST starts as it was trained. The images of CIFAR-10 in ../shared/data are JPEG copies, on which networks
trained on the originals lose ten points: its ResNets are trained further on these copies, and every figure is relative
to such a float32 network (`starting_point`). Training computes in bfloat16 where the processor does, keeps float32
weights, and takes one thread, so that its results do not depend on how many there are.
"""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lissome import models
from lissome.data import mnist
from lissome.files import write_atomic
from lissome.models.weights import load_weights_

BATCH = 128


@dataclass(frozen=True)
class Images:
    """Training and test images, uint8 (N, C, H, W), their classes, and how networks get them.

    mean, deviation: of each channel of pixels / 255. augment: whether training shifts and mirrors them.
    """

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: NDArray[np.int64]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    augment: bool

    def inputs(self, images: Tensor) -> Tensor:
        """What the networks get, float32 (N, C, H, W)."""
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in (self.mean, self.deviation))
        return (images.float() / 255 - mean) / deviation

    def calibration(self, count: int) -> Tensor:
        """`count` inputs spread over the training images."""
        return self.inputs(self.train[:: len(self.train) // count][:count])

    @property
    def example(self) -> Tensor:
        """An input of zeros."""
        return torch.zeros(1, *self.train.shape[1:])


@dataclass(frozen=True)
class Start:
    """Where a network's weights are in the data folder, and how long it is trained further before methods see it.

    ends: selector of the first and the last layer, which the papers on few bits leave alone.
    """

    images: str
    weights: str
    ends: str
    epochs: float = 0.0
    lr: float = 0.02


STARTS: Final = {
    "lenet-5": Start("mnist", "lenet/lenet-5-caffe.safetensors", "conv1|fc2"),
    "cifar-resnet-20": Start("cifar-10", "cifar-resnets/resnet20.safetensors", "conv1|linear", 4),
    "cifar-resnet-56": Start("cifar-10", "cifar-resnets/resnet56.safetensors", "conv1|linear", 4),
}


@functools.cache
def load(name: str, data: Path) -> Images:
    """The images "mnist" or "cifar-10" of ../shared/data.

    Raises OSError or DataError where they are absent, ImportError for CIFAR-10 without Pillow.
    """
    return _mnist(data) if name == "mnist" else _cifar_10(data)


def _mnist(data: Path) -> Images:
    found = mnist.load(data / "mnist")
    train, test = (torch.from_numpy(part.images.copy()) for part in (found.train, found.test))
    return Images(train, torch.from_numpy(found.train.labels), test, found.test.labels, (0.0,), (1.0,), augment=False)


def _cifar_10(data: Path) -> Images:
    picture: Any = importlib.import_module("PIL.Image")
    train, test = np.load(data / "cifar10" / "train_jpeg.npz"), np.load(data / "cifar10" / "test.npz")
    jpeg, offsets = train["jpeg"], train["offsets"]
    files = (io.BytesIO(jpeg[a:b].tobytes()) for a, b in itertools.pairwise(offsets))
    pixels = np.stack([np.asarray(picture.open(file).convert("RGB")) for file in files])
    return Images(
        torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()),
        torch.from_numpy(train["labels"].astype(np.int64)),
        torch.from_numpy(test["images"].transpose(0, 3, 1, 2).copy()),
        test["labels"].astype(np.int64),
        (0.485, 0.456, 0.406),
        (0.229, 0.224, 0.225),
        augment=True,
    )


def augmented(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shifted by up to 4 pixels and mirrored by chance, each image on its own: the usual augmentation."""
    padded = F.pad(images, (4, 4, 4, 4))
    count, size = len(images), images.shape[-1]
    top, left = torch.randint(0, 9, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < 0.5
    column = torch.arange(size)
    column = torch.where(mirrored, size - 1 - column, column) + left
    row = torch.arange(size) + top
    each = torch.arange(count).view(-1, 1, 1, 1)
    channel = torch.arange(images.shape[1]).view(1, -1, 1, 1)
    return padded[each, channel, row.view(count, 1, size, 1), column.view(count, 1, 1, size)]


def train(
    model: nn.Module,
    images: Images,
    epochs: float,
    *,
    lr: float,
    seed: int = 0,
    on_step: Callable[[int, int], None] | None = None,
    extra_loss: Callable[[], Tensor] | None = None,
) -> None:
    """SGD with Nesterov's momentum and a learning rate that falls to zero by a cosine, in place.

    epochs: passes over the images, or a part of one. on_step: called with the steps done and how many there are;
    extra_loss: added to the cross entropy.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(epochs * len(images.train) / BATCH)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4, nesterov=True)
    model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    order, started = torch.empty(0, dtype=torch.long), time.monotonic()
    for step in range(steps):
        if len(order) < BATCH:
            order = torch.randperm(len(images.train), generator=generator)
        chosen, order = order[:BATCH], order[BATCH:]
        batch = images.train[chosen]
        x = images.inputs(augmented(batch, generator) if images.augment else batch)
        x = x.contiguous(memory_format=torch.channels_last)
        for group in optimizer.param_groups:
            group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * step / steps))
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(x)
        loss = F.cross_entropy(logits.float(), images.train_labels[chosen])
        if extra_loss is not None:
            loss = loss + extra_loss()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, steps)
        if step % 50 == 49:
            left = (time.monotonic() - started) / (step + 1) * (steps - step - 1)
            print(
                f"\r  step {step + 1} of {steps}, loss {float(loss.detach()):.3f}, {left:.0f} s left ",
                end="",
                file=sys.stderr,
            )
    print(file=sys.stderr)
    model.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def starting_point(name: str, data: Path, kept: Path) -> nn.Module:
    """The float32 network that methods start from: published weights, trained further where STARTS says so.

    kept: folder where the result is kept from one run to the next.
    """
    start, path, model = STARTS[name], kept / f"{name}.pt", models.build(name)
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model.eval()
    load_weights_(model, data / start.weights)
    if start.epochs:
        print(f"{name}: {start.epochs} epochs on these images", file=sys.stderr)
        train(model, load(start.images, data), start.epochs, lr=start.lr)
        keep(model, path)
    return model.eval()


def keep(model: nn.Module, path: Path) -> None:
    """Write the model's state dict, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    write_atomic(path, buffer.getvalue())
