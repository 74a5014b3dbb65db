"""A data set and a network small enough to train in a fraction of a second."""

import numpy as np
import pytest
import torch
from torch import nn

from lissome.data import Dataset, Split


def make_split(count, seed):
    """Images 1×6×6 of four classes: a bright quadrant in noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 4
    images = rng.integers(0, 90, (count, 1, 6, 6), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 3 * (label // 2), 3 * (label % 2)
        image[0, row : row + 3, column : column + 3] += 120
    return Split(images, labels.astype(np.int64))


@pytest.fixture(scope="session")
def quadrants():
    """Four classes, 96 training and 40 test images."""
    return Dataset("quadrants", 4, make_split(96, 0), make_split(40, 1))


@pytest.fixture
def make_network():
    """Maker of a small network: convolution (two channels, so that its memory layout matters), dropout, linear."""

    def make(seed=0):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.ReLU(),
            nn.Conv2d(4, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Dropout(0.1),
            nn.Linear(27, 4),
        )

    return make


@pytest.fixture(autouse=True)
def one_thread():
    """Bits depend on the number of threads, and small tensors gain nothing from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
