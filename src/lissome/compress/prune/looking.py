"""Pruning that is decided from what layers see: the ground of the calibrated criteria.

`calibrate_` shows a layer its inputs; the method chooses what stays, and finds those weights anew (reconstruct.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from lissome.compress.calibrated import Calibrated
from lissome.compress.method import Member, refuse
from lissome.compress.prune.magnitude import Mask
from lissome.errors import RecipeError


class Looking(Calibrated):
    """A criterion with the option `sparsity`, a share in [0, 1), that `calibrate_` makes decide.

    It has no strength in between: a schedule puts it to sleep, and calibration decides. Raises RecipeError for a
    sparsity out of range and a weight of one dimension.
    """

    family: ClassVar[str] = "prune"

    sparsity: float

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity < 1:
            raise RecipeError(f"{self.label}: sparsity is a share in [0, 1), not {self.sparsity!r}")

    def parametrize(self, weight: Tensor, where: str) -> Mask:
        if weight.dim() < 2:
            raise refuse(self, where, f"a weight of shape {tuple(weight.shape)} has no inputs", "Leave biases out")
        return Mask(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        """Sleep at no strength; what calibration decided comes back only by calibrating again."""
        if fraction <= 0:
            for member in members:
                member.parametrization.mask.fill_(value=True)

    def decide_bias(self, member: Member, target: Tensor, importance: Tensor) -> None:
        """Never asked: biases are refused."""
