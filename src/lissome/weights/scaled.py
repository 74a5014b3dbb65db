"""Whole numbers with a scale for each slice: what integer kernels multiply (Jacob et al., CVPR 2018, section 2.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.weights.codebook import Codebook
from lissome.weights.coded import CodedWeight
from lissome.weights.dense import Dense
from lissome.weights.sparse import Sparse


@dataclass(frozen=True, eq=False)
class Scaled:
    """weight[k, …] = codes[k, …] · scale[k], or one scale for all.

    codes: any coded weight of whole numbers, −128 to 127. scale: float32, shape (first axis,) or (1,), positive.
    A graph holds its parts as parameters of their own, behind a DequantizeLinear (`compress.freeze`).
    Raises WeightError for codes that are no whole numbers in the range, or scales that are not positive and finite.
    """

    codes: Codebook | Dense | Sparse
    scale: NDArray[np.float32]

    op: ClassVar[str] = "DequantizeLinear"

    def __post_init__(self) -> None:
        numbers = self.codes.to_dense()
        if not np.array_equal(np.rint(numbers), numbers) or (
            numbers.size and not -128 <= numbers.min() <= numbers.max() <= 127
        ):
            raise WeightError("codes are whole numbers from -128 to 127")
        scale = np.array(self.scale, np.float32)
        if scale.ndim != 1 or scale.size not in (1, self.shape[0]) or not np.all((scale > 0) & np.isfinite(scale)):
            raise WeightError(f"scales are positive, one or {self.shape[0]} of them, not {scale.shape}")
        scale.flags.writeable = False
        object.__setattr__(self, "scale", scale)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def nnz(self) -> int:
        return self.codes.nnz

    @property
    def nbytes(self) -> int:
        return self.codes.nbytes + self.scale.nbytes

    def to_dense(self) -> NDArray[np.float32]:
        return self.codes.to_dense() * self.scale.reshape(-1, *[1] * (len(self.shape) - 1))

    def describe(self) -> str:
        return f"{self.codes.describe()}, scaled"

    def parts(self) -> Mapping[str, CodedWeight]:
        """What the operator reads, by what it is called.

        Small codes are times a power of two there, and the scales divided by it: the same weights bit for bit, but
        kernels that round biases to units of a layer's sums have finer ones. Signs stay signs, for kernels on bits.
        """
        numbers = self.codes.to_dense()
        most = float(np.abs(numbers).max(initial=0))
        finer = 2.0 ** np.floor(np.log2(127 / most)) if 1 < most <= 63 else 1.0
        scale = (self.scale / np.float32(finer)).astype(np.float32)
        if finer == 1 or not np.array_equal(scale * np.float32(finer), self.scale):
            return {"codes": self.codes, "scale": Dense(self.scale)}
        return {"codes": _like(self.codes, numbers * np.float32(finer)), "scale": Dense(scale)}

    def attributes(self) -> Mapping[str, int | str]:
        """Those of the operator."""
        return {"axis": 0, "dtype": "int8"}

    def rescaled(self, dense: NDArray[np.float32]) -> Scaled | None:
        """The same codes, signs perhaps turned, for a weight that is this one with each slice times a number."""
        numbers = self.codes.to_dense().reshape(self.shape[0], -1)
        rows = dense.reshape(numbers.shape)
        places = np.abs(numbers).argmax(1)
        lines = np.arange(len(numbers))
        largest = numbers[lines, places]
        ratio = rows[lines, places].astype(np.float64) / np.where(largest == 0, 1, largest)
        scale = np.where(ratio == 0, np.broadcast_to(self.scale, ratio.shape), np.abs(ratio)).astype(np.float32)
        signs = np.where(ratio < 0, -1.0, 1.0)
        zeroed = ratio == 0  # a factor of 0, or a slice of zeros
        if not np.allclose(numbers * ratio[:, None], rows, rtol=1e-5, atol=0) or not np.all(
            np.isfinite(scale) & (scale > 0)
        ):
            return None
        turned = numbers * np.where(zeroed, 0.0, signs)[:, None]
        return Scaled(_like(self.codes, turned.reshape(self.shape).astype(np.float32)), scale)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scaled) and self.codes == other.codes and np.array_equal(self.scale, other.scale)

    def __hash__(self) -> int:
        return hash((self.codes, self.scale.tobytes()))


def whole(numbers: NDArray[np.float32], before: CodedWeight | None = None) -> Codebook | Sparse:
    """Whole numbers, −128 to 127, as a codebook of those in use; sparse where `before` is."""
    if isinstance(before, Sparse):
        return Sparse(before.shape, before.positions, whole(numbers.ravel()[before.positions]))  # type: ignore[arg-type]
    used, codes = np.unique(numbers + np.float32(0), return_inverse=True)
    if not used.size:
        used = np.zeros(1, np.float32)
    return Codebook(codes.reshape(numbers.shape), used.astype(np.float32), "float16")


def _like(codes: CodedWeight, numbers: NDArray[np.float32]) -> Codebook | Sparse:
    return whole(numbers, codes)
