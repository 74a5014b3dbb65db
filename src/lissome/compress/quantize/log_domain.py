"""Log domain: signs and powers, so that a product is a shift (Miyashita, Lee and Murmann 2016, LogNet, section 3).

A weight becomes sign(w) · b^e with e = round(log_b |w|), b two or its square root, clipped to the 2^(bits − 1) − 1
exponents at and below that of the layer's largest weight; what rounds to less is 0. So steps are fine where weights are
many, near zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lissome.compress.method import Member, Method
from lissome.compress.quantize.layer_inputs import FollowedLog
from lissome.compress.snapped import Snapped, settle_each
from lissome.errors import RecipeError

BASES: Final = {"2": 1.0, "sqrt2": 0.5}


class Powers(Snapped):
    """± b^e and 0."""

    method: Log

    def __init__(self, method: Log, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        if method.activation_bits:
            self.around = FollowedLog(where, method.activation_bits, BASES[method.base]).to(weight.device)

    def snap(self, weight: Tensor) -> Tensor:
        pace = BASES[self.method.base]  # log2 of the base
        magnitude = weight.double().abs()
        exponents = torch.round(torch.log2(magnitude) / pace)
        top = torch.round(torch.log2(magnitude.max()) / pace)
        lowest = top - (2 ** (self.method.bits - 1) - 2)
        values = weight.sign() * torch.exp2(exponents.clamp(min=lowest) * pace).to(weight.dtype)
        return torch.where(exponents >= lowest, values, 0.0)


@dataclass(frozen=True)
class Log(Method):
    """A layer's weights become a sign and a power of `base`, "2" or "sqrt2", in `bits` bits, 2 to 8, or 0.

    activation_bits: of what goes into the layer, 2 to 8, 0: as it is; the first batch sets its largest power, and
    training raises it. With both, a product is a shift.
    Raises RecipeError for options outside these.
    """

    family: ClassVar[str] = "quantize"

    bits: int = 4
    base: str = "2"
    activation_bits: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise RecipeError(f"quantize.Log: bits is 2 to 8, not {self.bits!r}")
        if self.activation_bits != 0 and not 2 <= self.activation_bits <= 8:
            raise RecipeError(f"quantize.Log: activation_bits is 2 to 8, or 0 for none, not {self.activation_bits!r}")
        if self.base not in BASES:
            raise RecipeError(f"quantize.Log: unknown base {self.base!r}; known: {', '.join(BASES)}")

    def parametrize(self, weight: Tensor, where: str) -> Powers:
        return Powers(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
