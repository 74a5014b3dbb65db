"""XNOR-Net: weights ±α for each filter, inputs ±1 times K (Rastegari et al., ECCV 2016, section 3.2).

α = ‖W‖₁ / n as in Binary Weight Networks, and K the mean magnitude of the inputs under the window at each place: then
the product of signs times K α is the least squares of the real one, but for one approximation (equations 8 to 11). The
block is batch norm, sign, convolution (figure 3), so that `norm` puts one before the signs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from lissome.compress.binarize.signs import SignsOfInputs
from lissome.compress.binarize.weight import Scaled as ScaledSigns
from lissome.compress.binarize.weight import mean_magnitude
from lissome.compress.method import Member, Method, refuse
from lissome.compress.snapped import settle_each
from lissome.weights import CodedWeight, Scaled
from lissome.weights.scaled import whole


class XNORLayer(ScaledSigns):
    """sign(w) · mean |w| of the filter, of inputs ±1."""

    def __init__(self, method: XNORNet, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        around = SignsOfInputs(weight.shape[1], norm=method.norm, scaled=method.scale_inputs)
        self.around = around.to(weight.device)

    @torch.no_grad()
    def encode(self, weight: Tensor, before: CodedWeight) -> CodedWeight:
        if not self.settled:
            return before
        signs = torch.where(weight == 0, 0.0, torch.where(weight >= 0, 1.0, -1.0)).cpu().float().numpy()
        scale = mean_magnitude(weight).reshape(-1).cpu().float().numpy().astype(np.float32)
        return Scaled(whole(signs, before), np.where(scale > 0, scale, np.float32(1)))


@dataclass(frozen=True)
class XNORNet(Method):
    """Each filter's weights become ± their mean magnitude, inputs signs; the original weights train beneath.

    norm: put a batch norm before the signs, as the paper's blocks have it. scale_inputs: multiply by K. The first and
    the last layer stay real (recipe). Raises RecipeError on weights of one dimension and layers that are no plain
    convolution or linear layer.
    """

    family: ClassVar[str] = "binarize"

    norm: bool = True
    scale_inputs: bool = True

    def parametrize(self, weight: Tensor, where: str) -> XNORLayer:
        if weight.dim() < 2:
            raise refuse(self, where, "it has one dimension", "Leave biases and norms out of the recipe")
        return XNORLayer(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        settle_each(members, fraction)
        for member in members:
            member.parametrization.around.active.fill_(value=fraction >= 1)
