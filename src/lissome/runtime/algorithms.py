"""Algorithms for a convolution: which can do a layer, how each packs the weight, and what it is expected to cost.

One line an algorithm in `ALGORITHMS`. The planner takes the cheapest that can do a layer, unless the user names one
(`lissome.compile(net, kernels={"conv1": "im2col"})`) or a measurement was kept (lissome.runtime.tune).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, winograd
from lissome.runtime.native import native
from lissome.weights import CodedWeight


@dataclass(frozen=True)
class Layer:
    """What an algorithm is chosen for. density: share of the weights that are not zero."""

    shape: ConvShape
    density: float
    isa: str

    @property
    def lanes(self) -> int:
        """float32 in a vector."""
        return kernels.lanes(self.isa)


@dataclass(frozen=True)
class Algorithm:
    """A way to compute a convolution.

    stem: its kernel's name without the instruction set. refuses: why it cannot do a layer, "" when it can.
    pack: the weight for the kernel of this name. cost: expected time, in units of one vector multiply-add.
    sparse: it runs on the stored weights only.
    """

    name: str
    stem: str
    refuses: Callable[[Layer], str]
    pack: Callable[[CodedWeight, ConvShape, str], native.Packed]
    cost: Callable[[Layer], float]
    sparse: bool = False

    def kernel(self, isa: str) -> str:
        """The kernel's full name."""
        return f"{self.stem}_{isa}"


def choose(layer: Layer, where: str, wanted: str | None = None) -> tuple[Algorithm, str]:
    """The algorithm for a layer, and why: the one called `wanted`, or the cheapest.

    where: the node's name, for messages. Raises UnsupportedShape when no algorithm has that name or it cannot do the
    layer.
    """
    if wanted is not None:
        named = [algorithm for algorithm in ALGORITHMS if algorithm.name == wanted]
        able = [a.name for a in ALGORITHMS if not a.refuses(layer)]
        if not named:
            raise UnsupportedShape(f"node {where!r}: no algorithm is called {wanted!r}; able here: {', '.join(able)}")
        if reason := named[0].refuses(layer):
            raise UnsupportedShape(f"node {where!r}: {wanted} cannot do it: {reason}; able here: {', '.join(able)}")
        return named[0], "asked for"
    costs = [
        (algorithm.cost(layer), number) for number, algorithm in enumerate(ALGORITHMS) if not algorithm.refuses(layer)
    ]
    least, number = min(costs)
    others = sorted(cost for cost, other in costs if other != number)
    lead = f", {others[0] / least:.1f} times the next one's speed" if others and least else ""
    return ALGORITHMS[number], f"{layer.density:.1%} of weights left; cheapest by the model{lead}"


def of_kernel(kernel: str) -> Algorithm:
    """The algorithm whose kernel this is. Raises UnsupportedShape when it is no convolution's."""
    for algorithm in (*ALGORITHMS, *BLOCKED):
        if kernel.rpartition("_")[0] == algorithm.stem:
            return algorithm
    raise UnsupportedShape(f"{kernel!r} is no kernel of a convolution")


def _any(_layer: Layer) -> str:
    return ""


def _macs(layer: Layer) -> float:
    return layer.shape.macs / layer.lanes


def _pack_filters(weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
    rows, panel = kernels.matrix(weight, transposed=True), kernels.panel_width(kernel)
    return native.pack_filters(rows, shape.k, shape.depth, shape.groups, panel)


def _pack_taps(weight: CodedWeight, shape: ConvShape, _kernel: str) -> native.Packed:
    c = kernels.compact(weight)
    return native.pack_taps(shape.values(), c.positions, c.values, c.codes, c.table)


ALGORITHMS: Final = (
    Algorithm("im2col", "conv_f32_im2col", _any, _pack_filters, lambda layer: _macs(layer) * 1.15),
    # Measured by bench/sparse_break_even.py against im2col: level at a density of 0.3.
    Algorithm(
        "sparse", "conv_f32_sparse", _any, _pack_taps, lambda layer: _macs(layer) * layer.density * 4.3, sparse=True
    ),
)

#: algorithms whose tensors are blocked: run by name through `lissome.conv2d`; the planner lays out plain tensors only
BLOCKED: Final = tuple(
    Algorithm(
        f"winograd_{m}x{r}",
        f"conv_f32_winograd_{m}x{r}",
        partial(winograd.refuses, r),
        partial(winograd.pack, m),
        partial(winograd.cost, m, r),
    )
    for m, r in winograd.VARIANTS
)
