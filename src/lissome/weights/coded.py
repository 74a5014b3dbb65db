"""The contract of a coded weight, and the checks its kinds share.

A coded weight is an immutable value: codes into a codebook, and where the zeros are. Kinds nest
(`Sparse(values=Codebook(...))`); each is one file beside this one.
"""

from __future__ import annotations

import math
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.weights.formats import round_to

_Scalar = TypeVar("_Scalar", bound=np.generic)


@runtime_checkable
class CodedWeight(Protocol):
    """What graph, packer, engine and hardware models may ask of any coded weight."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight tensor that this value stands for."""
        ...

    @property
    def nnz(self) -> int:
        """Number of weights that are not the pruned zero (stored entries)."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes that this representation occupies in memory."""
        ...

    def to_dense(self) -> NDArray[np.float32]:
        """The float32 tensor of `shape` that this value stands for, exactly."""
        ...

    def describe(self) -> str:
        """One short phrase for tables, such as ``sparse(codebook 15)``."""
        ...


def frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    """A contiguous read-only copy, so that a coded weight cannot be changed behind its back."""
    copy = np.array(array, order="C", copy=True)
    copy.flags.writeable = False
    return copy


def finite_in(values: NDArray[np.float32], fmt: str, what: str, *, owned: bool = False) -> NDArray[np.float32]:
    """Frozen float32 copy of `values`, checked to be finite and exactly representable in `fmt`.

    owned: `values` is nobody else's, and is frozen itself where it has the right form and is all of its memory.
    """
    values = np.asarray(values, dtype=np.float32)
    # A NaN is both least and largest, so that two numbers tell, and nothing as large as the weight is made.
    if values.size and not np.isfinite([values.min(), values.max()]).all():
        bad = ~np.isfinite(values)
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise WeightError(
            f"{what} holds {int(bad.sum())} NaN or infinite value(s), the first at index {where}; "
            "lissome stores finite weights only: check the training run that made them"
        )
    if fmt != "float32" and not np.array_equal(round_to(values, fmt), values):
        raise WeightError(f"{what} holds values that {fmt} cannot represent; round them first (formats.round_to)")
    if not owned or not values.flags.c_contiguous or not values.flags.aligned or not _is_whole(values):
        return frozen(values)
    values.flags.writeable = False
    return values


def _is_whole(array: NDArray[np.float32]) -> bool:
    """Whether the array is a view of all that it keeps in memory, or no view."""
    base = array.base
    while isinstance(base, np.ndarray) and base.nbytes == array.nbytes:
        base = base.base
    return base is None


def check_shape(shape: tuple[int, ...], what: str) -> tuple[int, ...]:
    """`shape` as plain ints, none negative, at most 8 of them, and fewer than 2**48 elements."""
    plain = tuple(int(extent) for extent in shape)
    if len(plain) > 8 or any(extent < 0 for extent in plain) or math.prod(plain) >= 2**48:
        raise WeightError(f"{what} has impossible shape {plain}")
    return plain
