"""Rate-distortion-optimised quantization: each code by what it loses and what it costs in the file.

A weight becomes a multiple of its layer's step, and which one is decided by distortion + λ · bits (as DeepCABAC does:
Wiedemann et al., IEEE JSTSP 2020, section IV). The bits are an estimate of the packer's adaptive context model
(rate.py), the distortion is that of the layer's output, and the rounding of a weight is answered by those still to
come (second_order.py). λ is the only number to choose: it is the exchange rate of the whole network, so that each layer
gets its step, and each weight its zero, from what they cost and bring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch import Tensor

from lissome.compress.calibrated import Calibrated, Seen
from lissome.compress.method import Member, Parametrization, refuse
from lissome.compress.quantize.moments import moments
from lissome.compress.quantize.second_order import Problem, inverse_factor, solve, step_for
from lissome.compress.share.kmeans import Shared
from lissome.errors import RecipeError
from lissome.weights import CodedWeight, Dense
from lissome.weights.formats import ITEMSIZE, round_to

#: largest magnitude of a code: with the zero, a codebook of at most 255 entries
TOP: Final = 127
#: steps whose multiples up to TOP are exact in float16
_SMALLEST, _LARGEST = 2.0**-21, 512.0
#: formats that a bias may take, the cheapest first
BIAS_FORMATS: Final = ("float8_e4m3", "bfloat16", "float16", "float32")


class Grid(Shared):
    """Multiples of a step, as a codebook: of the codes −127 … 127 those that occur, none for 0. Trained like any other
    codebook once it is decided.
    """

    @torch.no_grad()
    def put(self, codes: Tensor, step: float) -> None:
        """Take integer `codes` of the weight's shape for multiples of `step`."""
        used = torch.unique(codes[codes != 0])
        ranks = torch.searchsorted(used, codes) + 1 if used.numel() else torch.zeros_like(codes)
        self.codes.copy_(torch.where(codes == 0, 0, ranks))
        self.codebook.zero_()
        self.codebook[: used.numel()] = used.to(self.codebook.dtype) * step
        self.settled.fill_(value=True)


class Rounded(Parametrization):
    """A bias moved by `shift` and rounded to one of BIAS_FORMATS. Buffers: `shift` of its shape, float64; `kept`, bool,
    False where it stays 0; `form`, int64, which format, or −1 while nothing is decided.
    """

    shift: Tensor
    kept: Tensor
    form: Tensor

    def __init__(self, method: RateDistortion, where: str, weight: Tensor) -> None:
        super().__init__(method, where)
        self.register_buffer("shift", torch.zeros_like(weight, dtype=torch.float64))
        self.register_buffer("kept", torch.ones_like(weight, dtype=torch.bool))
        self.register_buffer("form", torch.full((), -1, dtype=torch.int64, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        if self.form < 0:
            return weight
        moved = (weight.detach().double() + self.shift) * self.kept
        rounded = _rounded(moved, BIAS_FORMATS[int(self.form)]).to(weight.dtype).to(weight.device)
        return rounded + (weight - weight.detach()) * self.kept

    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if self.form < 0:
            return before
        return Dense(self(weight).detach().cpu().float().numpy(), BIAS_FORMATS[int(self.form)])


@dataclass(frozen=True)
class RateDistortion(Calibrated):
    """Quantise each layer to multiples of a step of its own, by distortion + rate × bits, from what the layer sees.

    rate: what one bit is worth, in nats of the network's divergence from the original for an image, 1e-9 to 1e-5 say:
    four times as much takes about one bit from each weight.
    correct: 0 to 1, how far a layer makes good what the layers before it lost.
    Sleeps until `calibrate_` shows it inputs. Raises RecipeError for a rate that is not positive and finite.
    """

    family: ClassVar[str] = "quantize"

    rate: float = 1e-7
    correct: float = 1.0
    #: of the codebook's entries: steps have four significant bits, so that all multiples are exact
    format: ClassVar[str] = "float16"
    entries: ClassVar[int] = 2 * TOP

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise RecipeError(f"quantize.RateDistortion: rate is positive, not {self.rate!r}")
        if not 0 <= self.correct <= 1:
            raise RecipeError(f"quantize.RateDistortion: correct is in [0, 1], not {self.correct!r}")

    def parametrize(self, weight: Tensor, where: str) -> Parametrization:
        return Rounded(self, where, weight) if weight.dim() < 2 else Grid(self, where, weight)  # type: ignore[arg-type]

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        """Sleep below full strength; what calibration decided comes back only by calibrating again."""
        for member in members:
            if fraction < 1 and isinstance(member.parametrization, Rounded):
                member.parametrization.form.fill_(-1)
            elif fraction < 1:
                member.parametrization.settled.fill_(value=False)

    @torch.no_grad()
    def decide(self, member: Member, seen: Seen, *, centred: bool) -> None:
        weight = member.weight()
        groups, columns = seen.mean.shape
        problem, order = self._problem(weight, seen, centred=centred)
        step = self._step(problem, member.parametrization.where)
        codes, _ = solve(problem, step, self.rate, TOP)
        unordered = torch.empty_like(codes)
        unordered[:, :, order] = codes
        member.parametrization.put(unordered.view(groups, -1, columns).reshape(weight.shape), step)

    def _step(self, problem: Problem, where: str) -> float:
        largest = float(problem.target.abs().max())
        if not largest:
            return 1.0
        # Twice the largest weight: all become 0. A TOP-th of it: no code is past the codebook.
        step = significant(min(max(step_for(problem.curvature, self.rate), largest / TOP), 2 * largest))
        if not _SMALLEST <= step <= _LARGEST:
            found = f"its weights, up to {largest:g}, need steps of {step:g}"
            raise refuse(self, where, found, f"Rescale the layer: {_SMALLEST:g} to {_LARGEST:g} can be stored")
        return step

    def _problem(self, weight: Tensor, seen: Seen, *, centred: bool) -> tuple[Problem, Tensor]:
        groups, columns = seen.mean.shape
        gram, cross = moments(seen, centred=centred)
        best = torch.linalg.solve(gram, (seen.rows @ cross).mT).mT
        target = seen.rows + self.correct * (best - seen.rows)
        gone = (weight == 0).reshape(groups, -1, columns)
        order = gram.diagonal(dim1=1, dim2=2).mean(0).argsort(descending=True, stable=True)
        factor = inverse_factor(gram[:, order][:, :, order])
        importance = seen.importance.view(groups, -1)
        importance = importance.clamp(min=max(1e-4 * float(importance.mean()), 1e-30))
        return Problem(target[:, :, order].float(), factor.float(), importance.float(), gone[:, :, order]), order

    @torch.no_grad()
    def decide_bias(self, member: Member, target: Tensor, importance: Tensor) -> None:
        rounded: Rounded = member.parametrization
        original = member.weight().double()
        if member.index:
            rounded.kept.copy_(original != 0)
        rounded.shift.copy_(target - original)
        target = target * rounded.kept
        costs = []
        for name in BIAS_FORMATS:
            try:
                error = _rounded(target, name) - target
            except ValueError:  # too large for the format
                costs.append(math.inf)
                continue
            bits = 8 * ITEMSIZE[name] * target.numel()
            costs.append(float((importance * error.square()).sum()) + self.rate * bits)
        rounded.form.fill_(costs.index(min(costs)))


def significant(value: float, bits: int = 4) -> float:
    """`value` rounded to `bits` significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**bits), exponent - bits)


def _rounded(values: Tensor, name: str) -> Tensor:
    """float64 values as the format holds them."""
    return torch.from_numpy(round_to(values.cpu().float().numpy(), name)).to(values)
