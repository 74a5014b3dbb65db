"""A data set: images and labels, in a training and a test split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.errors import DataError


@dataclass(frozen=True, eq=False)
class Split:
    """images: uint8 (N, C, H, W), values 0..255. labels: int64 (N,). Raises DataError when the two disagree."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(f"images are uint8 (N, C, H, W), not {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            raise DataError(f"{len(self.images)} images need as many int64 labels, not {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def inputs(self) -> NDArray[np.float32]:
        """What a network is fed: float32 (N, C, H, W), pixels / 255, so 0..1."""
        scaled: NDArray[np.float32] = self.images.astype(np.float32) / np.float32(255)
        return scaled

    def take(self, indices: NDArray[np.int64]) -> Split:
        """The images and labels at `indices`, in that order."""
        return Split(self.images[indices], self.labels[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """A named data set; labels are 0 to classes - 1. Raises DataError for a label outside, or an empty split."""

    name: str
    classes: int
    train: Split
    test: Split

    def __post_init__(self) -> None:
        for which, split in (("training", self.train), ("test", self.test)):
            if not len(split):
                raise DataError(f"{self.name}: the {which} split is empty")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.classes:
                raise DataError(
                    f"{self.name}: {which} label {high if low >= 0 else low} is not in 0..{self.classes - 1}"
                )

    def holdout(self, count: int, seed: int) -> tuple[Split, Split]:
        """The training split cut in two: (what is left, `count` images to validate on), never touching the test split.

        Every class gives count // classes validation images, the first count % classes of them one more; which ones
        depends on `seed` alone. Both parts keep the training split's order. Raises DataError when a class has too few.
        """
        return cut(self.train, self.classes, count, seed)


def cut(split: Split, classes: int, count: int, seed: int) -> tuple[Split, Split]:
    """Cut `split` into (rest, `count` images, as many of each class); see `Dataset.holdout`."""
    if count < 0:
        raise DataError(f"cannot hold out {count} images")
    generator = np.random.default_rng(seed)
    held = np.zeros(len(split), dtype=bool)
    for label in range(classes):
        members = np.flatnonzero(split.labels == label)
        wanted = count // classes + (label < count % classes)
        if wanted > len(members):
            raise DataError(f"cannot hold out {wanted} images of class {label}: there are {len(members)}")
        held[generator.permutation(members)[:wanted]] = True
    return split.take(np.flatnonzero(~held)), split.take(np.flatnonzero(held))
