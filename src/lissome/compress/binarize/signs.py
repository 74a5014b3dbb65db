"""Signs of a layer's inputs: what BinaryNet and XNOR-Net have in common.

The forward pass has +1 where x ≥ 0 and −1 elsewhere; the backward pass has the hard tanh's gradient, 1[|x| ≤ 1]
(Hubara et al., NIPS 2016, equation 4). A sign says nothing of inputs that a ReLU made, which are never negative: with
`norm` a batch norm comes before it, as in XNOR-Net's blocks (Rastegari et al., ECCV 2016, section 3.2, figure 3).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lissome.compress.around import Around, Sleeper


def sign(x: Tensor) -> Tensor:
    """+1 where x ≥ 0, −1 where it is less, in operators that a graph has; it becomes one Binarize."""
    return torch.sign(torch.sign(x) + 0.5)


def scale_of_inputs(x: Tensor, layer: Any) -> Tensor:
    """K of XNOR-Net: the mean magnitude of what each output is computed from (section 3.2: |x| averaged over channels,
    then over the window), of the shape of the output but for one channel.
    """
    if isinstance(layer, nn.Linear):
        return x.abs().mean(-1, keepdim=True)
    return F.avg_pool2d(x.abs().mean(1, keepdim=True), layer.kernel_size, layer.stride, layer.padding)


class FixedSigns(Around):
    """In evaluation mode. norm: the batch norm before the signs, or None. scaled: whether outputs are times K."""

    def __init__(self, norm: nn.Module | None, *, scaled: bool) -> None:
        super().__init__()
        self.norm, self.scaled = norm, scaled

    def prepare(self, x: Tensor) -> Tensor:
        return x if self.norm is None else normal(self.norm, x)

    def before(self, x: Tensor) -> Tensor:
        return sign(x)

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        return times(scale_of_inputs(x, layer), y, layer) if self.scaled else y


class SignsOfInputs(Sleeper):
    """While it trains. channels: of the layer's input. norm: whether a batch norm comes first."""

    def __init__(self, channels: int, *, norm: bool, scaled: bool) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels) if norm else None
        self.scaled = scaled

    def prepare(self, x: Tensor) -> Tensor:
        return x if self.norm is None else normal(self.norm, x)

    def before(self, x: Tensor) -> Tensor:
        passed = x.clamp(-1, 1)
        return sign(x.detach()) + (passed - passed.detach())  # the difference is exactly +0

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        return times(scale_of_inputs(x.detach(), layer), y, layer) if self.scaled else y

    def refuses(self, layer: Any) -> str:
        if isinstance(layer, nn.Linear):
            return ""
        if not isinstance(layer, nn.Conv2d):
            return f"it is a {type(layer).__name__}; inputs become signs of Conv2d and Linear layers"
        if layer.groups > 1:
            return f"it has {layer.groups} groups"
        if self.scaled and (any(d != 1 for d in layer.dilation) or isinstance(layer.padding, str)):
            return "its dilation, or its padding in words, has no pooling for K"
        return ""

    def fixed(self) -> Around:
        norm = None if self.norm is None else self.norm.eval()
        return FixedSigns(norm, scaled=self.scaled)


def normal(norm: Any, x: Tensor) -> Tensor:
    """The batch norm of channels along axis 1 of images, along the last axis of anything else."""
    moved = x.movedim(-1, 1) if x.dim() == 3 else x
    made = F.batch_norm(
        moved, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, norm.momentum, norm.eps
    )
    return made.movedim(1, -1) if x.dim() == 3 else made


def times(scale: Tensor, y: Tensor, layer: Any) -> Tensor:
    """A layer's output with all but its bias times `scale`."""
    if layer.bias is None:
        plain: Tensor = y * scale
        return plain
    bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias.view(-1, 1, 1)
    made: Tensor = (y - bias) * scale + bias
    return made
