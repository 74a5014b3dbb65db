"""A coded weight taken apart for storage, and put together again: what the header says, indices, and reals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.errors import WeightError
from lissome.network import Network
from lissome.pack.coder import Indices
from lissome.pack.header import TensorForm
from lissome.weights import Codebook, CodedWeight, Dense, Sparse
from lissome.weights.formats import from_bits, to_bits

GROUP_ELEMENTS: Final = 1 << 20  # a group is closed once its tensors have this many elements (normative)


@dataclass(frozen=True, eq=False)
class Parts:
    """One weight as a file holds it. reals: float32, the ascending codebook or the (stored,) values not shared."""

    form: TensorForm
    indices: Indices
    reals: NDArray[np.float32]


def canonical(net: Network) -> Network:
    """The network that loading a file of `net` gives: equal in every weight's value, with tidy codebooks.

    A codebook's entries are sorted (−0.0 before 0.0), each value stands once, entries that no code uses are dropped,
    and a weight with no codes keeps the one entry 0.0. A network of such codebooks comes back exactly equal.
    """
    return replace(net, weights={name: _tidy(weight, name) for name, weight in net.weights.items()})


def _tidy(weight: CodedWeight, name: str) -> CodedWeight:
    match weight:
        case Dense():
            return weight
        case Sparse(shape=shape, positions=positions, values=values):
            return Sparse(shape, positions, _tidy_values(values))
        case Codebook():
            return _tidy_codebook(weight)
    raise WeightError(f"weight {name!r} is a {type(weight).__name__}, which a .liss file cannot hold yet")


def _tidy_values(values: Dense | Codebook) -> Dense | Codebook:
    return _tidy_codebook(values) if isinstance(values, Codebook) else values


def _tidy_codebook(weight: Codebook) -> Codebook:
    if not weight.codes.size:
        return Codebook(weight.codes, np.zeros(1, np.float32), weight.format)
    used = np.flatnonzero(np.bincount(weight.codes.ravel(), minlength=weight.codebook.size))
    order, place = np.unique(ordered_bits(weight.codebook[used], weight.format), return_inverse=True)
    renumbered = np.zeros(weight.codebook.size, dtype=np.uint16)
    renumbered[used] = place
    return Codebook(renumbered[weight.codes], from_ordered_bits(order, weight.format), weight.format)


def ordered_bits(values: NDArray[np.float32], fmt: str) -> NDArray[np.unsignedinteger]:
    """Bit patterns in `fmt`, mapped so that they increase, as unsigned integers, with the value they stand for."""
    bits = to_bits(values, fmt)
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    ordered: NDArray[np.unsignedinteger] = np.where(bits & sign, ~bits, bits | sign)
    return ordered


def from_ordered_bits(ordered: NDArray[np.unsignedinteger], fmt: str) -> NDArray[np.float32]:
    """The inverse of `ordered_bits`, for every bit pattern."""
    sign = ordered.dtype.type(1 << (8 * ordered.itemsize - 1))
    return from_bits(np.where(ordered & sign, ordered ^ sign, ~ordered), fmt)


def take_apart(name: str, weight: CodedWeight) -> Parts:
    """The parts of a weight whose codebook is tidy (see `canonical`)."""
    positions = weight.positions if isinstance(weight, Sparse) else None
    values = weight.values if isinstance(weight, Sparse) else weight
    if isinstance(values, Codebook):
        form = TensorForm(name, weight.shape, positions is not None, values.codebook.size, values.format)
        codes: NDArray[np.unsignedinteger] = np.asarray(values.codes).ravel()
        return Parts(form, Indices(form.spec, positions, codes), values.codebook)
    if not isinstance(values, Dense):
        raise WeightError(f"weight {name!r} is a {type(values).__name__}, which a .liss file cannot hold yet")
    form = TensorForm(name, weight.shape, positions is not None, None, values.format)
    nothing = np.zeros(values.values.size if form.sparse else 0, dtype=np.uint8)
    return Parts(form, Indices(form.spec, positions, nothing), values.values.ravel())


def put_together(form: TensorForm, indices: Indices | None, reals: NDArray[np.float32]) -> CodedWeight:
    """The inverse of `take_apart`, which keeps `reals`; `indices` is None for a tensor that no index stream mentions.

    Raises WeightError for parts that contradict each other or hold NaN or infinity.
    """
    values: Dense | Codebook
    stored = form.shape if indices is None or indices.positions is None else indices.positions.shape
    if form.entries is None:
        values = Dense(reals.reshape(stored), form.format, owned=True)
    else:
        codes = np.zeros(stored, np.uint8) if indices is None else indices.codes.reshape(stored)
        values = Codebook(codes, reals, form.format)
    if indices is None or indices.positions is None:
        return values
    return Sparse(form.shape, indices.positions, values)


def groups_of(forms: Sequence[TensorForm]) -> list[list[int]]:
    """Which tensors share an index stream: runs of them, in order, each closed once it has GROUP_ELEMENTS elements.

    Tensors with neither positions nor codes to store are in no group.
    """
    groups: list[list[int]] = []
    elements = GROUP_ELEMENTS
    for i, form in enumerate(forms):
        if not form.indexed:
            continue
        if elements >= GROUP_ELEMENTS:
            groups.append([])
            elements = 0
        groups[-1].append(i)
        elements += form.spec.size
    return groups
