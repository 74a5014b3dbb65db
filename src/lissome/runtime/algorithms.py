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


def choose(
    layer: Layer, where: str, wanted: str | None = None, plain: tuple[bool, bool] | None = None
) -> tuple[Algorithm, str]:
    """The algorithm for a layer, and why: the one called `wanted`, the cheapest whose name begins so ("winograd" for
    "winograd_4x3"), or the cheapest of all.

    where: what the layer is, for messages. plain: whether input and output are to be plain, which decides between
    algorithms that differ in nothing else (`fitting`). Raises UnsupportedShape when no algorithm has that name or it
    cannot do the layer.
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
        (algorithm.time(layer), number)
        for number, algorithm in enumerate(ALGORITHMS)
        if not algorithm.refuses(layer) and (plain is None or fitting(algorithm, layer, plain) is algorithm)
    ]
    least, number = min(costs)
    others = sorted(cost for cost, other in costs if other != number)
    lead = f", {others[0] / least:.1f} times the next one's speed" if others and least else ""
    return ALGORITHMS[number], f"{layer.density:.1%} of weights left; cheapest by the model{lead}"


def fitting(algorithm: Algorithm, layer: Layer, plain: tuple[bool, bool]) -> Algorithm:
    """The algorithm's like for these layouts: whether input and output are plain."""
    if algorithm.sparse:
        return _exactly(SPARSE[plain])
    if algorithm.name in ("channelwise", "depthwise"):
        return _exactly("channelwise" if plain[0] and able("channelwise", layer) else "depthwise")
    return algorithm


def able(name: str, layer: Layer) -> bool:
    """Whether the algorithm of this name can do a layer."""
    return not _exactly(name).refuses(layer)


def time(name: str, layer: Layer) -> float:
    """What the algorithm of this name is expected to take for a layer that it can do."""
    return _exactly(name).time(layer)


def _exactly(name: str) -> Algorithm:
    return next(a for a in ALGORITHMS if a.name == name)


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


def _pack_rows(weight: CodedWeight, shape: ConvShape, _kernel: str) -> native.Packed:
    return native.pack_rows(kernels.matrix(weight, transposed=True), shape.k, shape.depth)


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


def _only_small_channelwise(layer: Layer) -> str:
    s = layer.shape
    if (s.r, s.dilation_h, s.dilation_w, s.stride_w) != (s.s, 1, 1, s.stride_h) or s.r not in (3, 5) or s.stride_h > 2:
        return "its filters are 3x3 or 5x5, its stride 1 or 2, its dilation 1"
    return _only_depthwise(layer)


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


def _depthwise_cost(layer: Layer) -> float:
    """Multiply-adds; with a stride of 2 neighbouring outputs share few inputs."""
    return (1.2 if layer.shape.stride_w == 1 else 2.4) * _macs(layer)


def _channelwise_cost(layer: Layer) -> float:
    """Multiply-adds of rows in whole vectors, and of laying out a channel; with a stride of 2, of picking columns."""
    s = layer.shape
    rows = s.p * math.ceil(s.q / layer.lanes)
    return s.n * s.k * ((1.4 if s.stride_w == 1 else 5.0) * rows * s.depth + 100)


def _reorder_cost(layer: Layer) -> float:
    """A plain image of few channels has to be put into blocks first."""
    shape = layer.shape
    return shape.n * shape.h * shape.w * 40 if shape.c <= FEW else 0


def _direct_cost(layer: Layer) -> float:
    return 1.05 * _dense_cost(layer) + _reorder_cost(layer)


def _winograd_cost(m: int, r: int, layer: Layer) -> float:
    return winograd.cost(m, r, layer) + _reorder_cost(layer)


def _sparse_cost(plain_in: bool, plain_out: bool, layer: Layer) -> float:
    """Products of the weights left, at 1.5 (1×1) or 2 times a product from registers; for each vector of input and
    output what laying it out takes, so that pixels are neighbours.

    Measured by bench/sparse_break_even.py on AMD Zen 4.
    """
    s, lanes = layer.shape, layer.lanes
    width = s.q + (s.s - 1) * s.dilation_w // s.stride_w
    vectors = s.n * math.ceil(((s.p - 1) * width + s.q) / lanes)
    c = s.c / lanes * IN_PLAIN if plain_in else math.ceil(s.c / lanes) * IN_BLOCKS
    k = s.k / lanes * OUT_PLAIN if plain_out else math.ceil(s.k / lanes) * OUT_BLOCKS
    products = vectors * s.k * s.depth * layer.density
    moved = s.n * (c * s.h * s.w + k * s.p * s.q)
    return products * (1.5 if s.r * s.s == 1 else 2.0) + moved + 3 * vectors * s.k


#: vector multiply-adds of a sparse convolution for a vector that it reads and one that it writes: in blocks, plain
IN_BLOCKS: Final = 14.0
OUT_BLOCKS: Final = 9.0
IN_PLAIN: Final = 6.5
OUT_PLAIN: Final = 6.5
#: channels of an image that the kernel of first layers is for
FEW: Final = 4

#: whether input and output are plain → the sparse algorithm
SPARSE: Final = {
    (True, True): "sparse",
    (False, False): "sparse_blocks",
    (False, True): "sparse_to_plain",
    (True, False): "sparse_to_blocks",
}

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
    Algorithm(
        "channelwise",
        "conv_f32_channelwise",
        _only_small_channelwise,
        _pack_rows,
        _channelwise_cost,
    ),
    Algorithm("depthwise", "conv_f32_depthwise", _only_depthwise, _pack_blocks, _depthwise_cost),
    Algorithm("mec", "conv_f32_mec", mec.refuses, mec.pack, mec.cost),
    Algorithm("im2col", "conv_f32_im2col", _any, _pack_filters, _im2col_cost),
    *(
        Algorithm(
            name,
            f"conv_f32_{name}",
            _any,
            _pack_taps,
            partial(_sparse_cost, *plain),
            True,
            memory=_sparse_bytes,
        )
        for plain, name in SPARSE.items()
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
