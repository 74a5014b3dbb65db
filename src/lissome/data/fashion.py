"""Fashion-MNIST: 60,000 + 10,000 pictures of clothing in MNIST's format (Xiao, Rasul and Vollgraf 2017)."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from lissome.data.archive import Archive
from lissome.data.split import Dataset
from lissome.errors import DataError

ARCHIVE: Final = Archive(
    name="fashion",
    subfolders=("fashion", "fashion-mnist", "FashionMNIST/raw"),
    url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    md5={
        "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)

# The two data sets share their file names; only the content tells them apart.
_MNIST_TEST_LABELS: Final = "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"


def load(folder: Path | None) -> Dataset:
    """Fashion-MNIST from `folder`, or downloaded when it is None; see `lissome.data.load`.

    Raises DataError when the folder holds MNIST instead.
    """
    dataset = ARCHIVE.load(folder)
    if hashlib.sha256(dataset.test.labels.astype("u1").tobytes()).hexdigest() == _MNIST_TEST_LABELS:
        raise DataError(f"{folder}: these are MNIST's files, not Fashion-MNIST's; both use the same names")
    return dataset
