"""Learned step size quantization: weights and layer inputs on grids whose steps are trained (Esser et al., ICLR 2020).

v̂ = round(clip(v / s, −Qn, Qp)) · s (equations 1 and 2). The gradient passes to v where it is not clipped, and to s as
round(v / s) − v / s there, −Qn or Qp where it is (equation 3), times 1 / √(N · Qp), N the numbers that share the step
(section 2.2). Steps begin at 2 ⟨|v|⟩ / √Qp (section 2.1), those of inputs with the first batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from lissome.compress.around import Codes, Sleeper
from lissome.compress.method import Member, Method, Parametrization
from lissome.compress.quantize.uniform import SCOPES, check_bits
from lissome.compress.snapped import settle_each
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Scaled
from lissome.weights.scaled import whole

#: no step is less, so that what training drives to 0 or below stays a step
LEAST = 2.0**-40


class _Stepped(torch.autograd.Function):
    """clip(v / s, low, high), rounded, times s; gradients as equation 3 says, that of s times `factor`."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, s: Tensor, ends: tuple[int, int], factor: float) -> Tensor:
        low, high = ends
        ratio = v / s
        codes = ratio.clamp(low, high).round()
        inside = (ratio >= low) & (ratio <= high)
        ctx.save_for_backward(inside, torch.where(inside, codes - ratio, codes))
        ctx.factor, ctx.shape = factor, s.shape
        return codes * s + 0.0  # −0 becomes +0

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        inside, slope = ctx.saved_tensors
        to_step = (gradients[0] * slope).sum_to_size(ctx.shape) * ctx.factor
        return gradients[0] * inside, to_step, None, None


def stepped(v: Tensor, s: Tensor, low: int, high: int, factor: float) -> Tensor:
    """V on the multiples low … high of s, which broadcasts over it."""
    made: Tensor = _Stepped.apply(v, s, (low, high), factor)  # type: ignore[no-untyped-call]
    return made


class StepOfInputs(Sleeper):
    """A layer's inputs. Parameter `step`: scalar. Buffers: `begun`, bool, whether a batch has been seen; `signed`,
    bool, whether it had negative numbers: then codes are −2^(b−1) … 2^(b−1) − 1, else 0 … 2^b − 1.
    """

    begun: Tensor
    signed: Tensor

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.step = nn.Parameter(torch.ones(()))
        self.register_buffer("begun", torch.zeros((), dtype=torch.bool))
        self.register_buffer("signed", torch.zeros((), dtype=torch.bool))

    @property
    def ends(self) -> tuple[int, int]:
        """The least and the largest code."""
        half = 1 << (self.bits - 1)
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def before(self, x: Tensor) -> Tensor:
        if not self.begun:
            self._begin(x.detach())
        low, high = self.ends
        factor = 1 / math.sqrt(max(x[:1].numel(), 1) * high)
        return stepped(x, self.step.abs().clamp(min=LEAST).to(x.dtype), low, high, factor)

    @torch.no_grad()
    def _begin(self, x: Tensor) -> None:
        self.signed.fill_(value=bool((x < 0).any()))
        self.step.fill_(2 * float(x.abs().mean()) / math.sqrt(self.ends[1]))
        self.begun.fill_(value=True)

    def fixed(self) -> Codes:
        return Codes(max(abs(float(self.step.detach())), LEAST), 0, *self.ends)


class LearnedSteps(Parametrization):
    """A weight. Parameter `step`: (filters,) or (1,). Buffer `settled`: bool."""

    method: LSQ
    settled: Tensor

    def __init__(self, method: LSQ, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        count = weight.shape[0] if method.scope == "filter" else 1
        self.step = nn.Parameter(torch.ones(count, dtype=weight.dtype, device=weight.device))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool, device=weight.device))
        if method.activation_bits:
            self.around = StepOfInputs(method.activation_bits).to(weight.device)

    @torch.no_grad()
    def settle(self, weight: Tensor) -> None:
        """Begin from the weight now."""
        rows = weight.reshape(len(self.step), -1)
        self.step.copy_(2 * rows.abs().mean(1) / math.sqrt(self._ends[1]))

    @property
    def _ends(self) -> tuple[int, int]:
        half = 1 << (self.method.bits - 1)
        return -half, half - 1

    @property
    def _steps(self) -> Tensor:
        return self.step.abs().clamp(min=LEAST)

    def forward(self, weight: Tensor) -> Tensor:
        if not self.settled:
            return weight
        low, high = self._ends
        spread = self._steps.view(-1, *[1] * (weight.dim() - 1))
        return stepped(weight, spread, low, high, 1 / math.sqrt(weight.numel() / len(self.step) * high))

    @torch.no_grad()
    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        spread = self._steps.view(-1, *[1] * (weight.dim() - 1))
        codes = (weight / spread).clamp(*self._ends).round().cpu().float().numpy().astype(np.float32)
        return Scaled(whole(codes, before), self._steps.cpu().float().numpy())


@dataclass(frozen=True)
class LSQ(Method):
    """Train with weights of `bits` bits and layer inputs of `activation_bits` (0: as they are), 2 to 8, steps learned.

    scope: of a weight's step, "tensor" as in the paper, or "filter". The paper leaves the first and the last layer 8
    bits. Build the optimizer after `compress_`, and train before evaluating: the steps of inputs begin with the first
    batch. Raises RecipeError for options outside these, and on weights of one dimension.
    """

    family: ClassVar[str] = "quantize"

    bits: int = 4
    activation_bits: int = 8
    scope: str = "tensor"

    def __post_init__(self) -> None:
        check_bits(self, self.bits, self.activation_bits)
        if self.scope not in SCOPES:
            raise RecipeError(f"quantize.LSQ: unknown scope {self.scope!r}; known: {', '.join(SCOPES)}")

    def parametrize(self, weight: Tensor, where: str) -> LearnedSteps:
        return LearnedSteps(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
