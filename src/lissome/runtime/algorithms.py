"""Algorithms for a convolution: which can do a layer, how each packs the weight, and what it is expected to cost.

One line an algorithm in `ALGORITHMS`. The planner takes the cheapest that can do a layer, unless the user names one
(`lissome.compile(net, kernels={"conv1": "im2col"})`) or a measurement was kept (lissome.runtime.tune).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from lissome.errors import UnsupportedShape
from lissome.graph.conv_shape import ConvShape
from lissome.runtime import kernels, mec, schedule, winograd
from lissome.runtime.native import native
from lissome.runtime.schedule import Schedule
from lissome.weights import CodedWeight


@dataclass(frozen=True)
class Layer:
    """What an algorithm is chosen for. density: share of the weights that are not zero. measured: what calibration on
    this machine found (runtime/tune/calibration.py), empty where there was none.
    """

    shape: ConvShape
    density: float
    isa: str
    measured: Mapping[str, float] = field(default_factory=dict, compare=False)

    @property
    def lanes(self) -> int:
        """float32 in a vector."""
        return kernels.lanes(self.isa)


def dense_bytes(layer: Layer) -> int:
    """Bytes of the layer's weight as dense float32."""
    return 4 * layer.shape.k * layer.shape.depth


def _sparse_bytes(layer: Layer) -> int:
    """A value and a place for each weight left."""
    return int(2 * layer.density * dense_bytes(layer))


@dataclass(frozen=True)
class Algorithm:
    """A way to compute a convolution.

    stem: its kernel's name without the instruction set. refuses: why it cannot do a layer, "" when it can.
    pack: the weight for the kernel of this name. cost: expected time, in units of one vector multiply-add.
    sparse: it runs on the stored weights only. ints: what the kernel's step takes. memory: bytes of the packed weight,
    about. unread: those of them that a run leaves alone.
    """

    name: str
    stem: str
    refuses: Callable[[Layer], str]
    pack: Callable[[CodedWeight, ConvShape, str], native.Packed]
    cost: Callable[[Layer], float]
    sparse: bool = False
    ints: Callable[[Layer], tuple[int, ...]] = lambda layer: layer.shape.values()
    memory: Callable[[Layer], int] = dense_bytes
    unread: Callable[[Layer], int] = lambda _layer: 0

    def kernel(self, isa: str) -> str:
        """The kernel's full name."""
        return f"{self.stem}_{isa}"

    @property
    def scheduled(self) -> bool:
        """Whether its loops follow a schedule."""
        return self.stem in ("conv_f32_direct", "conv_f32_first")

    def time(self, layer: Layer) -> float:
        """The cost, as far as this machine was measured: with its overhead, and no less than reading the weight."""
        reading = (self.memory(layer) - self.unread(layer)) * layer.measured.get("a byte", 0.0)
        return max(self.cost(layer) * layer.measured.get(self.name, 1.0), reading)


def choose(layer: Layer, where: str, wanted: str | None = None) -> tuple[Algorithm, str]:
    """The algorithm for a layer, and why: the one called `wanted`, the cheapest whose name begins so ("winograd" for
    "winograd_4x3"), or the cheapest of all.

    where: what the layer is, for messages. Raises UnsupportedShape when no algorithm has that name or it cannot do the
    layer.
    """
    if wanted is not None:
        exact = named(wanted)
        meant = [exact] if exact else [a for a in ALGORITHMS if a.name.startswith(f"{wanted}_")]
        able = [a for a in ALGORITHMS if not a.refuses(layer)]
        names = f"able here: {', '.join(a.name for a in able)}"
        if not meant:
            raise UnsupportedShape(f"{where}: no algorithm is called {wanted!r}; {names}")
        if not (both := [a for a in meant if not a.refuses(layer)]):
            raise UnsupportedShape(f"{where}: {wanted} cannot do it: {meant[0].refuses(layer)}; {names}")
        return min(both, key=lambda a: a.time(layer)), "asked for"
    costs = [
        (algorithm.time(layer), number) for number, algorithm in enumerate(ALGORITHMS) if not algorithm.refuses(layer)
    ]
    least, number = min(costs)
    others = sorted(cost for cost, other in costs if other != number)
    lead = f", {others[0] / least:.1f} times the next one's speed" if others and least else ""
    return ALGORITHMS[number], f"{layer.density:.1%} of weights left; cheapest by the model{lead}"


def with_schedule(algorithm: Algorithm, chosen: Schedule) -> Algorithm:
    """An algorithm of scheduled loops by another schedule than the default; called after it, "direct:0,4,6,..."."""

    def pack(weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
        return _pack_panels(weight, shape, kernel, chosen.vectors)

    name, ints = f"{algorithm.name}:{chosen}", chosen.values()
    return replace(algorithm, name=name, pack=pack, ints=lambda layer: (*layer.shape.values(), *ints))


def named(name: str) -> Algorithm | None:
    """The algorithm of exactly this name, a schedule after a colon included; None where there is none."""
    stem, colon, text = name.partition(":")
    algorithm = next((a for a in ALGORITHMS if a.name == stem), None)
    if algorithm is None or not colon:
        return algorithm
    try:
        return with_schedule(algorithm, Schedule.parse(text)) if algorithm.scheduled else None
    except ValueError:
        return None


def of_kernel(kernel: str) -> Algorithm:
    """The algorithm whose kernel this is. Raises UnsupportedShape when it is no convolution's."""
    for algorithm in ALGORITHMS:
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


def _pack_taps(weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
    c = kernels.compact(weight)
    return native.pack_taps(shape.values(), c.positions, c.values, c.codes, c.table, kernels.panel_width(kernel))


def _schedule(layer: Layer, *, plain: bool) -> Schedule:
    return schedule.default(layer.shape, layer.lanes, layer.isa, 1 if plain else layer.lanes)


def _scheduled(*, plain: bool) -> Callable[[Layer], tuple[int, ...]]:
    return lambda layer: (*layer.shape.values(), *_schedule(layer, plain=plain).values())


def _pack_blocks(weight: CodedWeight, shape: ConvShape, kernel: str) -> native.Packed:
    """Panels as wide as the default schedule of this shape has them."""
    isa = kernel.rpartition("_")[2]
    block, lanes = kernels.blocks(kernel)
    vectors = 1 if "depthwise" in kernel else schedule.default(shape, lanes, isa, block).vectors
    return _pack_panels(weight, shape, kernel, vectors)


def _pack_panels(weight: CodedWeight, shape: ConvShape, kernel: str, vectors: int) -> native.Packed:
    (block, lanes), depthwise = kernels.blocks(kernel), "depthwise" in kernel
    return native.pack_blocks(kernels.matrix(weight, transposed=True), shape.values(), block, lanes, vectors, depthwise)


def _only_whole_groups(layer: Layer) -> str:
    groups, shape, lanes = layer.shape.groups, layer.shape, layer.lanes
    if groups > 1 and (shape.c // groups % lanes or shape.k // groups % lanes):
        return (
            f"{groups} groups of {shape.c // groups} channels and {shape.k // groups} filters are no blocks of {lanes}"
        )
    return ""


def _only_few_channels(layer: Layer) -> str:
    if layer.shape.groups > 1 or layer.shape.c > FEW:
        return f"it is for one group of at most {FEW} channels"
    return ""


def _only_depthwise(layer: Layer) -> str:
    shape = layer.shape
    return "" if shape.groups == shape.c == shape.k else "it has not one filter a channel"


def _dense_cost(layer: Layer) -> float:
    """Multiply-adds with filters in whole vectors."""
    shape = layer.shape
    vectors = shape.groups * math.ceil(shape.k // shape.groups / layer.lanes)
    return shape.n * vectors * shape.p * shape.q * shape.depth


def _im2col_cost(layer: Layer) -> float:
    """Twice the multiply-adds: 1.15 times them in large layers, but its tensors are plain, and those of the layers
    around it are not. Few filters in each of many groups leave the rows of a tile empty.
    """
    groups, filters = layer.shape.groups, layer.shape.k // layer.shape.groups
    return 2.0 * _macs(layer) * (1 + 16 / filters if groups > 1 else 1)


def _reorder_cost(layer: Layer) -> float:
    """A plain image of few channels has to be put into blocks first."""
    shape = layer.shape
    return shape.n * shape.h * shape.w * 40 if shape.c <= FEW else 0


def _direct_cost(layer: Layer) -> float:
    return 1.05 * _dense_cost(layer) + _reorder_cost(layer)


def _winograd_cost(m: int, r: int, layer: Layer) -> float:
    return winograd.cost(m, r, layer) + _reorder_cost(layer)


def _sparse_cost(plain: int, layer: Layer) -> float:
    """Products of the weights left, at 1.5 (1×1) or 1.75 times a product from registers; for each vector of input and
    output 12 for laying it out so that pixels are neighbours, or 24 for what plain tensors mean to their neighbours.

    Measured by bench/sparse_break_even.py on AMD Zen 4.
    """
    s, lanes = layer.shape, layer.lanes
    width = s.q + (s.s - 1) * s.dilation_w // s.stride_w
    vectors = s.n * math.ceil(((s.p - 1) * width + s.q) / lanes)
    c, k = (2 * s.c / lanes, 2 * s.k / lanes) if plain else (math.ceil(s.c / lanes), math.ceil(s.k / lanes))
    products = vectors * s.k * s.depth * layer.density
    moved = s.n * (c * s.h * s.w + k * s.p * s.q)
    return products * (1.5 if s.r * s.s == 1 else 1.75) + 12 * moved + 3 * vectors * s.k


#: channels of an image that the kernel of first layers is for
FEW: Final = 4

ALGORITHMS: Final = (
    Algorithm(
        "direct", "conv_f32_direct", _only_whole_groups, _pack_blocks, _direct_cost, ints=_scheduled(plain=False)
    ),
    Algorithm(
        "first",
        "conv_f32_first",
        _only_few_channels,
        _pack_blocks,
        lambda layer: 1.1 * _dense_cost(layer),
        ints=_scheduled(plain=True),
    ),
    Algorithm("depthwise", "conv_f32_depthwise", _only_depthwise, _pack_blocks, lambda layer: 1.2 * _macs(layer)),
    Algorithm("mec", "conv_f32_mec", mec.refuses, mec.pack, mec.cost),
    Algorithm("im2col", "conv_f32_im2col", _any, _pack_filters, _im2col_cost),
    Algorithm("sparse", "conv_f32_sparse", _any, _pack_taps, partial(_sparse_cost, 1), True, memory=_sparse_bytes),
    Algorithm(
        "sparse_blocks",
        "conv_f32_sparse_blocks",
        _any,
        _pack_taps,
        partial(_sparse_cost, 0),
        True,
        memory=_sparse_bytes,
    ),
    *(
        Algorithm(
            f"winograd_{m}x{r}",
            f"conv_f32_winograd_{m}x{r}",
            partial(winograd.refuses, r),
            partial(winograd.pack, m),
            partial(_winograd_cost, m, r),
            memory=partial(winograd.memory, m, r),
            unread=dense_bytes,
        )
        for m, r in winograd.VARIANTS
    ),
)
