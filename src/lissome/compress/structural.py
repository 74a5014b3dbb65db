"""The contract of a method that replaces a layer by smaller ones: low rank, tensor trains, depthwise separable.

A structural method comes first in a chain and works on layers, not on the values of one weight. A replaced layer stays
the same object, at its place in the user's module; its class is `Factorized` from then on, and its child `factors` is
made of ordinary layers with weights of their own. So whatever follows needs no word of it: the later methods of the
chain go onto the weights of the factors, and freezing, packing, running and estimating see plain convolutions and
products.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from lissome.compress.method import Member, Method, Parametrization, refuse
from lissome.compress.observe import Observer
from lissome.compress.prune.magnitude import Mask
from lissome.errors import RecipeError

Replaceable: TypeAlias = nn.Linear | nn.Conv2d


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer that a rule selects, and its path, for messages."""

    where: str
    module: Replaceable


@dataclass(frozen=True, eq=False)
class Replacement:
    """What takes the place of a layer. sparse: those layers among the factors whose zeros must stay zeros."""

    layer: Layer
    factors: nn.Module
    sparse: tuple[nn.Module, ...] = ()


class Structural(Method):
    """A method that replaces layers. Options are those of the subclass; it has no strength that a schedule could
    raise.
    """

    family: ClassVar[str] = "factorize"

    @abstractmethod
    def replace(self, layers: Sequence[Layer], observer: Observer | None) -> Iterator[Replacement]:
        """What takes the place of the layers under one rule; each is in place before the next is asked for.

        layers: in the order in which the network calls them when there is an observer, else as the module lists them.
        A layer that is left out stays as it is: no rank would save anything.
        Raises RecipeError for a layer that the method does not fit, DataError for activations that are not finite.
        """

    def calibrated(self, observer: Observer | None) -> Observer:
        """The observer, for a method that cannot do without. Raises RecipeError when there is none."""
        if observer is None:
            raise RecipeError(f"{self} looks at responses: give compress_ inputs=..., a few hundred calibration inputs")
        return observer

    def parametrize(self, weight: Tensor, where: str) -> Parametrization:
        """Holds the zeros of a sparse factor."""
        return FixedMask(self, where, weight)

    def settle(self, members: Sequence[Member], fraction: float) -> None:
        """Nothing: a structure is there or not."""


class FixedMask(Mask):
    """A mask of the entries that are not zero when it is made; no schedule moves it."""

    def __init__(self, method: Method, where: str, weight: Tensor) -> None:
        super().__init__(method, where, weight)
        self.mask.copy_(weight != 0)


@dataclass(eq=False)
class Origin:
    """What a layer was before it was replaced: its class and its parameters; and the method that replaced it."""

    kind: type[nn.Module]
    parameters: dict[str, nn.Parameter | None]
    method: Structural


class Factorized(nn.Module):
    """A replaced layer: computes what its child `factors` computes. `origin` is None once it is permanent."""

    factors: nn.Module
    origin: Origin | None

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.factors(x)
        return made


class Sum(nn.Module):
    """low(x) + sparse(x)."""

    def __init__(self, low: nn.Module, sparse: nn.Module) -> None:
        super().__init__()
        self.low = low
        self.sparse = sparse

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.low(x) + self.sparse(x)
        return made


def install(replacement: Replacement, method: Structural) -> None:
    """Put the factors in the layer's place; they take over its device, its dtype and whether it trains."""
    module: Any = replacement.layer.module
    weight = module.weight
    factors = replacement.factors.to(weight.device, weight.dtype).requires_grad_(weight.requires_grad)
    origin = Origin(type(module), dict(module._parameters), method)
    module._parameters.clear()
    module.__class__ = Factorized
    module.factors = factors
    module.origin = origin


def restore(module: Factorized) -> None:
    """The layer as it was before `install`."""
    origin, device = module.origin, next(module.parameters()).device
    if origin is None:
        return
    del module.factors, module.origin
    module.__class__ = origin.kind  # type: ignore[assignment]
    for name, parameter in origin.parameters.items():
        module.register_parameter(name, parameter)
    module.to(device)


def matrix(module: Replaceable) -> Tensor:
    """The weight as a matrix, float64 (outputs, all else); of a convolution the columns go over (C, R, S)."""
    return module.weight.detach().double().cpu().flatten(1)


def offset(module: Replaceable) -> Tensor | None:
    """The bias, float64 (outputs,)."""
    return None if module.bias is None else module.bias.detach().double().cpu()


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A linear layer of these values; weight: (outputs, inputs)."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    _fill(made, weight, bias)
    return made


def convolution(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    like: nn.Conv2d | None = None,
    axes: tuple[bool, bool] = (True, True),
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution of these values; weight: (K, C / groups, R, S).

    like: the convolution that it stands for, whose stride, padding and dilation it has along the axes (down, across)
    that are true; along the others, and without `like`, it has none of them.
    """
    stride, padding, dilation, mode = [1, 1], [0, 0], [1, 1], "zeros"
    text = None
    if like is not None:
        mode = like.padding_mode
        text = like.padding if isinstance(like.padding, str) else None
        for axis in (0, 1):
            if axes[axis]:
                stride[axis], dilation[axis] = like.stride[axis], like.dilation[axis]
                padding[axis] = 0 if isinstance(like.padding, str) else int(like.padding[axis])
    made = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (weight.shape[2], weight.shape[3]),
        (stride[0], stride[1]),
        (padding[0], padding[1]) if text is None else text,
        (dilation[0], dilation[1]),
        groups,
        bias is not None,
        mode,  # type: ignore[arg-type]
    )
    _fill(made, weight, bias)
    return made


def layer_like(module: Replaceable, weight: Tensor, bias: Tensor | None = None) -> Replaceable:
    """A layer as `module` is, with other outputs; weight: (outputs, all else)."""
    if isinstance(module, nn.Linear):
        return linear(weight, bias)
    return convolution(weight.view(len(weight), *module.weight.shape[1:]), bias, like=module)


def mixing(module: Replaceable, weight: Tensor, bias: Tensor | None) -> Replaceable:
    """The layer that mixes what one like `module` makes: linear, or a 1×1 convolution; weight: (outputs, inputs)."""
    if isinstance(module, nn.Linear):
        return linear(weight, bias)
    return convolution(weight.view(*weight.shape, 1, 1), bias)


def _fill(made: Replaceable, weight: Tensor, bias: Tensor | None) -> None:
    with torch.no_grad():
        made.weight.copy_(weight)
        if bias is not None and made.bias is not None:
            made.bias.copy_(bias)


def convolution_of(method: Structural, layer: Layer) -> nn.Conv2d:
    """The layer, which is a convolution with a window. Raises RecipeError when it is not one."""
    module = layer.module
    if not isinstance(module, nn.Conv2d):
        raise refuse(method, layer.where, "it is a linear layer, only convolutions fit", "Take factorize.SVD for it")
    if module.weight.shape[2:].numel() == 1:
        raise refuse(method, layer.where, "its window is 1×1", "Take factorize.SVD for it")
    return module
