"""What a method does around the layer whose weight it is on: to the numbers that go in, and to those that come out.

A parametrization sees weights only. One that also makes codes or signs of activations has an `Around`, a module among
its children, so that what it learns is in the network's parameters and its state. `apply.py` hangs it onto the layer by
torch's hooks; in a copy that is exported, and once a method is permanent, its plain `fixed` form hangs there.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor, nn

LAYERS: Final = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Around(nn.Module):
    """Base: changes nothing, and is always awake."""

    @property
    def awake(self) -> bool:
        """Whether it works now."""
        return True

    def prepare(self, x: Tensor) -> Tensor:
        """The layer's input as `before` and `after` want it."""
        return x

    def before(self, x: Tensor) -> Tensor:
        """What the layer gets in place of its input, which has been prepared."""
        return x

    def after(self, x: Tensor, y: Tensor, layer: Any) -> Tensor:
        """What comes of the output `y` of the layer; x: the prepared input."""
        del x, layer
        return y

    def refuses(self, layer: Any) -> str:
        """Why it cannot work around a layer; empty where it can."""
        del layer
        return ""

    def fixed(self) -> Around:
        """The same with plain numbers in place of tensors, for export."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gets in place of its input, where this is awake."""
        return self.before(self.prepare(x)) if self.awake else x


class Sleeper(Around):
    """Sleeps until its method is settled. Buffer `active`: bool."""

    active: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("active", torch.zeros((), dtype=torch.bool))

    @property
    def awake(self) -> bool:
        return bool(self.active)


@torch.library.custom_op("lissome::through_codes", mutates_args=())
def through_codes(x: Tensor, scale: float, zero: int, low: int, high: int) -> Tensor:
    """X through codes low … high and back, scale · (code − zero), as QuantizeLinear and DequantizeLinear have it.

    An operator of its own, so that what is exported says so. The gradient passes where x is in range.
    """
    return (torch.clamp(torch.round(x / scale) + zero, low, high) - zero) * scale


@through_codes.register_fake
def _(x: Tensor, scale: float, zero: int, low: int, high: int) -> Tensor:
    del scale, zero, low, high
    return torch.empty_like(x)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    del output
    x, scale, zero, low, high = inputs
    ctx.save_for_backward((x >= (low - zero) * scale) & (x <= (high - zero) * scale))


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
    return gradient * ctx.saved_tensors[0], None, None, None, None


through_codes.register_autograd(_backward, setup_context=_remember)


class Codes(Around):
    """Fixed: x through codes low … high, scale · (code − zero)."""

    def __init__(self, scale: float, zero: int, low: int, high: int) -> None:
        super().__init__()
        self.scale, self.zero, self.low, self.high = scale, zero, low, high

    def before(self, x: Tensor) -> Tensor:
        made: Tensor = through_codes(x, self.scale, self.zero, self.low, self.high)
        return made


class _Hook:
    """On a layer, before and after its forward; remembers the input in between."""

    def __init__(self, around: Around) -> None:
        self.around: Around | None = around
        self.x: Tensor | None = None

    def before(self, layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        del layer
        if self.around is None or not self.around.awake:
            return None
        self.x = self.around.prepare(arguments[0])
        return (self.around.before(self.x), *arguments[1:])

    def after(self, layer: Any, y: Tensor) -> Tensor | None:
        if self.around is None or self.x is None:
            return None
        x, self.x = self.x, None
        return self.around.after(x, y, layer)


class Before:
    """The hook that torch calls first. A class, not a bound method, so that a deep copy of the layer has its own."""

    def __init__(self, hook: _Hook) -> None:
        self.hook = hook

    def __call__(self, layer: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return self.hook.before(layer, arguments)


class After:
    """The hook that torch calls last."""

    def __init__(self, hook: _Hook) -> None:
        self.hook = hook

    def __call__(self, layer: Any, arguments: tuple[Any, ...], y: Tensor) -> Tensor | None:
        del arguments
        return self.hook.after(layer, y)


def hang(layer: nn.Module, around: Around) -> None:
    """Let `around` work around every call of the layer."""
    hook = _Hook(around)
    layer.register_forward_pre_hook(Before(hook))
    layer.register_forward_hook(After(hook))


def unhang(layer: nn.Module, around: Around | None = None) -> None:
    """Take `around` off the layer, or whatever hangs there."""
    for hooks in (layer._forward_pre_hooks, layer._forward_hooks):
        for key, hook in list(hooks.items()):
            if isinstance(hook, Before | After) and (around is None or hook.hook.around is around):
                del hooks[key]


def fix(layer: nn.Module) -> None:
    """Plain numbers in place of what hangs on the layer and is awake; the rest goes."""
    for hook in list(layer._forward_pre_hooks.values()):
        if isinstance(hook, Before) and hook.hook.around is not None:
            around = hook.hook.around
            if around.awake:
                hook.hook.around = around.fixed()
            else:
                unhang(layer, around)
