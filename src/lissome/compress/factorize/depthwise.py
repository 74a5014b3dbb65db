"""A standard convolution becomes depthwise separable: one k × k filter a channel, then 1 × 1 filters over the channels.

The lecture's (and MobileNet's) cost of M filters on a map of H × H, k × k × C: M H² k² C multiply-adds become
H² C (k² + M), 1/M + 1/k² of them; `profile` shows both. For the weights, the best such pair is known channel by
channel: W[:, c] as a matrix (M, k²) is cut to its leading singular vectors (Guo et al., BMVC 2018, "Network
decoupling", section 3); a multiplier of t keeps t of them, and t = k² all. With inputs, the 1 × 1 filters are then
fitted to the original responses by least squares. Unlike other decompositions this one is coarse: train it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lissome.compress.factorize.responses import covariance, leaning
from lissome.compress.method import refuse
from lissome.compress.observe import Observer
from lissome.compress.structural import Layer, Replacement, Structural, convolution, convolution_of, offset
from lissome.errors import RecipeError


@dataclass(frozen=True)
class DepthwiseSeparable(Structural):
    """Replace a convolution by a depthwise and a pointwise one.

    multiplier: depthwise filters a channel, 1 to min(k², filters).
    """

    multiplier: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.multiplier, bool) or not isinstance(self.multiplier, int) or self.multiplier < 1:
            raise RecipeError(
                f"factorize.DepthwiseSeparable: multiplier is a whole number from 1, not {self.multiplier!r}"
            )

    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        for layer in layers:
            module = convolution_of(self, layer)
            most = min(module.weight[0, 0].numel(), len(module.weight))
            if self.multiplier > most:
                raise refuse(self, layer.where, f"a multiplier of {most} is exact", "Lower it")
            depth, point = decoupled(module.weight.detach().double().cpu(), self.multiplier)
            bias = offset(module)
            if observer is not None:
                point, bias = _fitted(layer, depth, point, observer)
            first = convolution(depth, like=module, groups=module.in_channels)
            yield Replacement(layer, nn.Sequential(first, convolution(point[:, :, None, None], bias)))


def decoupled(weight: Tensor, multiplier: int) -> tuple[Tensor, Tensor]:
    """Depthwise filters (C t, 1, R, S), t a channel, and pointwise ones (K, C t), for a kernel (K, C, R, S)."""
    k, c, high, wide = weight.shape
    u, s, vh = torch.linalg.svd(weight.transpose(0, 1).flatten(2), full_matrices=False)
    root = s[:, :multiplier].sqrt()
    depth = (root.unsqueeze(2) * vh[:, :multiplier]).reshape(c * multiplier, 1, high, wide)
    point = (u[:, :, :multiplier] * root.unsqueeze(1)).transpose(0, 1).reshape(k, c * multiplier)
    return depth, point


def _fitted(layer: Layer, depth: Tensor, point: Tensor, observer: Observer) -> tuple[Tensor, Tensor]:
    """Pointwise filters and bias of least squared error of the original responses, leaning towards those given."""
    samples = observer.current(layer.where, with_inputs=True)
    target = observer.original(layer.where)
    channels = layer.module.weight.shape[1]
    patches = samples.inputs.view(len(target), channels, 1, -1)
    features = (patches * depth.view(channels, -1, patches.shape[3])).sum(3).flatten(1)
    spread, cross = leaning(covariance(features), covariance(target, features), point, len(features))
    point = cross @ torch.linalg.pinv(spread, rtol=1e-10, hermitian=True)
    return point, target.mean(0) - point @ features.mean(0)
