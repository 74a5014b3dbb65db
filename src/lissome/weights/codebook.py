"""Shared weights: a code per weight, and the codebook that the codes point into (Han et al., ICLR 2016, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.weights.coded import check_shape, finite_in, frozen
from lissome.weights.formats import ITEMSIZE, check_format

MAX_ENTRIES = 65_536


@dataclass(frozen=True, eq=False)
class Codebook:
    """weight[i] = codebook[codes[i]].

    codes: unsigned integers of the weight's shape, kept as uint8 for up to 256 entries and uint16 above.
    codebook: float32, shape (entries,), 1 to 65,536 entries, each exactly representable in `format`.
    Raises WeightError for a code past the codebook or a codebook value that is not finite.
    """

    codes: NDArray[np.integer]
    codebook: NDArray[np.float32]
    format: str = "float32"

    def __post_init__(self) -> None:
        check_format(self.format)
        check_shape(np.shape(self.codes), "a shared weight")
        codebook = finite_in(self.codebook, self.format, "a codebook")
        if codebook.ndim != 1 or not 1 <= codebook.size <= MAX_ENTRIES:
            raise WeightError(f"a codebook has 1 to {MAX_ENTRIES} entries in one dimension, not shape {codebook.shape}")
        codes = np.asarray(self.codes)
        if not np.issubdtype(codes.dtype, np.integer):
            raise WeightError(f"codes are integers, not {codes.dtype}")
        if codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < codebook.size:
            outside = int(codes.min()) if codes.min() < 0 else int(codes.max())
            raise WeightError(f"code {outside} points outside a codebook of {codebook.size} entries")
        object.__setattr__(self, "codebook", codebook)
        object.__setattr__(self, "codes", frozen(codes.astype(np.uint8 if codebook.size <= 256 else np.uint16)))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def nnz(self) -> int:
        return self.codes.size

    @property
    def bits(self) -> int:
        """Bits of a fixed-width code: ceil(log2 entries)."""
        return max(1, (self.codebook.size - 1).bit_length())

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.codebook.size * ITEMSIZE[self.format]

    def to_dense(self) -> NDArray[np.float32]:
        return np.asarray(self.codebook[self.codes])  # indexing by a scalar array gives a bare scalar

    def describe(self) -> str:
        return f"codebook {self.codebook.size}"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Codebook)
            and self.format == other.format
            and self.shape == other.shape
            and self.codebook.tobytes() == other.codebook.tobytes()
            and self.codes.tobytes() == other.codes.tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.format, self.shape, self.codebook.tobytes(), self.codes.tobytes()))
