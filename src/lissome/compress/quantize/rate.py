"""What a code will cost in the file: an estimate of the packer's adaptive context model, table by table.

Coder *small* foresees an element from its row, its column and its neighbours (docs/coder-small.md). What these say is
above all how large codes are around it, so the estimate sorts elements into classes by the mean magnitude of their row
times that of their column, and counts the codes of each class: −log2 of a code's share is its price. A choice of codes
gives prices, prices give a better choice: two or three rounds settle it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

CLASSES = 12
#: weight of the tensor's own distribution in that of each class, and of a smooth one in that of the tensor, in counts
SHARED, SMOOTH = 24.0, 2.0


@dataclass(frozen=True)
class Prices:
    """Bits of every code at every place. classes: (rows, columns), int64. table: (classes, 2 · top + 1), float32."""

    classes: Tensor
    table: Tensor

    @property
    def top(self) -> int:
        """Largest magnitude of a code that has a price."""
        return self.table.shape[1] // 2

    def of(self, codes: Tensor, columns: Tensor) -> Tensor:
        """Bits of integer `codes` (..., rows, n) in these columns, (n,) or (rows, n)."""
        classes = self.classes[:, columns] if columns.dim() == 1 else self.classes.gather(1, columns)
        return self.table[classes, codes + self.top]

    def total(self, codes: Tensor) -> float:
        """Bits of a whole tensor of codes (rows, columns)."""
        return float(self.table[self.classes, codes + self.top].sum(dtype=torch.float64))


def prices(codes: Tensor, top: int) -> Prices:
    """The prices that follow from `codes`, integers (rows, columns) of magnitude at most `top`."""
    size = codes.abs().float()
    mean = size.mean() + 1e-3
    rows = (size.sum(1, keepdim=True) + mean) / (size.shape[1] + 1)
    columns = (size.sum(0, keepdim=True) + mean) / (size.shape[0] + 1)
    expected = (rows * columns / mean).flatten()
    count = max(1, min(CLASSES, codes.numel() // 100))
    ranks = torch.empty_like(expected, dtype=torch.int64)
    ranks[expected.argsort(stable=True)] = torch.arange(expected.numel(), device=codes.device)
    classes = (ranks * count // expected.numel()).view(codes.shape)
    symbols = codes + top
    width = 2 * top + 1
    counts = torch.bincount((classes * width + symbols).flatten(), minlength=count * width).view(count, width).double()
    smooth = torch.exp(-torch.arange(-top, top + 1, device=codes.device).abs().double() / float(mean + 1.0))
    own = counts.sum(0) + SMOOTH * smooth / smooth.sum()
    chance = counts + SHARED * own / own.sum()
    table = -torch.log2(chance / chance.sum(1, keepdim=True))
    return Prices(classes, table.float())
