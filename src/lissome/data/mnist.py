"""MNIST: 60,000 + 10,000 handwritten digits, 28×28 (LeCun, Cortes and Burges)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lissome.data.archive import Archive
from lissome.data.split import Dataset

ARCHIVE: Final = Archive(
    name="mnist",
    subfolders=("mnist", "MNIST/raw"),
    url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    md5={
        "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)


def load(folder: Path | None) -> Dataset:
    """MNIST from `folder`, or downloaded when it is None; see `lissome.data.load`."""
    return ARCHIVE.load(folder)
