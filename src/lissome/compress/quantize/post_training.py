"""Uniform affine quantization after training: weights and layer inputs of 2 to 8 bits, from a few hundred inputs.

x ≈ scale · (code − zero). Weights are symmetric, one scale a filter or a tensor; inputs have one scale and a zero. See
Nagel et al., "A white paper on neural network quantization" (2021), section 3. Where ranges come from is ranges.py,
which neighbour a weight is rounded to rounding.py. A bias under the same rule takes up what the mean output lacks (bias
correction: Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section
4.2, with the means measured); `compress.equalise` makes ranges equal first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from lissome.compress.calibrated import Calibrated, Seen
from lissome.compress.method import Member, Parametrization
from lissome.compress.quantize import ranges
from lissome.compress.quantize.bits import allocate
from lissome.compress.quantize.moments import moments
from lissome.compress.quantize.ranges import Observed
from lissome.compress.quantize.rounding import ROUNDINGS, Rows, rounded
from lissome.compress.quantize.uniform import SCOPES, Grid, Uniform, check_bits
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Dense


class Weight(Uniform):
    """A weight, and the grid of its layer's inputs. Buffer `bits`: int64, as many as the layer has been given."""

    bits: Tensor

    def __init__(self, method: PostTraining, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight, method.scope)
        self.register_buffer("bits", torch.tensor(method.bits, device=weight.device))
        self.around = Grid(method.activation_bits).to(weight.device) if method.activation_bits else None


class Corrected(Parametrization):
    """A bias moved by `shift`, float64 of its shape; buffer `settled`, bool."""

    shift: Tensor
    settled: Tensor

    def __init__(self, method: PostTraining, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.register_buffer("shift", torch.zeros_like(weight, dtype=torch.float64))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        return (weight.double() + self.shift).to(weight.dtype) if self.settled else weight

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        return Dense(self(weight).detach().cpu().float().numpy()) if self.settled else before


@dataclass(frozen=True)
class PostTraining(Calibrated):
    """Weights of `bits` bits and layer inputs of `activation_bits` (0: as they are), without training.

    bits, activation_bits: 2 to 8. weights: how their ranges are found, "mse" or "minmax"; activations: "mse", "minmax",
    "percentile" or "entropy" (ranges.py). scope: of a weight's scale, "filter" or "tensor". rounding: "nearest",
    "adaround", "gptq" or "obq" (rounding.py). steps: of AdaRound's descent. budget: None, or the mean bits of a weight
    over the layers under the rule, which then get from 2 to `bits` each, those that matter most the most (bits.py).
    `api.to_int8` takes `bits`, `weights` and `activations` too, for whole networks.

    Sleeps until `calibrate_` shows it inputs. Raises RecipeError for options outside these.
    """

    family: ClassVar[str] = "quantize"

    bits: int = 8
    weights: str = "mse"
    activations: str = "mse"
    activation_bits: int = 8
    scope: str = "filter"
    rounding: str = "nearest"
    steps: int = 1000
    budget: float | None = None

    def __post_init__(self) -> None:
        check_bits(self, self.bits, self.activation_bits)
        chosen = {
            "weights": (self.weights, ranges.WEIGHT_METHODS),
            "activations": (self.activations, ranges.METHODS),
            "scope": (self.scope, SCOPES),
            "rounding": (self.rounding, ROUNDINGS),
        }
        for what, (value, known) in chosen.items():
            if value not in known:
                raise RecipeError(f"PostTraining({what}={value!r}): known are {', '.join(known)}")
        if self.steps < 1:
            raise RecipeError(f"PostTraining(steps={self.steps}): 1 or more")
        if self.budget is not None and not 2 <= self.budget <= self.bits:
            raise RecipeError(f"PostTraining(budget={self.budget}): 2 to bits, which is {self.bits}")

    @property
    def levels(self) -> int:
        """The largest code of a weight; the least is its negative."""
        return _top(self.bits)

    @property
    def weighs(self) -> bool:
        """Whether bits are shared out over the layers."""
        return self.budget is not None

    def parametrize(self, weight: Tensor, where: str) -> Parametrization:
        return Corrected(self, where, weight) if weight.dim() < 2 else Weight(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        """Sleep below full strength; what calibration decided comes back only by calibrating again."""
        for member in members:
            if fraction < 1:
                member.parametrization.settled.fill_(value=False)
                if member.parametrization.around is not None:
                    member.parametrization.around.active.fill_(value=False)

    def see(self, member: Member, inputs: Sequence[Tensor]) -> None:
        if member.parametrization.around is None:
            return
        observed, arrays = Observed(), [x.detach().cpu().float().numpy() for x in inputs]
        for x in arrays:
            observed.see_ends(x)
        for x in arrays:
            observed.see(x)
        levels = (1 << self.activation_bits) - 1
        member.parametrization.around.put(*ranges.affine(ranges.choose(observed, self.activations, levels), levels))

    @torch.no_grad()
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        part: Weight = member.parametrization
        weight = member.weight()
        rows, scale = self._rows(weight, seen, int(part.bits), centred=centred)
        codes = rounded(rows, self.rounding, self.steps)
        part.put(codes.reshape(weight.shape).to(weight.device), scale.to(weight.device))

    def _rows(self, weight: Tensor, seen: Seen, bits: int, *, centred: bool) -> tuple[Rows, Tensor]:
        groups, columns = seen.mean.shape
        top, flat = _top(bits), weight.detach().cpu().float().flatten(1)
        given = flat if self.scope == "filter" else flat.reshape(1, -1)
        scale = torch.from_numpy(ranges.symmetric(given.numpy(), top, self.weights))
        steps = scale.double().expand(len(flat)).reshape(groups, -1, 1)
        gram, cross = moments(seen, centred=centred)
        numbers = flat.double().reshape(groups, -1, columns)
        return Rows(numbers, steps, gram, cross, numbers == 0, top), scale

    def weigh(self, member: Member, seen: Seen) -> Mapping[int, float]:
        """What each number of bits costs: the importance of an output times the error that rounding gives it."""
        found = {}
        for bits in range(2, self.bits + 1):
            rows, _ = self._rows(member.weight(), seen, bits, centred=False)
            error = rows.codes((rows.weight / rows.scale).round()) * rows.scale - rows.weight
            power = ((error @ rows.gram) * error).sum(2).flatten()
            found[bits] = float((seen.importance * power).sum())
        return found

    def assign(self, weighed: Sequence[tuple[Member, Mapping[int, float]]]) -> None:
        sizes = [member.weight().numel() for member, _ in weighed]
        budget = int((self.budget or self.bits) * sum(sizes))
        chosen = allocate([costs for _, costs in weighed], sizes, budget)
        for (member, _), bits in zip(weighed, chosen, strict=True):
            member.parametrization.bits.fill_(bits)

    def decide_bias(self, member: Member, target: Tensor, importance: Tensor) -> None:
        del importance
        member.parametrization.shift.copy_(target - member.weight().double())
        member.parametrization.settled.fill_(value=True)


def _top(bits: int) -> int:
    return (1 << (bits - 1)) - 1
