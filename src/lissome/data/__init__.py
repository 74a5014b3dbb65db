"""Standard data sets as NumPy arrays. A new one is a file with `load(folder)` and one line in `_LOADERS`.

>>> from lissome import data
>>> digits = data.load("digits")       # embedded: needs no files, only scikit-learn
>>> train, validation = digits.holdout(count=200, seed=0)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lissome.data import digits, fashion, mnist
from lissome.data.split import Dataset, Split
from lissome.errors import DataError

__all__ = ["Dataset", "Split", "load", "names"]

_LOADERS: Final[dict[str, Callable[[Path | None], Dataset]]] = {
    "mnist": mnist.load,
    "fashion": fashion.load,
    "digits": digits.load,
}


def names() -> tuple[str, ...]:
    """Names that `load` knows."""
    return tuple(_LOADERS)


def load(name: str, folder: Path | str | None = None) -> Dataset:
    """The data set `name`, from `folder`, else from the folder that the environment variable LISSOME_DATA names.

    The folder holds the standard files (raw or .gz), or a subfolder of the data set's name that does. With neither, the
    files are downloaded once into the user's cache, and their checksums verified; "digits" is embedded: no folder.
    Raises DataError when files are missing or damaged (naming the folder, the files and the remedy) or the name is
    unknown; MissingExtra when scikit-learn (digits) or pooch (a download) is absent.
    """
    if name not in _LOADERS:
        raise DataError(f"unknown data set {name!r}; known: {', '.join(_LOADERS)}")
    folder = folder or os.environ.get("LISSOME_DATA") or None
    return _LOADERS[name](Path(folder) if folder else None)
