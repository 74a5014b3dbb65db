"""Take slices of a coded weight along one axis, in a new order, without decoding it: codes and codebooks stay."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.weights.codebook import Codebook
from lissome.weights.coded import CodedWeight
from lissome.weights.dense import Dense
from lissome.weights.sparse import Sparse


def select(weight: CodedWeight, axis: int, order: NDArray[np.int64]) -> CodedWeight:
    """The weight whose slice i along `axis` is slice order[i] of `weight`; slices that `order` lacks are dropped.

    order: distinct indices below ``weight.shape[axis]``. Law: ``select(w, axis, order).to_dense()`` equals
    ``w.to_dense().take(order, axis)``, with the same codebook. Raises WeightError for a kind it does not know.
    """
    match weight:
        case Dense(values=values, format=fmt):
            return Dense(values.take(order, axis), fmt)
        case Codebook(codes=codes, codebook=codebook, format=fmt):
            return Codebook(codes.take(order, axis), codebook, fmt)
        case Sparse():
            return _select_sparse(weight, axis, order)
    raise WeightError(f"a {type(weight).__name__} cannot be selected from; known: Dense, Codebook, Sparse")


def _select_sparse(weight: Sparse, axis: int, order: NDArray[np.int64]) -> Sparse:
    place = np.full(weight.shape[axis], -1, dtype=np.int64)
    place[order] = np.arange(order.size)
    index = list(np.unravel_index(weight.positions, weight.shape))
    index[axis] = place[index[axis]]
    kept = np.flatnonzero(index[axis] >= 0)
    shape = (*weight.shape[:axis], order.size, *weight.shape[axis + 1 :])
    positions = np.ravel_multi_index(tuple(axis_index[kept] for axis_index in index), shape).astype(np.int64)
    by_position = np.argsort(positions)
    values = select(weight.values, 0, kept[by_position])
    if not isinstance(values, Dense | Codebook):
        raise WeightError("the values of a sparse weight are neither dense nor shared")
    return Sparse(shape, positions[by_position], values)
