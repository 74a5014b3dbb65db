"""Quantization-aware training by ranges: fake quantization and straight-through gradients (Jacob et al., CVPR 2018).

In the forward pass weights and layer inputs go through codes, in the backward pass the rounding is not there (section
3). A weight's range is that of its largest magnitude now; an input's are moving averages of the least and the largest
number of each batch (section 3.1), which stand still in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lissome.compress.method import Member, Method, Parametrization
from lissome.compress.quantize import ranges
from lissome.compress.quantize.lsq import LEAST
from lissome.compress.quantize.uniform import SCOPES, Grid, check_bits
from lissome.compress.snapped import settle_each
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Scaled
from lissome.weights.scaled import whole


class Moving(Grid):
    """The grid of a layer's inputs. Buffers `low` and `high`: float64, averages so far; `begun`: bool."""

    low: Tensor
    high: Tensor
    begun: Tensor

    def __init__(self, bits: int, decay: float) -> None:
        super().__init__(bits)
        self.decay = decay
        self.register_buffer("low", torch.zeros((), dtype=torch.float64))
        self.register_buffer("high", torch.zeros((), dtype=torch.float64))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))

    def before(self, x: Tensor) -> Tensor:
        if self.training or not self.begun:
            self._look(x.detach())
        return super().before(x)

    @torch.no_grad()
    def _look(self, x: Tensor) -> None:
        keep = self.decay if self.begun else 0.0
        for average, end in ((self.low, x.min().clamp(max=0)), (self.high, x.max().clamp(min=0))):
            average.copy_(keep * average + (1 - keep) * end.double())
        self.begun.fill_(value=True)
        self.put(*ranges.affine((float(self.low), float(self.high)), self.top))


class Rounded(Parametrization):
    """A weight as round(w / s) · s, s that of its largest magnitude now. Buffer `settled`: bool."""

    method: FakeQuantized
    settled: Tensor

    def __init__(self, method: FakeQuantized, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=weight.device))
        if method.activation_bits:
            self.around = Moving(method.activation_bits, method.decay).to(weight.device)

    def settle(self, weight: Tensor) -> None:
        """Nothing: ranges are found anew each time."""
        del weight

    @torch.no_grad()
    def _codes(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        top = (1 << (self.method.bits - 1)) - 1
        count = weight.shape[0] if self.method.scope == "filter" else 1
        scale = (weight.reshape(count, -1).abs().amax(1) / top).clamp(min=LEAST)
        return (weight / scale.view(-1, *[1] * (weight.dim() - 1))).round().clamp(-top, top), scale

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        codes, scale = self._codes(weight)
        value = codes * scale.view(-1, *[1] * (weight.dim() - 1))
        # The difference is exactly +0: the sum is the value bit for bit, −0 excepted, which becomes +0.
        return value + (weight - weight.detach())

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        codes, scale = self._codes(weight)
        return Scaled(whole(codes.cpu().float().numpy().astype(np.float32), before), scale.cpu().float().numpy())


@dataclass(frozen=True)
class FakeQuantized(Method):
    """Train with weights of `bits` bits and layer inputs of `activation_bits` (0: as they are), 2 to 8.

    scope: of a weight's scale, "filter" or "tensor". decay: of the moving averages of input ranges, in [0, 1).
    Train before evaluating: ranges of inputs begin with the first batch. Raises RecipeError for options outside these.
    """

    family: ClassVar[str] = "quantize"

    bits: int = 8
    activation_bits: int = 8
    scope: str = "filter"
    decay: float = 0.99

    def __post_init__(self) -> None:
        check_bits(self, self.bits, self.activation_bits)
        if self.scope not in SCOPES:
            raise RecipeError(f"quantize.FakeQuantized: unknown scope {self.scope!r}; known: {', '.join(SCOPES)}")
        if not 0 <= self.decay < 1:
            raise RecipeError(f"quantize.FakeQuantized: decay is in [0, 1), not {self.decay!r}")

    def parametrize(self, weight: Tensor, where: str) -> Rounded:
        return Rounded(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
