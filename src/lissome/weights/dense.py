"""Dense weights: every value stored, in one number format."""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import numpy as np
from numpy.typing import NDArray

from lissome.weights.coded import check_shape, finite_in
from lissome.weights.formats import ITEMSIZE, check_format


@dataclass(frozen=True, eq=False)
class Dense:
    """Values of any shape, float32, each exactly representable in `format`.

    They are copied, unless `owned` says that nobody else keeps or will change the array, which is then frozen.
    Raises WeightError for NaN, infinity or a value the format cannot hold.
    """

    values: NDArray[np.float32]
    format: str = "float32"
    owned: InitVar[bool] = False

    def __post_init__(self, owned: bool) -> None:
        check_format(self.format)
        check_shape(np.shape(self.values), "a dense weight")
        object.__setattr__(self, "values", finite_in(self.values, self.format, "a dense weight", owned=owned))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape

    @property
    def nnz(self) -> int:
        return self.values.size

    @property
    def nbytes(self) -> int:
        return self.values.size * ITEMSIZE[self.format]

    def to_dense(self) -> NDArray[np.float32]:
        return self.values

    def describe(self) -> str:
        return self.format

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Dense)
            and self.format == other.format
            and self.shape == other.shape
            and self.values.tobytes() == other.values.tobytes()
        )

    def __hash__(self) -> int:
        return hash((self.format, self.shape, self.values.tobytes()))
