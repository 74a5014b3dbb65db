"""A data set that is published as four IDX files: find them in a folder or download them, and read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from lissome.data import idx
from lissome.data.split import Dataset, Split
from lissome.errors import DataError, MissingExtra

FILES: Final = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True)
class Archive:
    """Where a data set of 28×28 images in ten classes is published, and how to know that it arrived whole.

    subfolders: looked at, in this order, inside the folder a caller names. url: where "<file>.gz" is downloaded from.
    md5: of each .gz file as published; it tells damage from the real thing, not forgery.
    """

    name: str
    subfolders: tuple[str, ...]
    url: str
    md5: Mapping[str, str]

    def load(self, folder: Path | None) -> Dataset:
        """Read from `folder`, or download when it is None. Raises DataError for missing or malformed files."""
        paths = self._downloaded() if folder is None else self._find(folder)
        train = _split(paths[0], paths[1])
        return Dataset(self.name, 10, train, _split(paths[2], paths[3]))

    def _find(self, folder: Path) -> list[Path]:
        for place in (*(folder / name for name in self.subfolders), folder):
            found = [path for name in FILES if (path := _present(place, name))]
            if len(found) == len(FILES):
                return found
            if found:
                have = {path.name.removesuffix(".gz") for path in found}
                missing = ", ".join(name for name in FILES if name not in have)
                raise DataError(f"{place}: {self.name} lacks {missing} (raw or .gz); add them. {self._remedy()}")
        wanted = ", ".join(FILES)
        raise DataError(f"{folder}: no {self.name} here: wanted {wanted} (raw or .gz). {self._remedy()}")

    def _remedy(self) -> str:
        return (
            f"The files are published at {self.url}; point --data or LISSOME_DATA at a folder that holds them, or set "
            "neither to download them; the data set 'digits' needs no files"
        )

    def _downloaded(self) -> list[Path]:
        try:
            import pooch
        except ModuleNotFoundError as error:
            raise MissingExtra.of("pooch", extra="train", needed_by=f"downloading {self.name}") from error
        cache = Path(pooch.os_cache("lissome")) / self.name
        try:
            return [
                Path(pooch.retrieve(f"{self.url}{name}.gz", f"md5:{self.md5[name]}", fname=f"{name}.gz", path=cache))
                for name in FILES
            ]
        except (OSError, ValueError) as error:  # no network, no such page, a full disk; a checksum that differs
            raise DataError(f"{self.name} could not be downloaded into {cache}: {error}. {self._remedy()}") from error


def _present(place: Path, name: str) -> Path | None:
    for path in (place / name, place / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def _split(images_path: Path, labels_path: Path) -> Split:
    images, labels = idx.read(images_path, 3), idx.read(labels_path, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_path}: images of {images.shape[1:]} pixels; (28, 28) are needed")
    if len(images) != len(labels):
        raise DataError(f"{images_path} holds {len(images)} images but {labels_path.name} {len(labels)} labels")
    return Split(images[:, np.newaxis], labels.astype(np.int64))
