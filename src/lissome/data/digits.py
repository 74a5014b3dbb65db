"""scikit-learn's handwritten digits (UCI, Alpaydin and Kaynak 1998) in MNIST's frame: a data set that is always there.

1,797 images of 8×8 pixels, values 0..16, come with scikit-learn. Each is enlarged bilinearly to the 20×20 box that
MNIST normalises its digits to, and placed in 28×28 with its centre of mass in the middle, as MNIST does, so that every
network for MNIST runs on it unchanged. 36 images of each class are the test split.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.data.split import Dataset, Split, cut
from lissome.errors import MissingExtra

SIDE: Final = 28
BOX: Final = 20
TEST_IMAGES: Final = 360
_TEST_SEED: Final = 0


def load(folder: Path | None = None) -> Dataset:  # noqa: ARG001 - embedded; the folder is every loader's argument
    """1,437 training and 360 test images, uint8 (N, 1, 28, 28). Raises MissingExtra without scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise MissingExtra.of("scikit-learn", extra="train", needed_by="the data set 'digits'") from error
    source = load_digits()
    everything = Split(enlarge(source.images), source.target.astype(np.int64))
    train, test = cut(everything, 10, TEST_IMAGES, _TEST_SEED)
    return Dataset("digits", 10, train, test)


def enlarge(images: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Images (N, 8, 8) with values 0..16 as uint8 (N, 1, 28, 28): a 20×20 box around the centre of mass."""
    weights = _bilinear(images.shape[-1], BOX)
    boxes = np.rint(weights @ images @ weights.T * (255 / 16)).clip(0, 255).astype(np.uint8)
    framed = np.zeros((len(boxes), 1, SIDE, SIDE), dtype=np.uint8)
    pixels = np.arange(BOX) + 0.5
    for frame, box in zip(framed[:, 0], boxes, strict=True):
        mass = max(1, int(box.sum()))
        row, column = (pixels @ box.sum(axis=axis) / mass for axis in (1, 0))
        top, left = (min(SIDE - BOX, max(0, round(SIDE / 2 - centre))) for centre in (row, column))
        frame[top : top + BOX, left : left + BOX] = box
    return framed


def _bilinear(source: int, target: int) -> NDArray[np.float64]:
    """Matrix (target, source) that interpolates linearly between pixel centres and repeats the edge."""
    position = ((np.arange(target) + 0.5) * source / target - 0.5).clip(0, source - 1)
    low = np.minimum(position.astype(np.int64), source - 2)
    matrix = np.zeros((target, source))
    matrix[np.arange(target), low] = 1 - (position - low)
    matrix[np.arange(target), low + 1] = position - low
    return matrix
