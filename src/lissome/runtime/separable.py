"""A depthwise convolution and the 1x1 convolution behind it as one kernel (native/conv/separable.cpp): where that pays,
and its weights.

What lies between the two never goes to memory: rows of it are made in the second cache and multiplied at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, schedule
from lissome.runtime.native import native
from lissome.runtime.step import Activation
from lissome.weights import CodedWeight

TILE_BYTES: Final = 256 * 1024  # of rows between the two convolutions
#: Where the kernel wins, measured on AMD Zen 4, AVX-512 and AVX2, on the layers of MobileNet v1 and v2: 3 to 13 % where
#: what lies between is above half of a second cache, and the filters, read anew for every tile, below a quarter.
LEAST_BETWEEN: Final = 512 * 1024
MOST_FILTERS: Final = 256 * 1024


@dataclass(frozen=True)
class Pair:
    """The two convolutions, and the instruction set that runs them."""

    depthwise: ConvShape
    pointwise: ConvShape
    isa: str

    @property
    def kernel(self) -> str:
        """Its kernel's full name."""
        return f"conv_f32_separable_{self.isa}"

    @property
    def vectors(self) -> int:
        """Vectors of outputs in a panel of the 1x1 filters."""
        lanes = kernels.lanes(self.isa)
        return schedule.default(self.pointwise, lanes, self.isa, lanes).vectors

    @property
    def between(self) -> int:
        """Bytes of one image between the two."""
        s, lanes = self.depthwise, kernels.lanes(self.isa)
        return 4 * math.ceil(s.c / lanes) * lanes * s.p * s.q

    def ints(self) -> tuple[int, ...]:
        """What the kernel's step takes."""
        rows = max(1, min(self.depthwise.p, TILE_BYTES * self.depthwise.p // self.between))
        return (*self.depthwise.values(), self.pointwise.k, self.vectors, rows)

    def pays(self) -> bool:
        """Whether the one kernel is expected to be faster than the two."""
        return self.between > LEAST_BETWEEN and 4 * self.pointwise.c * self.pointwise.k <= MOST_FILTERS

    def pack(self, filters: CodedWeight, bias: NDArray[np.float32] | None, pointwise: CodedWeight) -> native.Packed:
        """Both weights and the depthwise convolution's bias, (c,), as the kernel has them."""
        return native.pack_separable(
            kernels.matrix(filters, transposed=True),
            np.zeros(self.depthwise.c, np.float32) if bias is None else bias,
            self.depthwise.values(),
            kernels.matrix(pointwise, transposed=True),
            self.pointwise.values(),
            kernels.lanes(self.isa),
            self.vectors,
        )


def is_pointwise(shape: ConvShape) -> bool:
    """Whether a convolution multiplies each pixel's channels alone, and every pixel."""
    pads = (shape.pad_top, shape.pad_left, shape.pad_bottom, shape.pad_right)
    window = (shape.r, shape.s, shape.stride_h, shape.stride_w, shape.groups)
    return window == (1, 1, 1, 1, 1) and not any(pads)


def bounds(activation: Activation) -> tuple[float, float] | None:
    """An activation as the bounds that it keeps numbers within; None when it is none of that kind."""
    kind, low, high = activation
    known = {"none": (-math.inf, math.inf), "relu": (0.0, math.inf), "clip": (low, high)}
    return known.get(kind)
