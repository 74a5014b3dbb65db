"""Dynamic fixed point and block floating point: integers of few bits times a power of two.

Dynamic fixed point (Courbariaux, Bengio and David 2015, "Training deep neural networks with low precision
multiplications", section 4; Gysel, Motamedi and Ghiasi 2016, "Ristretto", section 3.2): a layer's numbers are
k · 2^−f with k of `bits` bits in two's complement, and f chosen for the layer so that its largest magnitude fits.
Block floating point is the same for every block of neighbouring weights of a filter.

What goes into a layer has a format of its own, and so have gradients (`layer_inputs.py`).

A sum of N products of b-bit numbers needs 2b + log2(N) bits (`accumulator_bits`; `accumulators` tells it by layer).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lissome.compress.method import Member, Method
from lissome.compress.quantize.layer_inputs import FollowedFixed
from lissome.compress.snapped import Snapped, settle_each
from lissome.errors import RecipeError

ROUNDINGS = ("nearest", "stochastic")
ACCUMULATOR_BITS = 32


class FixedPoint(Snapped):
    """k · 2^−f, −2^(bits − 1) ≤ k < 2^(bits − 1), f by the largest magnitude of the layer or block."""

    method: DynamicFixedPoint

    def __init__(self, method: DynamicFixedPoint, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        if method.activation_bits or method.gradient_bits:
            self.around = FollowedFixed(where, method.activation_bits, method.gradient_bits).to(weight.device)

    def snap(self, weight: Tensor) -> Tensor:
        bits = self.method.bits
        scale = torch.exp2(self.fraction_bits(weight).double())
        scaled = weight.double() * scale
        if self.method.rounding == "stochastic" and self.training:
            codes = torch.floor(scaled + torch.rand_like(scaled))
        else:
            codes = torch.round(scaled)
        return (codes.clamp(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) / scale).to(weight.dtype)

    def fraction_bits(self, weight: Tensor) -> Tensor:
        """f, any whole number, to broadcast over the weight: bits − 1 − (⌊log2 max |w|⌋ + 1).

        A layer or block of zeros has that of 1.
        """
        largest = self._largest(weight.abs())
        # frexp is exact where a logarithm could round across a power of two.
        exponent = torch.frexp(largest).exponent
        return self.method.bits - 1 - torch.where(largest > 0, exponent, 1)

    def _largest(self, magnitude: Tensor) -> Tensor:
        block = self.method.block
        if block is None:
            return magnitude.max()
        rows = magnitude.flatten(1) if magnitude.dim() > 1 else magnitude.view(1, -1)
        columns = rows.shape[1]
        padded = F.pad(rows, (0, -columns % block))
        largest = padded.view(len(rows), -1, block).amax(2).repeat_interleave(block, 1)
        return largest[:, :columns].reshape(magnitude.shape)


@dataclass(frozen=True)
class DynamicFixedPoint(Method):
    """A layer's weights become integers of `bits` bits, 2 to 16, times a power of two that fits the layer.

    activation_bits: of what goes into the layer, 2 to 16, 0: as it is; the first batch sets its format, and training
    widens it. gradient_bits: of the gradient of the layer's output, stochastically rounded, likewise.
    rounding: "nearest" (ties to even), or "stochastic" while training: up with the chance that the fraction says.
    block: None, or block floating point: every `block` neighbouring weights of a filter have a power of their own.
    Raises RecipeError for options outside these ranges.
    """

    family: ClassVar[str] = "quantize"

    bits: int = 8
    rounding: str = "nearest"
    block: int | None = None
    activation_bits: int = 0
    gradient_bits: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 16:
            raise RecipeError(f"quantize.DynamicFixedPoint: bits is 2 to 16, not {self.bits!r}")
        for name in ("activation_bits", "gradient_bits"):
            bits = getattr(self, name)
            if bits != 0 and not 2 <= bits <= 16:
                raise RecipeError(f"quantize.DynamicFixedPoint: {name} is 2 to 16, or 0 for none, not {bits!r}")
        if self.rounding not in ROUNDINGS:
            raise RecipeError(
                f"quantize.DynamicFixedPoint: unknown rounding {self.rounding!r}; known: {', '.join(ROUNDINGS)}"
            )
        if self.block is not None and self.block < 1:
            raise RecipeError(f"quantize.DynamicFixedPoint: block is 1 or more, not {self.block!r}")

    def parametrize(self, weight: Tensor, where: str) -> FixedPoint:
        return FixedPoint(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)


def accumulator_bits(bits: int, products: int, other_bits: int | None = None) -> int:
    """Bits that hold the sum of `products` products of two signed numbers of `bits` bits: 2 bits + ⌈log2 products⌉.

    other_bits: of the other factor, where it has not as many.
    """
    return bits + (bits if other_bits is None else other_bits) + math.ceil(math.log2(products))


@dataclass(frozen=True)
class Accumulator:
    """What the sums of a layer need. fraction bits: f of k · 2^−f. products: of one output, C · R · S."""

    where: str
    weight_fraction_bits: int
    activation_fraction_bits: int
    products: int
    bits: int

    @property
    def overflows(self) -> bool:
        """Whether the largest sum that the formats allow does not fit into 32 bits."""
        return self.bits > ACCUMULATOR_BITS


def accumulators(module: nn.Module) -> list[Accumulator]:
    """A row for each layer whose weights and inputs are both in dynamic fixed point, in the order of `module`.

    Raises RecipeError when there is none, or one has seen no input yet. A block's format is that of its largest number.
    """
    from lissome.compress.apply import groups  # which imports the registry of methods

    found = []
    for member in (member for _, members in groups(module) for member in members):
        fixed, weight = member.parametrization, member.weight()
        if not isinstance(fixed, FixedPoint) or not fixed.method.activation_bits:
            continue
        around: FollowedFixed = fixed.around  # type: ignore[assignment]
        if around.largest < 0:
            raise RecipeError(f"the layer of {fixed.where!r} has seen no input yet; run the model on some images first")
        method, products = fixed.method, weight[0].numel()
        bits = accumulator_bits(method.bits, products, method.activation_bits)
        own = int(fixed.fraction_bits(weight.detach()).min())
        found.append(Accumulator(fixed.where, own, around.grid().fraction_bits, products, bits))
    if not found:
        raise RecipeError("no layer has both weights and inputs in dynamic fixed point; see activation_bits")
    return found
