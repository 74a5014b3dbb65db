"""Uniform quantization's two halves: a weight of whole numbers and scales, and an input that goes through codes."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from torch import Tensor

from lissome.compress.around import Codes, Sleeper, through_codes
from lissome.compress.method import Method, Parametrization
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Scaled
from lissome.weights.scaled import whole

SCOPES: Final = ("filter", "tensor")


class Uniform(Parametrization):
    """codes · scale, once decided. Buffers: `codes`, int8 of the weight's shape; `scale`, float32, (filters,) or (1,),
    one for each slice of the first axis or one for all; `settled`, bool.

    The weight beneath does not train any more.
    """

    codes: Tensor
    scale: Tensor
    settled: Tensor

    def __init__(self, method: Method, where: str, weight: Tensor, scope: str) -> None:
        super().__init__(method, where)
        device = weight.device
        scales = torch.ones(weight.shape[0] if scope == "filter" else 1, device=device)
        self.register_buffer("codes", torch.zeros(weight.shape, dtype=torch.int8, device=device))
        self.register_buffer("scale", scales)
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=device))

    @torch.no_grad()
    def put(self, codes: Tensor, scale: Tensor) -> None:
        """Take whole `codes` of the weight's shape and scales."""
        self.codes.copy_(codes)
        self.scale.copy_(scale)
        self.settled.fill_(value=True)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        return self.codes.to(weight.dtype) * self.scale.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1))

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        del weight
        return Scaled(whole(self.codes.cpu().numpy().astype(np.float32), before), self.scale.cpu().numpy())


class Grid(Sleeper):
    """An input through codes 0 … 2^bits − 1, scale · (code − zero). Buffers `scale`, float64, and `zero`, int64."""

    scale: Tensor
    zero: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.top = (1 << bits) - 1
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("zero", torch.zeros((), dtype=torch.int64))

    def put(self, scale: float, zero: int) -> None:
        """Take a grid, and be awake."""
        self.scale.fill_(scale)
        self.zero.fill_(zero)
        self.active.fill_(value=True)

    def before(self, x: Tensor) -> Tensor:
        made: Tensor = through_codes(x, float(self.scale), int(self.zero), 0, self.top)
        return made

    def fixed(self) -> Codes:
        return Codes(float(self.scale), int(self.zero), 0, self.top)


def check_bits(method: Method, bits: int, activation_bits: int) -> None:
    """Raises RecipeError for weights outside 2 to 8 bits and activations outside that and 0, which leaves them be."""
    if not 2 <= bits <= 8:
        raise RecipeError(f"{method.label}(bits={bits}): a weight has 2 to 8 bits")
    if activation_bits and not 2 <= activation_bits <= 8:
        raise RecipeError(
            f"{method.label}(activation_bits={activation_bits}): an activation has 2 to 8 bits, or 0: float32"
        )
