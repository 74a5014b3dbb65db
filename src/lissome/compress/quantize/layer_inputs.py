"""What goes into a layer, on a grid that the largest number seen sets: fixed point, or powers of a base.

The format is the layer's own and follows from its statistics, as a weight's does (Courbariaux, Bengio and David 2015,
"Training deep neural networks with low precision multiplications", section 4; Gysel, Motamedi and Ghiasi 2016,
"Ristretto", section 3.2; Miyashita, Lee and Murmann 2016, "Convolutional neural networks using logarithmic data
representation", section 3.2). The largest magnitude is that of the first batch, and of what training has shown since.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Final

import torch
from torch import Tensor

from lissome.compress.around import Around, Sleeper
from lissome.errors import DataError

LOG_2: Final = math.log(2.0)


def power_above(largest: float) -> int:
    """⌊log2 largest⌋ + 1: the bits before the point. Of 0 that of 1."""
    return math.frexp(largest)[1] if largest > 0 else 1


class FixedGrid(Around):
    """Numbers k · 2^−f, −2^(bits − 1) ≤ k < 2^(bits − 1): to nearest, ties to even; what is larger becomes the largest.

    gradient_bits: 0, or in training the gradient of the layer's output becomes such numbers too, rounded up by the
    chance that the fraction says, f by its own largest magnitude.
    """

    def __init__(self, bits: int, fraction_bits: int, gradient_bits: int = 0) -> None:
        super().__init__()
        self.bits, self.fraction_bits, self.gradient_bits = bits, fraction_bits, gradient_bits

    def before(self, x: Tensor) -> Tensor:
        if not self.bits:
            return x
        scale, half = 2.0**self.fraction_bits, 2.0 ** (self.bits - 1)
        value = torch.clamp(torch.round(x * scale), -half, half - 1) * (1 / scale)
        return _straight_through(x, value)

    def after(self, x: Tensor, y: Tensor, layer: object) -> Tensor:
        del x, layer
        if self.gradient_bits and self.training and y.requires_grad:
            made: Tensor = _Coarse.apply(y, self.gradient_bits)  # type: ignore[no-untyped-call]
            return made
        return y


class LogGrid(Around):
    """Numbers ± b^e and 0, e = round(log_b |x|), no less than the 2^(bits − 1) − 1 exponents at and below `top` allow.

    Equation 5 of the paper: what is smaller than the least power becomes that power; 0 stays 0. pace: log2 of b.
    """

    def __init__(self, bits: int, pace: float, top: int) -> None:
        super().__init__()
        self.bits, self.pace, self.top = bits, pace, top

    def before(self, x: Tensor) -> Tensor:
        least = self.top - (2 ** (self.bits - 1) - 2)
        # A number below every power has the least one: so has 1e-30, whose logarithm is one.
        exponents = torch.round(torch.log(torch.clamp(torch.abs(x), min=1e-30)) * (1 / (LOG_2 * self.pace)))
        value = torch.sign(x) * torch.exp(torch.clamp(exponents, least, self.top) * (LOG_2 * self.pace))
        return _straight_through(x, value)


class Followed(Sleeper):
    """A grid that follows the largest magnitude among a layer's inputs. Buffer `largest`: float64, negative at first.

    It stands still in evaluation mode once a batch has been seen. Raises DataError for inputs that are not finite.
    """

    largest: Tensor

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.register_buffer("largest", torch.full((), -1.0, dtype=torch.float64))

    @abstractmethod
    def grid(self) -> Around:
        """The grid as `largest` has it now."""

    def before(self, x: Tensor) -> Tensor:
        if self.training or self.largest < 0:
            seen = float(x.detach().abs().amax()) if x.numel() else 0.0
            if not math.isfinite(seen):
                raise DataError(
                    f"an input of the layer of {self.where!r} is NaN or infinite; mend what comes before it"
                )
            self.largest.fill_(max(seen, float(self.largest)))
        return self.grid().before(x)

    def fixed(self) -> Around:
        return self.grid()


class FollowedFixed(Followed):
    """Fixed point; bits 0: inputs stay as they are, and only gradients are coarse."""

    def __init__(self, where: str, bits: int, gradient_bits: int) -> None:
        super().__init__(where)
        self.bits, self.gradient_bits = bits, gradient_bits

    def grid(self) -> FixedGrid:
        made = FixedGrid(self.bits, self.bits - 1 - power_above(float(self.largest)), self.gradient_bits)
        made.training = self.training
        return made

    def after(self, x: Tensor, y: Tensor, layer: object) -> Tensor:
        return self.grid().after(x, y, layer)

    def fixed(self) -> Around:
        return FixedGrid(self.bits, self.grid().fraction_bits)


class FollowedLog(Followed):
    """Powers of a base. pace: its log2."""

    def __init__(self, where: str, bits: int, pace: float) -> None:
        super().__init__(where)
        self.bits, self.pace = bits, pace

    def grid(self) -> LogGrid:
        largest = float(self.largest)
        return LogGrid(self.bits, self.pace, round(math.log2(largest) / self.pace) if largest > 0 else 0)


def _straight_through(x: Tensor, value: Tensor) -> Tensor:
    """`value`, whose gradient goes to x. What is exported needs none, and is the value alone."""
    return value.detach() + (x - x.detach()) if x.requires_grad else value


class _Coarse(torch.autograd.Function):
    """The identity, whose gradient becomes fixed point of few bits, stochastically rounded."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, y: Tensor, bits: int) -> Tensor:
        ctx.bits = bits  # type: ignore[attr-defined]
        return y.view_as(y)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,), bits = gradients, ctx.bits  # type: ignore[attr-defined]
        scale = 2.0 ** (bits - 1 - power_above(float(gradient.abs().amax())))
        codes = torch.floor(gradient * scale + torch.rand_like(gradient))
        return codes.clamp(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) / scale, None
