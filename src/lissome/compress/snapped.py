"""Weights that take values from a small set: what the methods of quantize/ and binarize/ share.

The network sees the snapped value, the original keeps training beneath it: the gradient of the value passes to the
original as if it had been used itself (the straight-through estimator: Bengio, Léonard and Courville 2013).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lissome.compress.method import Member, Method, Parametrization
from lissome.errors import WeightError
from lissome.weights import Codebook, CodedWeight, Dense, Sparse
from lissome.weights.codebook import MAX_ENTRIES
from lissome.weights.formats import round_to

#: formats that a codebook may take, the smallest first
_FORMATS: Final = ("float8_e4m3", "float16", "bfloat16", "float32")


class Snapped(Parametrization):
    """`snap(weight)` once it is settled, the weight itself before. Buffer `settled`: bool.

    An entry that is exactly 0 stays 0, whatever the method's set: it has been pruned.
    """

    settled: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=weight.device))

    @abstractmethod
    def snap(self, weight: Tensor) -> Tensor:
        """The values of `weight` (detached); same shape and dtype."""

    def passes(self, weight: Tensor) -> Tensor:
        """How much of the gradient each entry's original gets: all of it, unless a method says otherwise."""
        return torch.ones_like(weight)

    def settle(self, weight: Tensor) -> None:
        """Prepare what is decided once, such as parameters, from the weight now. Nothing, unless a method says so."""
        del weight

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        fixed = weight.detach()
        value = torch.where(fixed == 0, 0.0, self.snap(fixed))
        # The difference is exactly +0: the sum is the value bit for bit, −0 excepted, which becomes +0.
        return value + (weight - fixed) * self.passes(fixed)

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        mode = self.training
        values = self.eval()(weight).detach().cpu().float().numpy()  # what draws while it trains is decided now
        self.train(mode)
        if not isinstance(before, Sparse):
            return _coded(values)
        flat = values.ravel()
        positions = np.flatnonzero(flat)
        return Sparse(values.shape, positions, _coded(flat[positions]))


def settle_each(members: Sequence[Member], fraction: float) -> None:
    """Settle weights at full strength, with what is around their layers; put them to sleep below it."""
    for member in members:
        snapped = member.parametrization
        snapped.settled.fill_(value=fraction >= 1)
        if fraction >= 1:
            snapped.settle(member.weight())
        if snapped.around is not None:
            snapped.around.active.fill_(value=fraction >= 1)


def _coded(values: NDArray[np.float32]) -> Codebook | Dense:
    """The values as codes, or as they are when they are too many for a codebook."""
    used, codes = np.unique(values, return_inverse=True)
    if not used.size:
        used = np.zeros(1, dtype=np.float32)
    if used.size > min(MAX_ENTRIES, max(values.size // 2, 2)):
        return Dense(values)
    fmt = next(name for name in _FORMATS if _holds(name, used))
    return Codebook(codes.reshape(values.shape), used, fmt)


def _holds(fmt: str, values: NDArray[np.float32]) -> bool:
    try:
        return bool(np.array_equal(round_to(values, fmt), values))
    except WeightError:
        return False
