"""Weights in a smaller floating point format: float16, bfloat16 or float8, rounded to nearest, ties to even.

The rounding is weights/formats.py's, from the bits. bfloat16 keeps float32's range at 8 bits of precision (Kalamkar et
al. 2019, "A study of BFLOAT16 for deep learning training"), float16 eleven bits at a range of 6e-8 to 65,504, float8
E4M3 four bits at 2e-3 to 448, float8 E5M2 three at 2e-5 to 57,344 (Micikevicius et al. 2022). A value past the largest
number becomes the largest number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.snapped import Snapped, settle_each
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Dense, Sparse
from lissome.weights.formats import FORMATS, round_to

_LARGEST: Final = {
    "float16": 65504.0,
    "bfloat16": torch.finfo(torch.bfloat16).max,
    "float8_e4m3": 448.0,
    "float8_e5m2": 57344.0,
    "float32": torch.finfo(torch.float32).max,
}


class Rounded(Snapped):
    """The nearest number of the format."""

    method: Format

    def snap(self, weight: Tensor) -> Tensor:
        name = self.method.format
        limited = weight.float().clamp(-_LARGEST[name], _LARGEST[name]).cpu().numpy()
        return torch.from_numpy(round_to(limited, name)).to(weight)

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        values = self(weight).detach().cpu().float().numpy()
        if isinstance(before, Sparse):
            return Sparse(before.shape, before.positions, Dense(values.ravel()[before.positions], self.method.format))
        return Dense(values, self.method.format)


@dataclass(frozen=True)
class Format(Method):
    """Store weights as numbers of `format`: "float16", "bfloat16", "float8_e4m3", "float8_e5m2", or "float32" as they
    are.

    Training goes on beneath. Raises RecipeError for an unknown format.
    """

    family: ClassVar[str] = "quantize"

    format: str = "bfloat16"

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise RecipeError(f"quantize.Format: unknown format {self.format!r}; known: {', '.join(FORMATS)}")

    def parametrize(self, weight: Tensor, where: str) -> Rounded:
        return Rounded(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
