"""Pruned weights: where the survivors are, and their values (dense or shared)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.weights.codebook import Codebook
from lissome.weights.coded import check_shape, frozen
from lissome.weights.dense import Dense


@dataclass(frozen=True, eq=False)
class Sparse:
    """A tensor of `shape` that is zero except at `positions`.

    positions: int64, shape (nnz,), strictly increasing flat row-major indices into `shape`.
    values: Dense or Codebook of shape (nnz,); entry j belongs to positions[j].
    Raises WeightError for positions that are not increasing or lie outside, or a length mismatch.
    """

    shape: tuple[int, ...]
    positions: NDArray[np.int64]
    values: Dense | Codebook

    def __post_init__(self) -> None:
        shape = check_shape(self.shape, "a sparse weight")
        positions = np.asarray(self.positions, dtype=np.int64)
        if positions.ndim != 1 or positions.shape != self.values.shape:
            raise WeightError(f"{positions.shape} positions but values of shape {self.values.shape}")
        if positions.size and (
            int(positions[0]) < 0 or int(positions[-1]) >= math.prod(shape) or (np.diff(positions) <= 0).any()
        ):
            raise WeightError(f"positions must increase strictly within shape {shape}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "positions", frozen(positions))

    @property
    def nnz(self) -> int:
        return self.positions.size

    @property
    def nbytes(self) -> int:
        return self.positions.nbytes + self.values.nbytes

    def to_dense(self) -> NDArray[np.float32]:
        dense = np.zeros(math.prod(self.shape), dtype=np.float32)
        dense[self.positions] = self.values.to_dense()
        return dense.reshape(self.shape)

    def describe(self) -> str:
        return f"sparse({self.values.describe()})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sparse)
            and self.shape == other.shape
            and self.positions.tobytes() == other.positions.tobytes()
            and self.values == other.values
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.positions.tobytes(), self.values))
