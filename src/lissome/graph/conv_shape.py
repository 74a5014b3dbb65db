"""Shapes of layers: the only home in Python of the arithmetic of windows, outputs and multiply-adds.

The native twins (native/core/conv_shape.h) are tested against them. Names follow the field: N batch, C channels, H×W
input, K filters, R×S window, P×Q output. One-dimensional layers are two-dimensional ones of height 1.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Final, TypeAlias

from lissome.errors import GraphError

MAX_ELEMENTS: Final = 2**31
MAX_EXTENT: Final = 2**31
MAX_RANK: Final = 8

Shape: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConvShape:
    """Convolution of x (n, c, h, w) with w (k, c / groups, r, s) into y (n, k, p, q). Raises GraphError.

    The fields are the native side's, in its order.
    """

    n: int
    c: int
    h: int
    w: int
    k: int
    r: int
    s: int
    groups: int = 1
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0

    def __post_init__(self) -> None:
        _check_window(self)
        if min(self.c, self.k, self.groups) < 1 or self.c % self.groups or self.k % self.groups:
            raise GraphError(f"{self.groups} groups do not divide {self.c} channels and {self.k} filters")
        check_elements((self.n, self.k, self.p, self.q))
        check_elements((self.k, self.c // self.groups, self.r, self.s))

    @property
    def p(self) -> int:
        return _rows(self, ceil_mode=False)

    @property
    def q(self) -> int:
        return _columns(self, ceil_mode=False)

    @property
    def depth(self) -> int:
        """Products in one output: c / groups · r · s, the columns of the weight as a matrix of k rows."""
        return self.c // self.groups * self.r * self.s

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense convolution, padding included."""
        return self.n * self.k * self.p * self.q * self.depth

    def values(self) -> tuple[int, ...]:
        """The fields in order, as native functions take them."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class PoolShape:
    """Window over x (n, c, h, w) into y (n, c, p, q). Raises GraphError.

    The fields are the native side's, in its order.
    """

    n: int
    c: int
    h: int
    w: int
    r: int
    s: int
    stride_h: int = 1
    stride_w: int = 1
    dilation_h: int = 1
    dilation_w: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    ceil_mode: int = 0
    count_include_pad: int = 0

    def __post_init__(self) -> None:
        _check_window(self)
        check_elements((self.n, self.c, self.p, self.q))

    @property
    def p(self) -> int:
        return _rows(self, ceil_mode=bool(self.ceil_mode))

    @property
    def q(self) -> int:
        return _columns(self, ceil_mode=bool(self.ceil_mode))

    def values(self) -> tuple[int, ...]:
        """The fields in order, as native functions take them."""
        return astuple(self)


@dataclass(frozen=True, slots=True)
class GemmShape:
    """y (m, n) = x (m, k) · wᵀ with w (n, k)."""

    m: int
    n: int
    k: int

    @property
    def macs(self) -> int:
        """Multiply-adds of the dense product."""
        return self.m * self.n * self.k

    def values(self) -> tuple[int, int, int]:
        """The fields in order, as native functions take them."""
        return self.m, self.n, self.k


def check_elements(shape: Shape, where: str = "") -> None:
    """Raise GraphError, opening with `where`, when a tensor of this shape is larger than any that can be run."""
    if len(shape) > MAX_RANK or math.prod(shape) > MAX_ELEMENTS or max(shape, default=1) >= MAX_EXTENT:
        raise GraphError(f"{where}shape {shape} has more than {MAX_RANK} axes or {MAX_ELEMENTS:,} elements")


def _extent(size: int, window: int, steps: tuple[int, int], pads: tuple[int, int], *, ceil_mode: bool) -> int:
    """Outputs along one axis. steps: stride and dilation. pads: before and after."""
    stride, dilation = steps
    room = size + sum(pads) - dilation * (window - 1) - 1
    out = room // stride + 1
    if ceil_mode and room % stride and out * stride < size + pads[0]:
        out += 1
    return out


def _rows(shape: ConvShape | PoolShape, *, ceil_mode: bool) -> int:
    steps, pads = (shape.stride_h, shape.dilation_h), (shape.pad_top, shape.pad_bottom)
    return _extent(shape.h, shape.r, steps, pads, ceil_mode=ceil_mode)


def _columns(shape: ConvShape | PoolShape, *, ceil_mode: bool) -> int:
    steps, pads = (shape.stride_w, shape.dilation_w), (shape.pad_left, shape.pad_right)
    return _extent(shape.w, shape.s, steps, pads, ceil_mode=ceil_mode)


def _check_window(shape: ConvShape | PoolShape) -> None:
    steps = (shape.stride_h, shape.stride_w, shape.dilation_h, shape.dilation_w)
    pads = (shape.pad_top, shape.pad_left, shape.pad_bottom, shape.pad_right)
    extents = (shape.n, shape.c, shape.h, shape.w, shape.r, shape.s)
    if min(*steps, *extents) < 1 or min(pads) < 0 or max(*steps, *pads, *extents) >= MAX_EXTENT:
        raise GraphError(f"extents {extents}, strides and dilations {steps} are at least 1, pads {pads} at least 0")
    height = shape.h + shape.pad_top + shape.pad_bottom
    width = shape.w + shape.pad_left + shape.pad_right
    reach = (shape.dilation_h * (shape.r - 1) + 1, shape.dilation_w * (shape.s - 1) + 1)
    if reach[0] > height or reach[1] > width:
        raise GraphError(f"a window that reaches {reach} does not fit its padded input {(height, width)}")
    check_elements((shape.n, shape.c, height, width))
