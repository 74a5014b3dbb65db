"""The cost model's constants for this machine, measured once on a few small layers.

The model (runtime/algorithms.py) counts vector multiply-adds; what else an algorithm takes, its constants say of the
machine that they were fitted on. Here each algorithm is timed against the machine's own measured peak, and what that
comes to over what it came to there is its overhead; and a byte from memory is counted in multiply-adds, by the measured
peak and bandwidth, so that large weights cost at least their reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from lissome.graph.conv_shape import ConvShape
from lissome.runtime import machine
from lissome.runtime.algorithms import ALGORITHMS, Layer
from lissome.runtime.kernels import lanes, resolve_isa
from lissome.runtime.tune.kept import Kept, default_path
from lissome.runtime.tune.measure import measure
from lissome.weights import CodedWeight, Dense

#: what measurements are kept under, beside those of layers
KEY: Final = "calibration"
#: the entry of that for a byte from memory; the others are algorithms
A_BYTE: Final = "a byte"  # as Algorithm.time reads it


def _conv(image: tuple[int, int], k: int, r: int, *, stride: int = 1, groups: int = 1) -> ConvShape:
    """A padded convolution of an image (channels, height and width)."""
    (c, size), pads = image, dict.fromkeys(("pad_top", "pad_left", "pad_bottom", "pad_right"), r // 2)
    return ConvShape(1, c, size, size, k, r, r, stride_h=stride, stride_w=stride, groups=groups, **pads)


#: small, of the sorts that networks have: 3×3 with few filters and with many, 1×1, 5×5, a first layer, depthwise,
#: grouped; and pruned ones
LAYERS: Final = (
    (_conv((64, 28), 64, 3), 1.0),
    (_conv((256, 7), 256, 3), 1.0),
    (_conv((256, 14), 64, 1), 1.0),
    (_conv((32, 14), 64, 5), 1.0),
    (_conv((3, 64), 32, 3, stride=2), 1.0),
    (_conv((96, 28), 96, 3, groups=96), 1.0),
    (_conv((128, 14), 128, 3, groups=2), 1.0),
    (_conv((64, 28), 64, 3), 0.2),
    (_conv((256, 14), 64, 1), 0.1),
)

PASSES: Final = 3

#: time over the model's, at the measured peak, where the model was fitted: AMD Zen 4, with 32 registers (AVX-512) and
#: with 16 (AVX2). To fit it again after kernels changed: `lissome tune --calibrate --json` prints these as `ratios`.
FITTED: Final[Mapping[str, tuple[float, float]]] = {
    "channelwise": (0.92, 7.98),
    "depthwise": (0.89, 1.06),
    "direct": (0.78, 0.94),
    "first": (1.24, 1.38),
    "im2col": (0.75, 0.85),
    "mec": (0.79, 0.95),
    "sparse": (1.02, 1.35),
    "sparse_blocks": (1.00, 1.17),
    "sparse_to_blocks": (1.04, 1.31),
    "sparse_to_plain": (0.98, 1.21),
    "winograd_2x3": (0.98, 1.27),
    "winograd_2x5": (0.74, 0.80),
    "winograd_4x3": (0.89, 1.27),
    "winograd_6x3": (0.84, 1.23),
}


@dataclass(frozen=True)
class Calibration:
    """Overheads of algorithms, 1 where the model was fitted.

    a_byte: vector multiply-adds in the time of a byte from memory. ratios: time over the model's, which overheads were
    made of.
    """

    overheads: Mapping[str, float]
    a_byte: float
    ratios: Mapping[str, float]


def calibrate(isa: str | None = None, kept: Kept | None = None) -> Calibration:
    """Measure, on one thread, for about two seconds, and keep what was found for every compilation on this machine.

    Raises UnsupportedShape for an instruction set that this machine lacks, OSError when nothing can be kept.
    """
    isa = resolve_isa(isa)
    kept = _kept(isa) if kept is None else kept
    per_second = machine.peak_gflops(1, isa, 0.2) * 1e9 / 2 / lanes(isa)
    least: dict[tuple[str, Layer], float] = {}
    for _ in range(PASSES):  # apart in time: what disturbs one does not disturb all
        for shape, density in LAYERS:
            layer = Layer(shape, density, isa)
            able = [a for a in ALGORITHMS if not a.refuses(layer) and a.sparse == (density < 1)]
            able = [a for a in able if math.isfinite(a.cost(layer))]
            for algorithm, seconds in zip(able, measure(able, layer, _weight(layer), 1, "quick").values(), strict=True):
                ratio, key = seconds * per_second / algorithm.cost(layer), (algorithm.name, layer)
                least[key] = min(ratio, least.get(key, ratio))
    found: dict[str, list[float]] = {}
    for (name, _), ratio in least.items():
        found.setdefault(name, []).append(ratio)
    ratios = {name: float(np.exp(np.mean(np.log(each)))) for name, each in sorted(found.items())}
    overheads = {name: ratio / FITTED[name][isa == "avx2"] for name, ratio in ratios.items()}
    a_byte = per_second / (machine.read_gbps(len(machine.cache_bytes()) + 1, 1, isa) * 1e9)
    kept.put(KEY, {**overheads, A_BYTE: a_byte})
    return Calibration(overheads, a_byte, ratios)


def overheads(isa: str, weight_bytes: int, kept: Kept | None = None) -> Mapping[str, float]:
    """What was kept for this machine: overheads by algorithm, and A_BYTE for a network whose weights, of so many bytes,
    no cache holds until the next run; empty where nothing was kept.
    """
    found = dict((_kept(isa) if kept is None else kept).get(KEY))
    if weight_bytes <= machine.cache_bytes()[-1]:
        found.pop(A_BYTE, None)
    return found


def _kept(isa: str) -> Kept:
    return Kept(default_path(), isa, 1)


def _weight(layer: Layer) -> CodedWeight:
    s, rng = layer.shape, np.random.default_rng(0)
    values = rng.standard_normal((s.k, s.c // s.groups, s.r, s.s)).astype(np.float32)
    return Dense(np.where(rng.random(values.shape) < layer.density, values, np.float32(0)))
