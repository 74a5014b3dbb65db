"""One kernel on arrays: what runs a layer by a named algorithm, without a network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lissome.errors import GraphError, UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import algorithms, kernels, layout
from lissome.runtime.algorithms import Layer
from lissome.runtime.native import native
from lissome.weights import Dense


def conv2d(
    x: ArrayLike,
    w: ArrayLike,
    *,
    bias: ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    kernel: str | None = None,
    threads: int = 1,
    isa: str | None = None,
) -> NDArray[np.float32]:
    """The convolution of x (n, c, h, w) with w (k, c / groups, r, s), plus bias (k), as (n, k, p, q); all float32.

    stride, dilation: one number or (vertical, horizontal). padding: one number, (vertical, horizontal), or (top, left,
    bottom, right). kernel: an algorithm of docs/kernels.md, such as "im2col", "mec" or "winograd_4x3", or the common
    beginning of several ("winograd"): the cheapest of those that can do it; of all, when None. isa: "scalar", "avx2",
    "avx512" or "neon" instead of the widest that this machine has.

    Laying tensors out and packing the weights happens in every call: to run a layer often, compile a network. Raises
    GraphError for shapes that contradict each other, and UnsupportedShape for arrays of another type, an unknown
    algorithm, and one that cannot do this convolution: the message says why, and which can.
    """
    tensor, weight = _array(x, "x", 4), _array(w, "w", 4)
    offsets = None if bias is None else _array(bias, "bias", 1)
    if tensor.shape[1] != weight.shape[1] * groups:
        raise GraphError(
            f"w of shape {weight.shape} with groups={groups} reads {weight.shape[1] * groups} channels, "
            f"but x of shape {tensor.shape} has {tensor.shape[1]}"
        )
    if offsets is not None and offsets.size != weight.shape[0]:
        raise GraphError(f"bias has {offsets.size} values for the {weight.shape[0]} filters of w")
    if not isinstance(threads, int) or not 1 <= threads <= 256:
        raise UnsupportedShape(f"threads is a number from 1 to 256, found {threads!r}")
    (n, c, height, width), (k, _, r, s) = tensor.shape, weight.shape
    steps = (*_numbers(stride, "stride"), *_numbers(dilation, "dilation"))
    shape = ConvShape(n, c, height, width, k, r, s, groups, *steps, *_pads(padding))
    prepared = prepare(shape, weight, offsets, kernel=kernel, threads=threads, isa=kernels.resolve_isa(isa))
    return prepared(tensor)


@dataclass(frozen=True)
class Prepared:
    """A convolution ready to run on arrays of one shape. program: reads and writes `kernel`'s layouts, flat."""

    shape: ConvShape
    algorithm: str
    kernel: str
    program: native.Program

    @property
    def reads(self) -> tuple[int, ...]:
        """Extents of the input in the kernel's layout."""
        s = self.shape
        return layout.extents(s.n, s.c, s.h, s.w, kernels.blocks(self.kernel)[0])

    @property
    def writes(self) -> tuple[int, ...]:
        """Extents of the output in the kernel's layout."""
        s = self.shape
        return layout.extents(s.n, s.k, s.p, s.q, kernels.blocks(self.kernel)[1])

    @property
    def workspace_bytes(self) -> int:
        """Memory that a run needs besides input, output and weights."""
        return int(self.program.arena_bytes)

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Plain x in, plain y out."""
        block_in, block_out = kernels.blocks(self.kernel)
        y = np.empty(self.writes, np.float32)
        self.program.run([layout.to_blocked(x, block_in).reshape(-1)], [y.reshape(-1)], None)
        return layout.to_plain(y, self.shape.k, block_out)


def prepare(
    shape: ConvShape,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32] | None,
    *,
    kernel: str | None,
    threads: int,
    isa: str,
) -> Prepared:
    """Choose the algorithm and pack the weight. Raises UnsupportedShape as `conv2d` does."""
    coded = Dense(weight)
    layer = Layer(shape, kernels.density(coded), isa)
    algorithm, _ = algorithms.choose(layer, "conv2d", kernel)
    name = algorithm.kernel(isa)
    block_in, block_out = kernels.blocks(name)
    builder = native.Builder()
    ends = (
        builder.input(math.prod(layout.extents(shape.n, shape.c, shape.h, shape.w, block_in)), 0),
        builder.output(math.prod(layout.extents(shape.n, shape.k, shape.p, shape.q, block_out)), 0),
    )
    packed = algorithm.pack(coded, shape, name)
    builder.step(name, [ends[0]], [ends[1]], algorithm.ints(layer), [], packed, bias)
    return Prepared(shape, algorithm.name, name, builder.build([threads]))


def _array(value: Any, name: str, axes: int) -> NDArray[np.float32]:
    array = np.asarray(value)
    if array.ndim != axes or array.dtype != np.float32 or array.size == 0:
        raise UnsupportedShape(
            f"{name}: expected float32 with {axes} axes, none of them empty, found {array.dtype} of shape "
            f"{array.shape}; use .astype('float32') for another type"
        )
    return np.ascontiguousarray(array)


def _numbers(value: int | Sequence[int], name: str) -> tuple[int, int]:
    numbers = (value, value) if isinstance(value, int) else tuple(value)
    if len(numbers) != 2:
        raise UnsupportedShape(f"{name} is one number or (vertical, horizontal), found {value!r}")
    return int(numbers[0]), int(numbers[1])


def _pads(value: int | Sequence[int]) -> tuple[int, int, int, int]:
    numbers = (value, value) if isinstance(value, int) else tuple(value)
    numbers = numbers * 2 if len(numbers) == 2 else numbers
    if len(numbers) != 4:
        raise UnsupportedShape(
            f"padding is one number, (vertical, horizontal) or (top, left, bottom, right), found {value!r}"
        )
    return int(numbers[0]), int(numbers[1]), int(numbers[2]), int(numbers[3])
