"""Granularity: how large the pieces are that pruning removes (Mao et al., "Exploring the granularity of sparsity in
convolutional neural networks", CVPR workshops 2017, section 3).

A weight is (K, C, R, S): filters, input channels, rows and columns of the window; or (K, C) in a linear layer. Coarser
pieces cost accuracy at the same sparsity, and cost less to name in a file and to skip at run time.

| granularity | a piece | of a linear layer |
|---|---|---|
| "weight" | w[k, c, r, s], fine-grained | w[k, c] |
| "row", "column" | w[k, c, r, :], w[k, c, :, s], the vectors of a kernel | |
| "kernel" | w[k, c] | w[k, c] |
| "filter" | w[k] | a row |
| "channel" | w[:, c] | a column |
| "AxB" | A filters by B input channels, side by side, at one place of the window ("1x4", "16x1") | a block |
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from lissome.errors import RecipeError

_AXES: Final = {
    "weight": (),
    "row": (3,),
    "column": (2,),
    "kernel": (2, 3),
    "filter": (1, 2, 3),
    "channel": (0, 2, 3),
}
_BLOCK: Final = re.compile(r"([1-9]\d{0,2})x([1-9]\d{0,2})")


@dataclass(frozen=True)
class Granularity:
    """One granularity by its name; `fold` and `spread` go from weights to pieces and back.

    Raises RecipeError for an unknown name.
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in _AXES and not _BLOCK.fullmatch(self.name):
            raise RecipeError(
                f"granularity is one of {', '.join(_AXES)}, or a block of filters by inputs such as '1x4', "
                f"not {self.name!r}"
            )

    def refuses(self, shape: tuple[int, ...]) -> str:
        """Why a weight of this shape has no such pieces; empty when it has."""
        least = 1 if self.name == "weight" else 4 if self.name in ("row", "column") else 2
        if len(shape) >= least:
            return ""
        return f"a weight of shape {tuple(shape)} has no pieces of granularity {self.name!r}"

    def fold(self, score: Tensor) -> Tensor:
        """The mean of each piece's entries; (K, C, …) in, one number a piece out."""
        if self._block is None:
            axes = self._axes(score)
            return score.mean(axes, keepdim=True) if axes else score
        (a, b), (k, c) = self._block, score.shape[:2]
        flat = functional.pad(score.reshape(k, c, -1), (0, 0, 0, -c % b, 0, -k % a))
        total = flat.view(flat.shape[0] // a, a, flat.shape[1] // b, b, -1).sum((1, 3))
        return total / self._counts(k, c, a, b).to(total)

    def spread(self, pieces: Tensor, shape: torch.Size) -> Tensor:
        """Each piece's number at each of its entries: the inverse of `fold` where entries of a piece agree."""
        if self._block is None:
            return pieces.expand(shape)
        a, b = self._block
        whole = pieces.repeat_interleave(a, 0).repeat_interleave(b, 1)
        return whole[: shape[0], : shape[1]].reshape(shape)

    @property
    def _block(self) -> tuple[int, int] | None:
        found = _BLOCK.fullmatch(self.name)
        return (int(found[1]), int(found[2])) if found else None

    def _axes(self, score: Tensor) -> tuple[int, ...]:
        """Axes within a piece; a window has one axis where the convolution has one dimension."""
        return tuple(axis for axis in _AXES[self.name] if axis < score.dim())

    @staticmethod
    def _counts(k: int, c: int, a: int, b: int) -> Tensor:
        """Entries of each block: the last ones of a weight may be smaller."""
        rows = torch.full((-(-k // a),), a)
        columns = torch.full((-(-c // b),), b)
        rows[-1], columns[-1] = k - a * (len(rows) - 1), c - b * (len(columns) - 1)
        return (rows[:, None] * columns)[:, :, None]


#: every weight a piece of its own
FINE: Final = Granularity("weight")
