"""The ground of criteria that remove a share of the pieces: their two options, checked, and the mask on a weight."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from lissome.compress.method import Method
from lissome.compress.prune.granularity import Granularity
from lissome.compress.prune.magnitude import Mask, check_pieces
from lissome.errors import RecipeError


class Ranked(Method):
    """A criterion with the options `sparsity`, a share in [0, 1), and `granularity`; its `settle` ranks the pieces.

    Raises RecipeError for a sparsity out of range, an unknown granularity, and a weight that has no such pieces.
    """

    family: ClassVar[str] = "prune"

    sparsity: float
    granularity: str

    def __post_init__(self) -> None:
        Granularity(self.granularity)
        if not 0 <= self.sparsity < 1:
            raise RecipeError(f"{self.label}: sparsity is a share in [0, 1), not {self.sparsity!r}")

    @property
    def pieces(self) -> Granularity:
        """What goes in one piece."""
        return Granularity(self.granularity)

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        check_pieces(self, self.granularity, weight, where)
        return self.mask(weight, where)

    def mask(self, weight: Tensor, where: str) -> Mask:
        """The mask that this criterion needs on a weight."""
        return Mask(self, where, weight)
