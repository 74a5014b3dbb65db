"""Layers of an exported program: the calls that have a weight, and the patches of their input that it multiplies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx

_LINEAR: Final = "aten.linear.default"
_CONVOLUTIONS: Final = ("aten.conv1d.default", "aten.conv2d.default")
#: positions of an image that statistics are taken from: more of them say little more
POSITIONS: Final = 64


def call(node: fx.Node, value: Callable[[fx.Node], Any], constants: Mapping[str, Tensor]) -> Any:
    """What a call gives, with `value` of the nodes that it reads and the program's constants by name."""

    def resolved(read: fx.Node) -> Any:
        return constants[str(read.target)] if read.op == "get_attr" else value(read)

    target: Any = node.target
    return target(*fx.map_arg(node.args, resolved), **fx.map_arg(node.kwargs, resolved))


@dataclass(frozen=True)
class Layer:
    """A convolution over one or two axes, or a linear layer.

    weight, bias: names of its parameters; bias "" when there is none. shape: of the weight. options: of a convolution,
    its stride, padding, dilation and groups.
    """

    node: fx.Node
    weight: str
    bias: str
    shape: torch.Size
    options: Mapping[str, Any]

    @classmethod
    def of(cls, node: fx.Node, constants: Mapping[str, Tensor]) -> Layer | None:
        """The layer that a node is, if it is one whose weight is a parameter."""
        if node.op != "call_function" or str(node.target) not in (_LINEAR, *_CONVOLUTIONS):
            return None
        weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            return None
        named = str(bias.target) if isinstance(bias, fx.Node) and bias.op == "get_attr" else ""
        options = {}
        if str(node.target) != _LINEAR:
            options = dict(zip(("stride", "padding", "dilation", "groups"), node.args[3:], strict=False)) | node.kwargs
        return cls(node, str(weight.target), named, constants[str(weight.target)].shape, options)

    @property
    def input(self) -> fx.Node:
        """The node that makes the activation it reads."""
        read = self.node.args[0]
        if not isinstance(read, fx.Node):
            raise TypeError(f"{self.node} reads {read!r}")
        return read

    @property
    def linear(self) -> bool:
        return str(self.node.target) == _LINEAR

    @property
    def groups(self) -> int:
        return int(self.options.get("groups", 1))

    @property
    def channel_axis(self) -> int:
        """The axis of the result that output channels lie along."""
        return -1 if self.linear else 1

    def apply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer with another weight, of any number of filters, and without a bias."""
        if self.linear:
            return F.linear(x, weight)
        convolve: Any = F.conv1d if x.dim() == 3 else F.conv2d
        result: Tensor = convolve(x, weight, **self.options)
        return result

    def patches(self, *inputs: Tensor) -> list[Tensor]:
        """Each input (N, ...) as (groups, samples, d): what a row of d weights multiplies, at some of the positions.

        About POSITIONS of an image, on a grid that begins at a random place; the same ones for all inputs.
        """
        if self.linear:
            return [x.flatten(0, -2).unsqueeze(0) for x in inputs]
        grid = _Grid.of(self, inputs[0])
        return [grid.take(x) for x in inputs]


@dataclass(frozen=True)
class _Grid:
    """A convolution's window, and which of its positions are looked at: every `step`-th from `first` on, by axis."""

    kernel: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    step: tuple[int, int]
    first: tuple[int, int]
    groups: int

    @classmethod
    def of(cls, layer: Layer, x: Tensor) -> _Grid:
        stride = _pair(layer.options.get("stride", 1), 1)
        padding = _pair(layer.options.get("padding", 0), 0)
        dilation = _pair(layer.options.get("dilation", 1), 1)
        kernel = _pair(list(layer.shape[2:]), 1)
        extents = _pair(list(x.shape[2:]), 1)
        places = [
            (extent + 2 * pad - spread * (window - 1) - 1) // pace + 1
            for extent, pad, spread, window, pace in zip(extents, padding, dilation, kernel, stride, strict=True)
        ]
        coarse = max(1, int((places[0] * places[1] / POSITIONS) ** 0.5))
        first = [int(torch.randint(min(coarse, n), ())) * pace for n, pace in zip(places, stride, strict=True)]
        step = (stride[0] * coarse, stride[1] * coarse)
        return cls(kernel, padding, dilation, step, (first[0], first[1]), layer.groups)

    def take(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(2) if x.dim() == 3 else x
        (high, wide), (top, left) = self.padding, self.first
        shifted = F.pad(x, (wide, wide, high, high))[:, :, top:, left:]
        columns = F.unfold(shifted, self.kernel, self.dilation, 0, self.step)
        images, rows, places = columns.shape
        grouped = columns.view(images, self.groups, rows // self.groups, places).permute(1, 0, 3, 2)
        return grouped.reshape(self.groups, images * places, rows // self.groups)


def _pair(option: Any, lone: int) -> tuple[int, int]:
    """An option of a convolution for two axes; one over one axis has `lone` along the other."""
    if isinstance(option, int):
        return option, option
    return (int(option[0]), int(option[1])) if len(option) == 2 else (lone, int(option[0]))
